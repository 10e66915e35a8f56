import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { extract, type Extract, type Header } from 'tar-stream';
import { OciError } from '../oci/errors.js';

/** A regular file of an archive. Its bytes are to be read before the next entry is asked for; the rest is skipped. */
export interface ArchiveFile {
  readonly kind: 'file';
  /** As `entryName` spells it; no path of this machine. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly bytes: AsyncIterable<Buffer>;
}

/** Another name for a file of the same archive. */
export interface ArchiveLink {
  readonly kind: 'link';
  readonly name: string;
  readonly target: string;
}

/** What an archive may be at most. */
export interface ArchiveLimits {
  /** Files, links and folders. */
  readonly entries: number;
  /** Bytes that a compressed archive may unpack to, whatever it had. */
  readonly unpackedBytes: number;
  /** Beyond those, so many for each byte of it. */
  readonly unpackedRatio: number;
}

/** Real archives have some hundred entries, and images seldom shrink to less than a tenth. */
export const defaultArchiveLimits: ArchiveLimits = {
  entries: 10_000,
  unpackedBytes: 1024 * 1024 * 1024,
  unpackedRatio: 100,
};

/** More than any file is called in archives of images. */
const maxNameLength = 1024;
const gunzipChunkBytes = 256 * 1024;

/** How files begin that are compressed in a way not taken here. */
const foreignFormats = [
  { name: 'zstd', magic: Buffer.from('28b52ffd', 'hex') },
  { name: 'xz', magic: Buffer.from('fd377a585a00', 'hex') },
  { name: 'bzip2', magic: Buffer.from('BZh') },
  { name: 'zip', magic: Buffer.from('PK\u0003\u0004') },
] as const;

/**
 * Reads a tar archive once, in order; it may be compressed with gzip. A name that comes twice is refused, because two
 * readers might take a different one of both.
 *
 * @throws {OciError} BLOB_UPLOAD_INVALID when it breaks off or is no such archive; SIZE_INVALID with status 413 when it
 *   is more than the limits let in
 */
export async function* readArchive(
  source: Readable,
  limits: ArchiveLimits = defaultArchiveLimits,
): AsyncGenerator<ArchiveFile | ArchiveLink> {
  const tar = extract();
  // Said by the iteration below; an emitter whose error nobody hears would end the process.
  tar.on('error', () => undefined);
  void feed(source, tar, limits);
  try {
    const names = new Set<string>();
    let count = 0;
    for await (const entry of tar) {
      count += 1;
      if (count > limits.entries) throw tooLarge({ reason: `an archive has at most ${limits.entries} entries` });
      const found = toArchiveEntry({ header: entry.header, bytes: bytesOf(entry as AsyncIterable<Buffer>) }, names);
      if (found !== undefined) yield found;
      // Without effect when it has been read.
      entry.resume();
    }
  } catch (error) {
    throw brokenArchive(error);
  } finally {
    tar.destroy();
  }
}

/**
 * The one spelling of a name in an archive: without `.`, empty parts, and a slash at its beginning or end.
 *
 * @param folder which the name is looked up from
 * @throws {OciError} BLOB_UPLOAD_INVALID when it leads out of the archive or is too long
 */
export function entryName(text: string, folder: readonly string[] = []): string {
  const parts = text.startsWith('/') ? [] : [...folder];
  if (text.length > maxNameLength || text.includes('\0')) throw badEntry(text, 'a name of at most 1024 characters');
  for (const part of text.split('/')) {
    if (part === '..' && parts.pop() === undefined)
      throw badEntry(text, 'a name that does not lead out of the archive');
    if (part !== '' && part !== '.' && part !== '..') parts.push(part);
  }
  return parts.join('/');
}

async function* bytesOf(entry: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* entry;
  } catch (error) {
    throw brokenArchive(error);
  }
}

