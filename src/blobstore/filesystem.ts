import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  opendir,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type {
  AdoptedFile,
  AppendOptions,
  AppendResult,
  BlobStore,
  ByteRange,
  GrowingBytes,
  StoredBytes,
  UploadProgress,
} from './blob-store.js';
import { syncFolder } from '../durable-files.js';
import { FileSink, receive } from './file-sink.js';
import { GrowingFile } from './growing-file.js';
import { StoredFile, undefinedWhenAbsent } from './stored-file.js';

/** Another file system, somebody else's file, too many names already, or a file system that knows no second names. */
const cannotLink: readonly string[] = ['EXDEV', 'EPERM', 'EACCES', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'];

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

  async append({ id: upload, size }: UploadProgress, source: Readable, options: AppendOptions): Promise<AppendResult> {
    const file = size === 0 ? await this.#create(upload) : await this.#reopen(upload);
    if (file === undefined) throw new Error('the upload has no bytes to append to');
    try {
      // An append that failed may have left bytes beyond those that count.
      if (size > 0) await file.truncate(size);
      const sink = new FileSink(file, size, options);
      const interrupted = await receive(source, sink);
      this.#appended.set(upload, file);
      return { appendedBytes: sink.appendedBytes, state: undefined, interrupted };
    } catch (error) {
      // What was refused takes no space. Should this fail too, the next append leaves nothing of it.
      await file.truncate(size).catch(() => undefined);
      await file.close();
      throw error;
    }
  }

  async sync(upload: string): Promise<void> {
    const file = this.#appended.get(upload) ?? (await this.#reopen(upload));
    if (file === undefined) return;
    this.#appended.delete(upload);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async openUpload({
    id,
    size,
  }: UploadProgress): Promise<{ readonly bytes: StoredBytes; readonly state: undefined } | undefined> {
    await (await this.#reopen(id))?.close();
    const bytes = await StoredFile.open(this.#uploadPath(id), { start: 0, end: size - 1 });
    return bytes && { bytes, state: undefined };
  }

  async followUpload(upload: string): Promise<GrowingBytes | undefined> {
    return (await GrowingFile.open(this.#uploadPath(upload))) ?? GrowingFile.open(this.#finishedPath(upload));
  }

  async finish({ id: upload, size }: UploadProgress): Promise<string | undefined> {
    const file =
      this.#appended.get(upload) ??
      (await this.#reopen(upload)) ??
      (size === 0 ? await this.#create(upload) : undefined);
    if (file === undefined) return undefined;
    this.#appended.set(upload, file);
    const { size: present, ino } = await file.stat();
    if (present > size) await file.truncate(size);
    await this.sync(upload);
    if (present < size) return undefined;
    const folder = upload.slice(0, 2);
    await rename(this.#uploadPath(upload), this.#finishedPath(upload));
    if ((await stat(this.#finishedPath(upload))).ino !== ino) {
      // Somebody has taken the upload over, and these are their bytes.
      await rename(this.#finishedPath(upload), this.#uploadPath(upload));
      return undefined;
    }
    await (await this.#folder(folder)).sync();
    return `${folder}/${upload}`;
  }

  async takeOver({ id: upload, size }: UploadProgress): Promise<void> {
    const path = this.#uploadPath(upload);
    await (await this.#reopen(upload))?.close();
    if (size === 0) {
      await rm(path, { force: true });
      return;
    }
    // Whoever has the old file open writes where nobody looks.
    const own = join(this.#uploads, `.${upload}.${randomUUID()}`);
    await copyFile(path, own, constants.COPYFILE_FICLONE);
    await syncBytes(own);
    await rename(own, path);
    await syncFolder(this.#uploads);
  }

  async adopt(upload: string, path: string, mayShare: boolean): Promise<AdoptedFile | undefined> {
    const found = await undefinedWhenAbsent(lstat(path));
    if (found === undefined) return undefined;
    if (!found.isFile()) throw new Error(`${path} is no file`);
    const folder = upload.slice(0, 2);
    const isShared = mayShare && (await this.#share(upload, path));
    if (!isShared) await this.#copy(upload, path);
    await (await this.#folder(folder)).sync();
    return { location: `${folder}/${upload}`, size: (await stat(this.#finishedPath(upload))).size, isShared };
  }

  /** @returns false when the file cannot have a second name here */
  async #share(upload: string, path: string): Promise<boolean> {
    try {
      await link(path, this.#finishedPath(upload));
    } catch (error) {
      if (error instanceof Error && 'code' in error && cannotLink.includes(String(error.code))) return false;
      throw error;
    }
    // Whoever wrote the bytes may not have waited for the disk.
    await syncBytes(this.#finishedPath(upload));
    return true;
  }

  async #copy(upload: string, path: string): Promise<void> {
    const copied = this.#uploadPath(upload);
    await copyFile(path, copied, constants.COPYFILE_FICLONE);
    await chmod(copied, 0o600);
    await syncBytes(copied);
    await rename(copied, this.#finishedPath(upload));
  }

  async discardUpload({ id: upload }: Pick<UploadProgress, 'id'>): Promise<void> {
    const file = this.#appended.get(upload);
    this.#appended.delete(upload);
    await file?.close();
    await rm(this.#uploadPath(upload), { force: true });
    await rm(this.#finishedPath(upload), { force: true });
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

  async *listUploads(): AsyncIterable<string> {
    for await (const entry of await opendir(this.#uploads)) if (!entry.name.startsWith('.')) yield entry.name;
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

  #create(upload: string): Promise<FileHandle> {
    return open(this.#uploadPath(upload), constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
  }

  /**
   * Opens what an upload has so far. A process that died, or could not write its row, after it had finished the bytes has
   * left them at their final place, where nobody knows of them: they are taken back.
   */
  async #reopen(upload: string): Promise<FileHandle | undefined> {
    const path = this.#uploadPath(upload);
    const file = await undefinedWhenAbsent(open(path, constants.O_WRONLY));
    if (file !== undefined) return file;
    await undefinedWhenAbsent(rename(this.#finishedPath(upload), path));
    return undefinedWhenAbsent(open(path, constants.O_WRONLY));
  }

  #finishedPath(upload: string): string {
    return join(this.#blobs, upload.slice(0, 2), upload);
  }

  #uploadPath(upload: string): string {
    return join(this.#uploads, upload);
  }
}

/** Makes what a file holds outlast a power failure. */
async function syncBytes(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
