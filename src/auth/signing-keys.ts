import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose';
import type { KeyPurpose, KeyRecord, KeyRecords, NewKey } from '../metadata/key-records.js';

/** The one algorithm tokens are signed with. */
export const signingAlgorithm = 'ES256';

/** A key that another process added or removed is noticed after so long. */
const recheckMs = 5_000;
/** A new key signs after so long: by then every process has noticed it, and takes its tokens. */
const settleMs = 2 * recheckMs;

/** What tokens are signed for. */
export type SigningPurpose = Exclude<KeyPurpose, 'certificate-authority'>;

/** How signing keys are opened. */
export interface SigningKeysOptions {
  /** The clock that all processes share; the one of this machine when left out. */
  readonly now?: () => Date;
  /**
   * Where an earlier version had keys as files. They become the first keys when there are none; the files stay, for those
   * who go back to that version with the database they had, and are not looked at again.
   */
  readonly earlierFolder?: string;
}

interface SigningKey {
  readonly id: string;
  readonly createdAt: Date;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
}

type PrivateJwk = JWK & { readonly kid: string; readonly iat: number };

/**
 * The keys that tokens are signed with, shared by all processes: the newest that all of them know signs, every one
 * verifies. A key that was added by another process is noticed within seconds, so keys can be rotated while the registry
 * runs.
 */
export class SigningKeys {
  readonly #records: KeyRecords;
  readonly #purpose: SigningPurpose;
  readonly #now: () => Date;
  readonly #earlierFolder: string | undefined;
  /** The newest first. */
  #keys: readonly SigningKey[] = [];
  #checkedAtMs = 0;

  private constructor(records: KeyRecords, purpose: SigningPurpose, options: SigningKeysOptions) {
    this.#records = records;
    this.#purpose = purpose;
    this.#now = options.now ?? (() => new Date());
    this.#earlierFolder = options.earlierFolder;
  }

  /**
   * Opens the keys; makes a first one when there is none.
   *
   * @throws {UnreadableKeyError} when this process cannot decrypt what others have stored
   */
  static async open(
    records: KeyRecords,
    purpose: SigningPurpose,
    options: SigningKeysOptions = {},
  ): Promise<SigningKeys> {
    const keys = new SigningKeys(records, purpose, options);
    await keys.#load();
    return keys;
  }

  /** Makes a new key, which signs as soon as every process knows it. @returns its id */
  async add(): Promise<string> {
    const key = await makeKey(this.#now());
    await this.#records.add(this.#purpose, key);
    await this.#load();
    return key.id;
  }

  /** Removes keys that have not signed since `before`, because a newer one did. @returns their ids */
  async removeOld(before: Date): Promise<string[]> {
    const old = this.#keys
      .filter((_key, index) => {
        const successor = this.#keys[index - 1];
        return successor !== undefined && successor.createdAt.getTime() + settleMs < before.getTime();
      })
      .map((key) => key.id);
    await this.#records.remove(this.#purpose, old);
    await this.#load();
    return old;
  }

  async current(): Promise<{ readonly id: string; readonly key: CryptoKey }> {
    await this.#loadIfStale();
    const settled = this.#now().getTime() - settleMs;
    const { id, privateKey } = this.#keys.find(({ createdAt }) => createdAt.getTime() <= settled) ?? this.#keys.at(-1)!;
    return { id, key: privateKey };
  }

  async findPublicKey(id: string | undefined): Promise<CryptoKey | undefined> {
    const find = () => this.#keys.find((key) => key.id === id)?.publicKey;
    const known = find();
    if (known !== undefined) return known;
    await this.#loadIfStale();
    return find();
  }

  /** A JSON Web Key Set (RFC 7517) of the public keys, newest first. */
  async publicKeySet(): Promise<{ readonly keys: readonly JWK[] }> {
    await this.#loadIfStale();
    return { keys: this.#keys.map((key) => key.publicJwk) };
  }

  async #loadIfStale(): Promise<void> {
    if (performance.now() - this.#checkedAtMs > recheckMs) await this.#load();
  }

  /** Only keys that are new here are decrypted: those that are known stay, whatever becomes of the secrets keys. */
  async #load(): Promise<void> {
    this.#checkedAtMs = performance.now();
    const known = new Map(this.#keys.map((key) => [key.id, key]));
    const records = await this.#list();
    const keys = await Promise.all(records.map(async (record) => known.get(record.id) ?? (await this.#read(record))));
    this.#keys = keys.filter((key) => key !== undefined);
  }

  /** Of several processes that find none, one makes the first. */
  async #list(): Promise<readonly KeyRecord[]> {
    const records = await this.#records.list(this.#purpose);
    if (records.length > 0) return records;
    const earlier = this.#earlierFolder === undefined ? [] : await readKeyFiles(this.#earlierFolder);
    await this.#records.addFirst(this.#purpose, earlier.length > 0 ? earlier : [await makeKey(this.#now())]);
    return this.#records.list(this.#purpose);
  }

  /** @returns undefined when it was removed a moment ago */
  async #read({ id, createdAt }: KeyRecord): Promise<SigningKey | undefined> {
    const text = await this.#records.find(this.#purpose, id);
    if (text === undefined) return undefined;
    const jwk = JSON.parse(text) as PrivateJwk;
    const { kty, crv, x, y, kid, alg, use } = jwk;
    const publicJwk = { kty, crv, x, y, kid, alg, use } as JWK;
    return {
      id,
      createdAt,
      privateKey: (await importJWK(jwk, signingAlgorithm)) as CryptoKey,
      publicKey: (await importJWK(publicJwk, signingAlgorithm)) as CryptoKey,
      publicJwk,
    };
  }
}

async function makeKey(createdAt: Date): Promise<NewKey> {
  const { privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true });
  const jwk = await exportJWK(privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  return toNewKey({ ...jwk, kid, alg: signingAlgorithm, use: 'sig', iat: createdAt.getTime() / 1000 });
}

function toNewKey(jwk: PrivateJwk): NewKey {
  return { id: jwk.kid, createdAt: new Date(jwk.iat * 1000), text: JSON.stringify(jwk) };
}

/** The keys of an earlier version: a JSON Web Key (RFC 7517) in each file. */
async function readKeyFiles(folder: string): Promise<NewKey[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return Promise.all(
    names
      .filter((name) => /^[\w-]+\.json$/.test(name))
      .map(async (name) => toNewKey(JSON.parse(await readFile(join(folder, name), 'utf8')) as PrivateJwk)),
  );
}
