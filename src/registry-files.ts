import { join } from 'node:path';
import { FilesystemBlobStore } from './blobstore/filesystem.js';
import type { Config } from './config.js';
import { makeFolder } from './durable-files.js';
import type { Database } from './metadata/schema.js';
import { openSqlite, type SqliteOptions } from './metadata/sqlite.js';

/** Opens the database of a registry, making what is missing of its data folder. */
export async function openDatabase(config: Config, options: SqliteOptions = {}): Promise<Database> {
  await makeFolder(config.dataDir, 0o700);
  return openSqlite(join(config.dataDir, 'weir.sqlite'), options);
}

/** Opens the blob store of a registry. */
export async function openBlobStore(config: Config): Promise<FilesystemBlobStore> {
  return FilesystemBlobStore.open(config.dataDir);
}

/** Where the first password of user `admin` is left. */
export function adminPasswordPath(config: Config): string {
  return join(config.dataDir, 'admin-password');
}
