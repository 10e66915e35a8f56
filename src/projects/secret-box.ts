import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { link, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, syncFolder, writeFileDurably } from '../durable-files.js';

const keyBytes = 32;
/** NIST SP 800-38D: 96 bits for the nonce, which is random and new for every text. */
const nonceBytes = 12;
const tagBytes = 16;

/** A text that was encrypted: the key by its id, then nonce, text and tag in base64. */
export interface SealedText {
  readonly key: string;
  readonly text: string;
}

interface Key {
  readonly id: string;
  readonly bytes: Buffer;
}

/**
 * Encrypts what must not lie in the database as it is, with AES-256-GCM. Several keys are known so that they can be
 * rotated: the first one encrypts, and whatever any of them encrypted can be read.
 */
export class SecretBox {
  readonly #keys: readonly Key[];

  /** @param keys 32 bytes each, the one that encrypts first */
  constructor(keys: readonly Buffer[]) {
    if (keys.length === 0) throw new Error('there is no key to encrypt secrets with');
    for (const bytes of keys) {
      if (bytes.length !== keyBytes)
        throw new Error(`a key for secrets has ${bytes.length} bytes: expected ${keyBytes}`);
    }
    this.#keys = keys.map((bytes) => ({
      id: createHash('sha256').update(bytes).digest('hex').slice(0, 16),
      bytes,
    }));
  }

  /** Of keys in base64, as the configuration has them. */
  static parse(keys: readonly string[]): SecretBox {
    return new SecretBox(keys.map(parseKey));
  }

  /**
   * Opens the file of keys, one in base64 on each line, the one that encrypts first. Makes it, with a new key, when there
   * is none.
   */
  static async open(path: string): Promise<SecretBox> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await makeKeyFile(path);
      text = await readFile(path, 'utf8');
    }
    return SecretBox.parse(text.split('\n').filter((line) => line.trim() !== ''));
  }

  /** @param boundTo where the text belongs: elsewhere it cannot be opened */
  seal(text: string, boundTo: string): SealedText {
    const { id, bytes } = this.#keys[0]!;
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', bytes, nonce, { authTagLength: tagBytes });
    cipher.setAAD(Buffer.from(boundTo));
    const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return { key: id, text: sealed.toString('base64') };
  }

  /** Whether it was encrypted with the key that encrypts now. */
  isPresent({ key }: SealedText): boolean {
    return key === this.#keys[0]!.id;
  }

  /** @throws {Error} when the key is not known any more, or the text was changed or belongs elsewhere */
  open({ key, text }: SealedText, boundTo: string): string {
    const known = this.#keys.find(({ id }) => id === key);
    if (known === undefined) throw new Error(`the key ${key}, with which ${boundTo} was encrypted, is not configured`);
    const sealed = Buffer.from(text, 'base64');
    const end = sealed.length - tagBytes;
    try {
      const decipher = createDecipheriv('aes-256-gcm', known.bytes, sealed.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(Buffer.from(boundTo));
      decipher.setAuthTag(sealed.subarray(end));
      return Buffer.concat([decipher.update(sealed.subarray(nonceBytes, end)), decipher.final()]).toString('utf8');
    } catch (error) {
      throw new Error(`the encrypted data of ${boundTo} is not intact`, { cause: error });
    }
  }
}

function parseKey(text: string): Buffer {
  const trimmed = text.trim();
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) {
    throw new Error(`a key for secrets is not written as expected: ${keyBytes} bytes in base64`);
  }
  return Buffer.from(trimmed, 'base64');
}

/** Of several processes that start at the same time, one makes the file. */
async function makeKeyFile(path: string): Promise<void> {
  const folder = dirname(path);
  await makeFolder(folder, 0o700);
  const own = `${path}.${randomBytes(8).toString('hex')}`;
  await writeFileDurably(own, `${randomBytes(keyBytes).toString('base64')}\n`, 0o600);
  try {
    await link(own, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(own);
  }
  await syncFolder(folder);
}
