import { open, type FileHandle } from 'node:fs/promises';

/** What every open file inherits its methods from, for watching the syncs that reach the operating system. */
export async function fileHandlePrototype(): Promise<FileHandle> {
  const handle = await open(process.execPath);
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}
