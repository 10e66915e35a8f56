/** Does a thing once for all who want it at the same time. */
export class SharedWork<T> {
  readonly #underWay = new Map<string, Promise<T>>();

  run(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    const started = work().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, started);
    return started;
  }

  /** Does one thing after the other where the key is the same. */
  async runAlone(key: string, work: () => Promise<T>): Promise<T> {
    for (let other = this.#underWay.get(key); other !== undefined; other = this.#underWay.get(key)) {
      await other.catch(() => undefined);
    }
    return this.run(key, work);
  }
}
