/** Longer ago than this was the answer of a database that tells the time only roughly, in milliseconds. */
const roughMs = 1000;

/**
 * The time of a database. Clocks of machines may differ by hours, and what one process writes another one compares; so the
 * database is asked now and then, and in between a clock counts on that nobody sets.
 */
export class DatabaseClock {
  readonly #monotonic: () => number;
  /** What is to be added to the monotonic clock, in milliseconds; undefined before the first look. */
  #offset: number | undefined;

  /** @param monotonic milliseconds since whenever */
  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  /** The time of the database. @throws before the first look */
  readonly now = (): Date => {
    if (this.#offset === undefined) throw new Error('the clock of the database was not looked at yet');
    return new Date(Math.floor(this.#offset + this.#monotonic()));
  };

  /** @param read asks the database for milliseconds since 1970 */
  async look(read: () => Promise<number>): Promise<void> {
    const asked = this.#monotonic();
    const time = await read();
    const answered = this.#monotonic();
    if (this.#offset !== undefined && answered - asked > roughMs) return;
    // It looked at its clock somewhere between the question and the answer.
    this.#offset = time - (asked + answered) / 2;
  }
}
