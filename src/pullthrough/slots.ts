/** So many at once, of them so many of each owner, and the others in the order in which they came. */
export class Slots {
  #free: number;
  readonly #perOwner: number;
  readonly #running = new Map<string, number>();
  readonly #waiting: { readonly owner: string; readonly begin: () => void }[] = [];

  constructor(count: number, perOwner: number) {
    this.#free = count;
    this.#perOwner = perOwner;
  }

  /** Does the work when its turn has come. */
  async run<T>(owner: string, work: () => Promise<T>): Promise<T> {
    if (this.#free > 0 && this.#mayBegin(owner)) this.#take(owner);
    else {
      await new Promise<void>((begin) => {
        this.#waiting.push({ owner, begin });
      });
    }
    try {
      return await work();
    } finally {
      this.#release(owner);
    }
  }

  #mayBegin(owner: string): boolean {
    return (this.#running.get(owner) ?? 0) < this.#perOwner;
  }

  #take(owner: string): void {
    this.#free -= 1;
    this.#running.set(owner, (this.#running.get(owner) ?? 0) + 1);
  }

  #release(owner: string): void {
    this.#free += 1;
    const running = this.#running.get(owner)! - 1;
    if (running === 0) this.#running.delete(owner);
    else this.#running.set(owner, running);
    const at = this.#waiting.findIndex((each) => this.#mayBegin(each.owner));
    const [next] = at === -1 ? [] : this.#waiting.splice(at, 1);
    if (next === undefined) return;
    // Before anybody who comes just now can.
    this.#take(next.owner);
    next.begin();
  }
}
