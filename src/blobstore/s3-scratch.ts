import { constants } from 'node:fs';
import { mkdir, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppendOptions } from './blob-store.js';
import { FileSink } from './file-sink.js';
import { GrowingFile } from './growing-file.js';
import { undefinedWhenAbsent } from './stored-file.js';

/** Files that rested for so long are of a process that died. */
const abandonedAfterMs = 24 * 60 * 60 * 1000;

/** A file that an append is written to as well. */
export interface Mirror {
  readonly sink: FileSink;
  close(): Promise<void>;
}

/** A folder of bytes that are read here while they come in, beside the store that keeps them. */
export class ScratchFolder {
  readonly #folder: string;
  /** Uploads that may have a file of this process; those of others go when they are old. */
  readonly #mirrored = new Set<string>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder when it is missing, and empties it of what nobody uses any more. */
  static async open(folder: string): Promise<ScratchFolder> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const before = Date.now() - abandonedAfterMs;
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await undefinedWhenAbsent(stat(path));
      if (found?.isFile() === true && found.mtimeMs < before) await rm(path, { force: true });
    }
    return new ScratchFolder(folder);
  }

  /** @returns undefined when the bytes before these were not written here: what is not whole cannot be read */
  async mirror(upload: string, size: number, onWritten: (bytes: number) => void): Promise<Mirror | undefined> {
    const flags = size === 0 ? constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC : constants.O_WRONLY;
    this.#mirrored.add(upload);
    const file = await undefinedWhenAbsent(open(join(this.#folder, upload), flags, 0o600));
    if (file === undefined) return undefined;
    if (!(await hasBytes(file, size))) {
      await file.close();
      return undefined;
    }
    const options: AppendOptions = { observer: { update: () => undefined }, onWritten };
    return { sink: new FileSink(file, size, options), close: () => file.close() };
  }

  follow(upload: string): Promise<GrowingFile | undefined> {
    return GrowingFile.open(join(this.#folder, upload));
  }

  async remove(upload: string): Promise<void> {
    if (this.#mirrored.delete(upload)) await rm(join(this.#folder, upload), { force: true });
  }
}

/** Cuts off what lies beyond. */
async function hasBytes(file: FileHandle, size: number): Promise<boolean> {
  if ((await file.stat()).size < size) return false;
  await file.truncate(size);
  return true;
}
