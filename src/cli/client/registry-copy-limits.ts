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

/**
 * Works through items, so many at once, and takes the next one only when there is a hand free for it.
 *
 * @throws the first failure, once all that was begun has ended; nothing is begun after it
 */
export async function forEachAtMost<T>(
  count: number,
  items: Iterable<T> | AsyncIterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = iterate(items);
  const failures: unknown[] = [];
  const hand = async (): Promise<void> => {
    while (failures.length === 0) {
      try {
        const next = await iterator.next();
        if (next.done === true) return;
        await work(next.value);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: count }, hand));
  await iterator.return(undefined);
  if (failures.length > 0) throw failures[0];
}

async function* iterate<T>(items: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield* items;
}