function toArchiveEntry(
  { header, bytes }: { readonly header: Header; readonly bytes: AsyncIterable<Buffer> },
  names: Set<string>,
): ArchiveFile | ArchiveLink | undefined {
  const { type, size, linkname } = header;
  if (type !== 'file' && type !== 'contiguous-file' && type !== 'symlink' && type !== 'link') return undefined;
  const name = entryName(header.name);
  if (names.has(name)) throw badEntry(name, 'each name once');
  names.add(name);
  if (type === 'file' || type === 'contiguous-file') {
    return { kind: 'file', name, size, bytes };
  }
  return { kind: 'link', name, target: targetOf(type, name, linkname) };
}

/** A symbolic link is relative to its folder, a hard link names an entry. */
function targetOf(type: Header['type'], name: string, linkname: string): string {
  return entryName(linkname, type === 'symlink' ? name.split('/').slice(0, -1) : []);
}

/** Writes the source into the reader of tar, unpacked. Never rejects: what goes wrong breaks the reader. */
async function feed(source: Readable, tar: Extract, limits: ArchiveLimits): Promise<void> {
  try {
    for await (const chunk of unpack(source, limits)) {
      const isReady = tar.write(chunk);
      if (tar.destroying) return;
      if (!isReady) await drained(tar);
    }
    tar.end(null);
  } catch (error) {
    tar.destroy(brokenArchive(error));
  }
}

/** Resolves when there is room for more, or nobody reads any more. */
function drained(tar: Extract): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      tar.off('drain', done).off('close', done);
      resolve();
    };
    tar.on('drain', done).on('close', done);
  });
}

async function* unpack(source: Readable, limits: ArchiveLimits): AsyncGenerator<Buffer> {
  // Whoever gives the source decides what becomes of it.
  const chunks = source.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  try {
    const head = await readHead(chunks);
    const foreign = foreignFormats.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
    if (foreign !== undefined) {
      throw new OciError('BLOB_UPLOAD_INVALID', {
        reason: `the archive is compressed with ${foreign.name}`,
        expected: 'a tar archive, as it is or compressed with gzip',
      });
    }
    if (head[0] === 0x1f && head[1] === 0x8b) {
      yield* unzip(head, chunks, limits);
    } else {
      yield head;
      yield* chunks;
    }
  } finally {
    // As long as it is not told, it holds on to a source that somebody else wants to read to its end.
    await chunks.return?.();
  }
}

async function readHead(chunks: AsyncIterableIterator<Buffer>): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 6) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  if (head.length === 0) throw new OciError('BLOB_UPLOAD_INVALID', 'the archive is empty');
  return head;
}

async function* unzip(
  head: Buffer,
  rest: AsyncIterable<Buffer>,
  { unpackedBytes, unpackedRatio }: ArchiveLimits,
): AsyncGenerator<Buffer> {
  let packed = 0;
  let unpacked = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    packed += head.length;
    yield head;
    for await (const chunk of rest) {
      packed += chunk.length;
      yield chunk;
    }
  }
  const gunzip = createGunzip({ chunkSize: gunzipChunkBytes });
  // Told to whoever reads from it.
  pipeline(counted(), gunzip, () => undefined);
  for await (const chunk of gunzip as AsyncIterable<Buffer>) {
    unpacked += chunk.length;
    if (unpacked > unpackedBytes + packed * unpackedRatio) {
      throw tooLarge({
        reason: `the archive unpacks to more than ${unpackedRatio} times its size; send it as it is, not compressed`,
      });
    }
    yield chunk;
  }
}

function tooLarge(detail: object): OciError {
  return new OciError('SIZE_INVALID', detail, { status: 413 });
}

function badEntry(name: string, expected: string): OciError {
  return new OciError('BLOB_UPLOAD_INVALID', { entry: name.slice(0, 300), expected });
}

/** What is wrong with an archive, in words of the registry. */
function brokenArchive(error: unknown): OciError {
  if (error instanceof OciError) return error;
  return new OciError('BLOB_UPLOAD_INVALID', 'the archive breaks off before its end, or is no tar archive', {
    cause: error,
  });
}
