// node copy-blobs.mjs FROM TO [NAMES]: copies what is in FROM and not yet in TO, each a folder or s3://bucket/prefix. With NAMES,
// a file of names, exactly those are copied, and it is a failure when one is missing. Bytes of a registry never change under their
// name, so what is there with its full size is not looked at again. What vanishes meanwhile was collected, and is left out.
//
// Credentials, endpoint and region are those of the registry: WEIR_BLOBSTORE_S3_….
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, opendir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';

const parallelCopies = 8;
/** Of an object that is written in parts. 10,000 of them are the most there can be. */
const partSize = 64 * 1024 * 1024;

/** Bytes in a folder, by their paths in it. */
class Folder {
  #root;
  #incoming;
  #changed = new Set();

  constructor(root) {
    this.#root = root;
    this.#incoming = path.join(root, `.incoming-${randomBytes(8).toString('hex')}`);
  }

  async *list(folder = '') {
    let entries;
    try {
      entries = await opendir(path.join(this.#root, folder));
    } catch (error) {
      if (error.code === 'ENOENT') return;
      throw error;
    }
    for await (const entry of entries) {
      const name = path.posix.join(folder, entry.name);
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory()) yield* this.list(name);
      else {
        const found = await stat(path.join(this.#root, name)).catch(absent);
        if (found !== undefined) yield { name, size: found.size };
      }
    }
  }

  /** @returns undefined when it is gone */
  async read(name) {
    const file = await open(path.join(this.#root, name), 'r').catch(absent);
    return file === undefined
      ? undefined
      : createReadStream('', { fd: file, autoClose: true, highWaterMark: 1024 * 1024 });
  }

  /** Nothing has its name before it is whole. */
  async write(name, size, bytes) {
    const final = path.join(this.#root, name);
    const incoming = path.join(this.#incoming, randomBytes(16).toString('hex'));
    await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
    await this.#makeFolder(path.dirname(final));
    const file = await open(incoming, 'wx', 0o600);
    try {
      let written = 0;
      for await (const chunk of bytes) {
        await file.writeFile(chunk);
        written += chunk.length;
      }
      if (written !== size) throw new Error(`${name}: ${written} bytes came instead of ${size}`);
      await file.sync();
      await file.close();
      await rename(incoming, final);
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(incoming, { force: true });
      throw error;
    }
  }

  async finish() {
    await rm(this.#incoming, { recursive: true, force: true });
    for (const folder of this.#changed) {
      const handle = await open(folder, 'r');
      await handle.sync();
      await handle.close();
    }
  }

  async #makeFolder(folder) {
    if (this.#changed.has(folder)) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (let each = folder; each.startsWith(this.#root); each = path.dirname(each)) this.#changed.add(each);
  }
}

/** Bytes in a bucket, by what follows the prefix in their keys. */
class Bucket {
  #sdk;
  #client;
  #bucket;
  #prefix;
  #encryption;

  constructor(sdk, { bucket, prefix }) {
    const environment = process.env;
    const setting = (name) => environment[`WEIR_BLOBSTORE_S3_${name}`] || undefined;
    const endpoint = setting('ENDPOINT');
    const [accessKeyId, secretAccessKey] = [setting('ACCESS_KEY_ID'), setting('SECRET_ACCESS_KEY')];
    this.#sdk = sdk;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#encryption = {
      ...(setting('ENCRYPTION') && { ServerSideEncryption: setting('ENCRYPTION') }),
      ...(setting('KMS_KEY_ID') && { SSEKMSKeyId: setting('KMS_KEY_ID') }),
    };
    this.#client = new sdk.S3Client({
      region: setting('REGION') ?? 'us-east-1',
      forcePathStyle: setting('PATH_STYLE') === undefined ? endpoint !== undefined : setting('PATH_STYLE') === 'true',
      maxAttempts: 6,
      ...(endpoint && { endpoint }),
      ...(accessKeyId && secretAccessKey && { credentials: { accessKeyId, secretAccessKey } }),
    });
  }

  async *list() {
    const pages = this.#sdk.paginateListObjectsV2(
      { client: this.#client },
      { Bucket: this.#bucket, Prefix: this.#prefix },
    );
    for await (const { Contents = [] } of pages) {
      // Folders that other programs make are keys that end with a slash.
      for (const { Key, Size } of Contents) {
        if (!Key.endsWith('/')) yield { name: Key.slice(this.#prefix.length), size: Size };
      }
    }
  }

  async read(name) {
    try {
      const { Body } = await this.#client.send(new this.#sdk.GetObjectCommand(this.#object(name)));
      return Body;
    } catch (error) {
      if (error.name === 'NoSuchKey' || error.$metadata?.httpStatusCode === 404) return undefined;
      throw error;
    }
  }

  async write(name, size, bytes) {
    const parts = cut(bytes, partSize);
    if (size <= partSize) {
      const Body = (await parts.next()).value ?? Buffer.alloc(0);
      // What the bytes come from is closed when nobody goes on reading.
      await parts.return();
      if (Body.length !== size) throw new Error(`${name}: ${Body.length} bytes came instead of ${size}`);
      await this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#object(name), ...this.#encryption, Body }));
      return;
    }
    const begin = new this.#sdk.CreateMultipartUploadCommand({ ...this.#object(name), ...this.#encryption });
    const upload = { ...this.#object(name), UploadId: (await this.#client.send(begin)).UploadId };
    try {
      const Parts = [];
      let written = 0;
      for await (const Body of parts) {
        const part = { PartNumber: Parts.length + 1 };
        const { ETag } = await this.#client.send(new this.#sdk.UploadPartCommand({ ...upload, ...part, Body }));
        Parts.push({ ...part, ETag });
        written += Body.length;
      }
      if (written !== size) throw new Error(`${name}: ${written} bytes came instead of ${size}`);
      await this.#client.send(new this.#sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
    } catch (error) {
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand(upload)).catch(() => undefined);
      throw error;
    }
  }

  async finish() {
    this.#client.destroy();
  }

  #object(name) {
    return { Bucket: this.#bucket, Key: this.#prefix + name };
  }
}

/** The same bytes, in buffers of one size; the last may be shorter. */
async function* cut(bytes, size) {
  let chunks = [];
  let length = 0;
  for await (let chunk of bytes) {
    while (length + chunk.length >= size) {
      const rest = size - length;
      yield Buffer.concat([...chunks, chunk.subarray(0, rest)]);
      chunk = chunk.subarray(rest);
      chunks = [];
      length = 0;
    }
    chunks.push(chunk);
    length += chunk.length;
  }
  if (length > 0) yield Buffer.concat(chunks);
}

function absent(error) {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}

async function openPlace(text) {
  const [, bucket, prefix] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(text) ?? [];
  if (bucket === undefined) return new Folder(path.resolve(text));
  const keyPrefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
  return new Bucket(await import('@aws-sdk/client-s3'), { bucket, prefix: keyPrefix });
}

async function sizesOf(place) {
  const sizes = new Map();
  for await (const { name, size } of place.list()) sizes.set(name, size);
  return sizes;
}

const [fromText, toText, namesFile] = process.argv.slice(2);
if (toText === undefined) {
  process.stderr.write('usage: node copy-blobs.mjs FROM TO [NAMES]\n');
  process.exit(2);
}
const [from, to] = [await openPlace(fromText), await openPlace(toText)];
const present = await sizesOf(to);
const wanted = namesFile === undefined ? undefined : (await readFile(namesFile, 'utf8')).split('\n').filter(Boolean);

/** What is to be copied; of what was asked for and is not there, the size is undefined. */
async function* todo() {
  if (wanted === undefined) yield* from.list();
  else {
    const sizes = await sizesOf(from);
    for (const name of wanted) yield { name, size: sizes.get(name) };
  }
}

const counts = { copied: 0, bytes: 0, missing: 0 };
const entries = todo();

async function copyInTurn() {
  for (let next = await entries.next(); !next.done; next = await entries.next()) {
    const { name, size } = next.value;
    if (size !== undefined && present.get(name) === size) continue;
    const bytes = size === undefined ? undefined : await from.read(name);
    if (bytes === undefined) {
      if (wanted === undefined) continue;
      counts.missing += 1;
      process.stderr.write(`copy-blobs: ${name} is not in ${fromText}\n`);
      continue;
    }
    await to.write(name, size, bytes);
    counts.copied += 1;
    counts.bytes += size;
  }
}

await Promise.all(Array.from({ length: parallelCopies }, copyInTurn));
await Promise.all([from.finish(), to.finish()]);
process.stdout.write(`${fromText} -> ${toText}: ${counts.copied} copied (${counts.bytes} bytes)\n`);
if (counts.missing > 0) {
  process.stderr.write(`copy-blobs: ${counts.missing} are missing\n`);
  process.exitCode = 1;
}
