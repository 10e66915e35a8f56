import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose';
import { makeFolder, writeFileDurably } from '../durable-files.js';

/** The one algorithm tokens are signed with. */
export const signingAlgorithm = 'ES256';

const recheckMs = 5_000;

interface SigningKey {
  readonly id: string;
  readonly createdAtSeconds: number;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
}

/**
 * The keys that tokens are signed with, as files in a folder: the newest signs, every one verifies. A key that was
 * added by another process is noticed within seconds, so keys can be rotated while the registry runs.
 */
export class SigningKeys {
  readonly #folder: string;
  #keys: readonly SigningKey[] = [];
  #checkedAt = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Opens the folder; makes it, and a first key, when there is none. */
  static async open(folder: string): Promise<SigningKeys> {
    await makeFolder(folder, 0o700);
    const keys = new SigningKeys(folder);
    await keys.#load();
    if (keys.#keys.length === 0) await keys.add();
    return keys;
  }

  /** Makes a new key, which signs from now on. @returns its id */
  async add(): Promise<string> {
    const { privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true });
    const jwk = await exportJWK(privateKey);
    const kid = await calculateJwkThumbprint(jwk);
    const text = JSON.stringify({ ...jwk, kid, alg: signingAlgorithm, use: 'sig', iat: Date.now() / 1000 });
    await writeFileDurably(join(this.#folder, `${kid}.json`), text, 0o600);
    await this.#load();
    return kid;
  }

  /** Removes keys that have not signed since `before`, because a newer one did. @returns their ids */
  async removeOld(before: Date): Promise<string[]> {
    const old = this.#keys.filter((_key, index) => {
      const successor = this.#keys[index - 1];
      return successor !== undefined && successor.createdAtSeconds * 1000 < before.getTime();
    });
    for (const { id } of old) await rm(join(this.#folder, `${id}.json`), { force: true });
    await this.#load();
    return old.map((key) => key.id);
  }

  async current(): Promise<{ readonly id: string; readonly key: CryptoKey }> {
    await this.#loadIfStale();
    const newest = this.#keys[0]!;
    return { id: newest.id, key: newest.privateKey };
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
    if (Date.now() - this.#checkedAt > recheckMs) await this.#load();
  }

  async #load(): Promise<void> {
    this.#checkedAt = Date.now();
    const names = (await readdir(this.#folder)).filter((name) => /^[\w-]+\.json$/.test(name));
    const known = new Map(this.#keys.map((key) => [`${key.id}.json`, key]));
    const keys = await Promise.all(
      names.map(async (name) => known.get(name) ?? (await readKey(join(this.#folder, name)))),
    );
    this.#keys = keys.sort((a, b) => b.createdAtSeconds - a.createdAtSeconds);
  }
}

async function readKey(path: string): Promise<SigningKey> {
  const jwk = JSON.parse(await readFile(path, 'utf8')) as JWK & { kid: string; iat: number };
  const { kty, crv, x, y, kid, alg, use } = jwk;
  const publicJwk = { kty, crv, x, y, kid, alg, use } as JWK;
  return {
    id: kid,
    createdAtSeconds: jwk.iat,
    privateKey: (await importJWK(jwk, signingAlgorithm)) as CryptoKey,
    publicKey: (await importJWK(publicJwk, signingAlgorithm)) as CryptoKey,
    publicJwk,
  };
}
