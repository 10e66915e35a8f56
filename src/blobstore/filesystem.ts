import { constants } from 'node:fs';
import { mkdir, open, opendir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AppendOptions, AppendResult, BlobStore, ByteObserver, ByteRange, StoredBytes } from './blob-store.js';

/** Bytes in one read or write; smaller ones cost more than the bytes themselves. */
const writeSize = 1024 * 1024;
const readSize = 512 * 1024;

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
  /** Uploads between an append and the sync or finish that follows it. */
  readonly #appended = new Map<string, FileHandle>();
  /** At most 256, for syncing them. */
  readonly #folders = new Map<string, Promise<FileHandle>>();

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
    for (const folder of [store.#uploads, store.#blobs, root, dirname(root)]) await syncFolder(folder);
    return store;
  }

  async append(upload: string, source: Readable, options: AppendOptions): Promise<AppendResult> {
    const file = await this.#openForWriting(upload, options.offset === 0 ? constants.O_TRUNC : 0);
    try {
      // An append that failed may have left bytes beyond those that count.
      if (options.offset > 0) await file.truncate(options.offset);
      const sink = new FileSink(file, options);
      const interrupted = await receive(source, sink);
      this.#appended.set(upload, file);
      return { appendedBytes: sink.appendedBytes, interrupted };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async sync(upload: string): Promise<void> {
    const file = this.#appended.get(upload) ?? (await this.#openForWriting(upload));
    this.#appended.delete(upload);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async openUpload(upload: string, size: number): Promise<StoredBytes | undefined> {
    return StoredFile.open(this.#uploadPath(upload), { start: 0, end: size - 1 });
  }

  async finish(upload: string, size: number): Promise<string | undefined> {
    const folder = upload.slice(0, 2);
    const file = this.#appended.get(upload) ?? (await this.#openForWriting(upload));
    this.#appended.set(upload, file);
    const present = (await file.stat()).size;
    if (present > size) await file.truncate(size);
    await this.sync(upload);
    if (present < size) return undefined;
    await rename(this.#uploadPath(upload), join(this.#blobs, folder, upload));
    await (await this.#folder(folder)).sync();
    return `${folder}/${upload}`;
  }

  async discardUpload(upload: string): Promise<void> {
    const file = this.#appended.get(upload);
    this.#appended.delete(upload);
    await file?.close();
    await rm(this.#uploadPath(upload), { force: true });
    await rm(join(this.#blobs, upload.slice(0, 2), upload), { force: true });
  }

  open(location: string, range?: ByteRange): Promise<StoredBytes | undefined> {
    return StoredFile.open(join(this.#blobs, location), range);
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

  /** Closes what is kept open. */
  async close(): Promise<void> {
    const folders = await Promise.all(this.#folders.values());
    await Promise.all([...folders, ...this.#appended.values()].map((file) => file.close()));
    this.#folders.clear();
    this.#appended.clear();
  }

  #folder(name: string): Promise<FileHandle> {
    const folder = this.#folders.get(name) ?? open(join(this.#blobs, name), 'r');
    this.#folders.set(name, folder);
    return folder;
  }

  #openForWriting(upload: string, flags = 0): Promise<FileHandle> {
    return open(this.#uploadPath(upload), constants.O_WRONLY | constants.O_CREAT | flags, 0o600);
  }

  #uploadPath(upload: string): string {
    return join(this.#uploads, upload);
  }
}

/** A file, or a part of one, that is read into one of two buffers while the other is being sent. */
class StoredFile implements StoredBytes {
  readonly #file: FileHandle;
  readonly #start: number;
  readonly #size: number;

  private constructor(file: FileHandle, start: number, size: number) {
    this.#file = file;
    this.#start = start;
    this.#size = size;
  }

  static async open(path: string, range: ByteRange | undefined): Promise<StoredFile | undefined> {
    const file = await undefinedWhenAbsent(open(path, 'r'));
    if (file === undefined) return undefined;
    if (range !== undefined) return new StoredFile(file, range.start, range.end - range.start + 1);
    try {
      return new StoredFile(file, 0, (await file.stat()).size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async copyTo(sink: Writable): Promise<void> {
    // A response whose client has gone may swallow a write and never answer it; that it closed is always told.
    const broken = new AbortController();
    const onClose = () => {
      broken.abort();
    };
    sink.once('close', onClose);
    try {
      if (sink.destroyed) onClose();
      const buffers = [this.#buffer(), this.#buffer()];
      let sending: Promise<void> = Promise.resolve();
      for (let copied = 0, turn = 0; copied < this.#size; turn ^= 1) {
        const buffer = buffers[turn]!;
        const wanted = Math.min(buffer.length, this.#size - copied);
        const { bytesRead } = await this.#file.read(buffer, 0, wanted, this.#start + copied);
        if (bytesRead === 0) throw new Error('the file is shorter than it should be');
        copied += bytesRead;
        await sending;
        sending = write(sink, buffer.subarray(0, bytesRead), broken.signal);
        // It is waited for in the next round; until then a failure must not count as unhandled.
        sending.catch(() => undefined);
      }
      await sending;
    } finally {
      sink.removeListener('close', onClose);
      await this.#file.close();
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #buffer(): Buffer {
    return Buffer.allocUnsafeSlow(Math.min(readSize, this.#size));
  }
}

/** Resolves when the sink has no more need of the bytes, and they may be overwritten. */
function write(sink: Writable, bytes: Buffer, broken: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onBroken = () => {
      reject(new Error('the sink was closed'));
    };
    if (broken.aborted) onBroken();
    broken.addEventListener('abort', onBroken, { once: true });
    sink.write(bytes, (error) => {
      broken.removeEventListener('abort', onBroken);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** @returns why the source broke off; what the store did wrong is thrown */
async function receive(source: Readable, sink: FileSink): Promise<Error | undefined> {
  try {
    await pipeline(source, sink);
    return undefined;
  } catch (error) {
    await sink.drain();
    if (sink.failure !== undefined) throw sink.failure;
    return error instanceof Error ? error : new Error(String(error));
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
    super({ highWaterMark: writeSize / 4 });
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
    if (this.#gatheredBytes < writeSize) {
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

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
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
