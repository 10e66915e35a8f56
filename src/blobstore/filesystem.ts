import { constants } from 'node:fs';
import { mkdir, open, opendir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AppendOptions, AppendResult, BlobStore, ByteObserver, ByteRange } from './blob-store.js';

/** Big reads and writes: at Node's default of 64 KiB a single stream reaches a third of the speed. */
const bufferSize = 1024 * 1024;

/** Written but not yet on the disk; beyond it the disk is set to work while more bytes come in. */
const writebackSize = 32 * 1024 * 1024;

/**
 * Bytes in a folder:
 *
 *     uploads/<id>          unfinished
 *     blobs/<xx>/<id>       finished; xx are the first two characters of the id, and `<xx>/<id>` is the location
 *
 * A blob keeps the random name of its upload. So two uploads of the same content never meet, deleting old bytes cannot
 * hit new ones of the same digest, and what an upload left behind is found from its id alone.
 */
export class FilesystemBlobStore implements BlobStore {
  readonly #uploads: string;
  readonly #blobs: string;

  private constructor(root: string) {
    this.#uploads = join(root, 'uploads');
    this.#blobs = join(root, 'blobs');
  }

  /** Makes the folders that are missing. Ids of uploads are lower-case hex. */
  static async open(root: string): Promise<FilesystemBlobStore> {
    const store = new FilesystemBlobStore(root);
    await mkdir(store.#uploads, { recursive: true, mode: 0o700 });
    await Promise.all(
      Array.from({ length: 256 }, (_, index) =>
        mkdir(join(store.#blobs, index.toString(16).padStart(2, '0')), { recursive: true, mode: 0o700 }),
      ),
    );
    await Promise.all([root, store.#uploads, store.#blobs].map(syncFolder));
    return store;
  }

  async append(upload: string, source: Readable, options: AppendOptions): Promise<AppendResult> {
    const file = await open(this.#uploadPath(upload), constants.O_WRONLY | constants.O_CREAT, 0o600);
    const sink = new FileSink(file, options);
    let interrupted: Error | undefined;
    try {
      try {
        await pipeline(source, sink);
      } catch (error) {
        // What the store did wrong is thrown; what the source did is told.
        if (sink.failure !== undefined) throw sink.failure;
        interrupted = error instanceof Error ? error : new Error(String(error));
      }
      await sink.drain();
      await file.truncate(options.offset + sink.appendedBytes);
    } finally {
      await sink.drain().catch(() => undefined);
      await file.close();
    }
    return { appendedBytes: sink.appendedBytes, interrupted };
  }

  async sync(upload: string): Promise<void> {
    await syncPath(this.#uploadPath(upload), constants.O_WRONLY | constants.O_CREAT);
  }

  async readUpload(upload: string, size: number): Promise<Readable | undefined> {
    return openForReading(this.#uploadPath(upload), size === 0 ? undefined : { start: 0, end: size - 1 });
  }

  async finish(upload: string): Promise<string> {
    const folder = upload.slice(0, 2);
    // An upload of no bytes at all never had an append, and still becomes a (zero-length) file.
    await syncPath(this.#uploadPath(upload), constants.O_WRONLY | constants.O_CREAT);
    await rename(this.#uploadPath(upload), join(this.#blobs, folder, upload));
    await syncFolder(join(this.#blobs, folder));
    return `${folder}/${upload}`;
  }

  async discardUpload(upload: string): Promise<void> {
    await rm(this.#uploadPath(upload), { force: true });
    await rm(join(this.#blobs, upload.slice(0, 2), upload), { force: true });
  }

  open(location: string, range?: ByteRange): Promise<Readable | undefined> {
    return openForReading(join(this.#blobs, location), range);
  }

  async size(location: string): Promise<number | undefined> {
    return (await undefinedWhenAbsent(stat(join(this.#blobs, location))))?.size;
  }

  async delete(location: string): Promise<void> {
    await rm(join(this.#blobs, location), { force: true });
  }

  async *list(): AsyncIterable<string> {
    for await (const folder of await opendir(this.#blobs)) {
      for await (const entry of await opendir(join(this.#blobs, folder.name))) yield `${folder.name}/${entry.name}`;
    }
  }

  async check(): Promise<void> {
    const probe = join(this.#uploads, '.check');
    const file = await open(probe, 'w', 0o600);
    try {
      await file.writeFile('weir');
    } finally {
      await file.close();
    }
  }

  #uploadPath(upload: string): string {
    return join(this.#uploads, upload);
  }
}

/**
 * Writes what it is given at an offset, and shows it to the observer. Bytes are gathered into large writes, and while
 * one is under way the next is gathered.
 */
class FileSink extends Writable {
  /** Bytes written since the sink was made; after `drain`, all that the observer saw. */
  appendedBytes = 0;
  /** What went wrong on this side of the stream. */
  failure: Error | undefined;
  readonly #file: FileHandle;
  readonly #offset: number;
  readonly #observer: ByteObserver;
  readonly #maxBytes: number;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #seenBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #writeback: Promise<void> = Promise.resolve();
  #unsyncedBytes = 0;

  constructor(file: FileHandle, { offset, observer, maxBytes }: AppendOptions) {
    super({ highWaterMark: bufferSize / 4 });
    this.#file = file;
    this.#offset = offset;
    this.#observer = observer;
    this.#maxBytes = maxBytes ?? Infinity;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#seenBytes += chunk.length;
    if (this.#seenBytes > this.#maxBytes) {
      this.failure = new RangeError(`more than ${this.#maxBytes} bytes`);
      callback(this.failure);
      return;
    }
    this.#observer.update(chunk);
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes < bufferSize) {
      callback();
      return;
    }
    // At most one write is under way: the stream waits here when the disk is slower than the client.
    this.#writing.then(
      () => {
        this.#writeGathered();
        callback();
      },
      () => {
        callback(this.failure);
      },
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.drain().then(() => {
      callback();
    }, callback);
  }

  /** Writes what was gathered, also of a stream that broke off, and resolves when nothing is under way any more. */
  async drain(): Promise<void> {
    await this.#writing;
    this.#writeGathered();
    await this.#writing;
    await this.#writeback;
  }

  #writeGathered(): void {
    const buffers = this.#gathered;
    const size = this.#gatheredBytes;
    if (size === 0) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#writing = this.#write(buffers, size);
    // Whoever waits for it next is told; until then it must not count as unhandled.
    this.#writing.catch((error: unknown) => {
      this.failure = error instanceof Error ? error : new Error(String(error));
    });
  }

  async #write(buffers: Buffer[], size: number): Promise<void> {
    await writeFully(this.#file, buffers, size, this.#offset + this.appendedBytes);
    this.appendedBytes += size;
    this.#unsyncedBytes += size;
    if (this.#unsyncedBytes < writebackSize) return;
    await this.#writeback;
    this.#unsyncedBytes = 0;
    this.#writeback = this.#file.datasync();
    this.#writeback.catch(() => undefined);
  }
}

async function writeFully(file: FileHandle, buffers: Buffer[], size: number, position: number): Promise<void> {
  const { bytesWritten } = await file.writev(buffers, position);
  if (bytesWritten === size) return;
  // A disk about to be full may take a part; the rest either fits as well or says why not.
  const rest = Buffer.concat(buffers).subarray(bytesWritten);
  await writeFully(file, [rest], rest.length, position + bytesWritten);
}

async function openForReading(path: string, range?: ByteRange): Promise<Readable | undefined> {
  const file = await undefinedWhenAbsent(open(path, 'r'));
  return file?.createReadStream({ highWaterMark: bufferSize, ...range });
}

function syncFolder(path: string): Promise<void> {
  return syncPath(path, constants.O_RDONLY);
}

async function syncPath(path: string, flags: number): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function undefinedWhenAbsent<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
