import { LRUCache } from 'lru-cache';

/** Of the answers of one question; questions are as long as their senders like. */
const maxAnswers = 20_000;
const maxCharacters = 16 * 1024 * 1024;
/** Of what an answer takes beside its key, in characters. */
const entryCharacters = 200;

/**
 * Answers that stand on stored things, remembered while these do not change. The version is asked for each time, so a
 * change counts from the moment it is committed, by whichever process.
 */
export class RememberedAnswers<Answer> {
  readonly #readVersion: () => Promise<number>;
  readonly #answers = new LRUCache<string, Promise<Answer>>({
    max: maxAnswers,
    maxSize: maxCharacters,
    sizeCalculation: (_answer, key) => key.length + entryCharacters,
  });
  #version: number | undefined;

  /** @param readVersion of the last change of anything that an answer stands on */
  constructor(readVersion: () => Promise<number>) {
    this.#readVersion = readVersion;
  }

  /**
   * The answer as it was worked out after the last change, or works it out now. A failure is not remembered, nor that
   * there is no answer: anyone may ask for what is not there.
   *
   * @param key tells the question from all others
   */
  async get(key: string, work: () => Promise<Answer>): Promise<Answer> {
    // Read before the work: whatever is committed meanwhile has a later version, and the answer is forgotten.
    const version = await this.#readVersion();
    if (version !== this.#version) {
      this.#answers.clear();
      this.#version = version;
    }
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const working = work();
    this.#answers.set(key, working);
    const forget = () => {
      if (this.#answers.peek(key) === working) this.#answers.delete(key);
    };
    working.then((answer) => {
      if (answer === undefined) forget();
    }, forget);
    return working;
  }
}
