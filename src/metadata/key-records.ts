/** What a key is for. Keys of one purpose are never taken for those of another. */
export type KeyPurpose = 'registry-tokens' | 'service-account-tokens' | 'certificate-authority';

/** A key without what makes it one. */
export interface KeyRecord {
  /** Unique within its purpose. */
  readonly id: string;
  readonly createdAt: Date;
}

/** A key to be stored. */
export interface NewKey extends KeyRecord {
  /** To be kept secret; what it is depends on the purpose. */
  readonly text: string;
}

/** Encrypts what must not lie in the database as it is. */
export interface KeySeal {
  /** @param boundTo where the text belongs: elsewhere it cannot be opened */
  seal(text: string, boundTo: string): { readonly key: string; readonly text: string };
  /** @throws {Error} when the key is not known, or the text was changed or belongs elsewhere */
  open(sealed: { readonly key: string; readonly text: string }, boundTo: string): string;
  /** Whether it was encrypted with the key that encrypts now. */
  isPresent(sealed: { readonly key: string; readonly text: string }): boolean;
}

/** A stored key that this process cannot decrypt, and what can be done about it. */
export class UnreadableKeyError extends Error {
  override readonly name = 'UnreadableKeyError';
  constructor(purpose: KeyPurpose, id: string, cause: unknown) {
    super(
      `the database has a key for ${purpose} (${id}) that cannot be decrypted: ` +
        `${cause instanceof Error ? cause.message : String(cause)}; ` +
        'every process needs the secrets.keys that the others have (where they are lost for good: "weir keys discard")',
      { cause },
    );
  }
}

/** The keys that all processes share: what tokens are signed with, and the certificate authority. */
export interface KeyRecords {
  /** The newest first. */
  list(purpose: KeyPurpose): Promise<readonly KeyRecord[]>;

  /**
   * The text of a key; undefined when there is none.
   *
   * @throws {UnreadableKeyError}
   */
  find(purpose: KeyPurpose, id: string): Promise<string | undefined>;

  /** Adds a key. One of that id stays as it is. */
  add(purpose: KeyPurpose, key: NewKey): Promise<void>;

  /**
   * Adds keys when there are none for the purpose, in one step: of several processes that start at the same time, one adds
   * its keys.
   *
   * @returns false when there were some, which stay
   */
  addFirst(purpose: KeyPurpose, keys: readonly NewKey[]): Promise<boolean>;

  remove(purpose: KeyPurpose, ids: readonly string[]): Promise<void>;

  /**
   * Encrypts with the present key what an earlier one encrypted; after that the earlier one is not needed any more.
   *
   * @returns how many there were to do
   * @throws {UnreadableKeyError}
   */
  reseal(): Promise<number>;

  /** Those that this process cannot decrypt. */
  listUnreadable(): Promise<readonly { readonly purpose: KeyPurpose; readonly id: string }[]>;
}
