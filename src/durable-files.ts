import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Makes the entries of a folder (what is in it, and by which name) outlast a power failure. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Makes a folder, and those above it that are missing, to outlast a power failure. */
export async function makeFolder(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined) return;
  for (let made = path; ; made = dirname(made)) {
    await syncFolder(dirname(made));
    if (made === first) return;
  }
}

/** Writes a file whole or not at all, to outlast a power failure once the promise resolves. */
export async function writeFileDurably(path: string, text: string, mode: number): Promise<void> {
  // Several processes may write the same file at the same time.
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.new`);
  const file = await open(temporary, 'w', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(temporary, mode);
  await rename(temporary, path);
  await syncFolder(dirname(path));
}
