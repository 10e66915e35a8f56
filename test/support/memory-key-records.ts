import type { KeyPurpose, KeyRecord, KeyRecords, NewKey } from '../../src/metadata/key-records.js';

/** KeyRecords in memory, not encrypted: for tests that need keys and no database. */
export class MemoryKeyRecords implements KeyRecords {
  readonly #keys = new Map<KeyPurpose, readonly NewKey[]>();

  #of(purpose: KeyPurpose): readonly NewKey[] {
    return this.#keys.get(purpose) ?? [];
  }

  list(purpose: KeyPurpose): Promise<readonly KeyRecord[]> {
    const records = this.#of(purpose).map(({ id, createdAt }) => ({ id, createdAt }));
    return Promise.resolve(
      records.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? -1 : 1)),
    );
  }

  find(purpose: KeyPurpose, id: string): Promise<string | undefined> {
    return Promise.resolve(this.#of(purpose).find((key) => key.id === id)?.text);
  }

  add(purpose: KeyPurpose, key: NewKey): Promise<void> {
    const keys = this.#of(purpose);
    if (!keys.some(({ id }) => id === key.id)) this.#keys.set(purpose, [...keys, key]);
    return Promise.resolve();
  }

  addFirst(purpose: KeyPurpose, keys: readonly NewKey[]): Promise<boolean> {
    const isFirst = this.#of(purpose).length === 0;
    if (isFirst) this.#keys.set(purpose, keys);
    return Promise.resolve(isFirst);
  }

  remove(purpose: KeyPurpose, ids: readonly string[]): Promise<void> {
    this.#keys.set(
      purpose,
      this.#of(purpose).filter(({ id }) => !ids.includes(id)),
    );
    return Promise.resolve();
  }

  reseal(): Promise<number> {
    return Promise.resolve(0);
  }

  listUnreadable(): Promise<readonly { readonly purpose: KeyPurpose; readonly id: string }[]> {
    return Promise.resolve([]);
  }
}
