import { join } from 'node:path';
import { sql } from 'kysely';
import type { BlobStore } from './blobstore/blob-store.js';
import { BlobStores } from './blobstore/blob-stores.js';
import { FilesystemBlobStore } from './blobstore/filesystem.js';
import type { S3Request } from './blobstore/s3-retries.js';
import type { Config } from './config.js';
import { makeFolder } from './durable-files.js';
import type { OpenedDatabase } from './metadata/opened-database.js';
import { openSqlite } from './metadata/sqlite.js';

/** Who is told what the database does. */
export interface DatabaseListeners {
  /** Called with the duration of each statement, in milliseconds. */
  readonly onQuery?: (durationMs: number) => void;
  /** Told of connections that broke while nobody waited for them. */
  readonly onConnectionError?: (error: unknown) => void;
}

/** How often processes that share a SQLite file look what the others have written, in milliseconds. */
const sqlitePollMs = 100;

/** Opens the database of a registry, making what is missing of its data folder. */
export async function openDatabase(config: Config, listeners: DatabaseListeners = {}): Promise<OpenedDatabase> {
  await makeFolder(config.dataDir, 0o700);
  const { url, poolSize, connectTimeoutSeconds, statementTimeoutSeconds } = config.database;
  if (url !== 'sqlite') {
    // What is not used need not be loaded.
    const { openPostgres } = await import('./metadata/postgres.js');
    return openPostgres(url, {
      ...listeners,
      poolSize,
      connectTimeoutMs: connectTimeoutSeconds * 1000,
      statementTimeoutMs: statementTimeoutSeconds * 1000,
    });
  }
  const db = await openSqlite(join(config.dataDir, 'weir.sqlite'), listeners);
  return {
    db,
    // One machine has one clock.
    now: () => new Date(),
    onChange: () => undefined,
    pollMs: sqlitePollMs,
    ping: async () => {
      await sql`select 1`.execute(db);
    },
  };
}

/**
 * Opens the blob store of a registry.
 *
 * @param onRequest told of each request to S3
 */
export async function openBlobStore(config: Config, onRequest?: (request: S3Request) => void): Promise<BlobStore> {
  const disk = await FilesystemBlobStore.open(config.dataDir);
  const { kind, s3 } = config.blobstore;
  if (s3.bucket === undefined) return disk;
  const { S3BlobStore } = await import('./blobstore/s3.js');
  const { bucket, redirect: _redirect, redirectExpireSeconds: _expire, redirectExclude: _exclude, ...options } = s3;
  const scratchDir = join(config.dataDir, 'scratch');
  await makeFolder(scratchDir, 0o700);
  return new BlobStores({ disk, s3: await S3BlobStore.open({ ...options, bucket, scratchDir, onRequest }) }, kind);
}

/** Where the first password of user `admin` is left. */
export function adminPasswordPath(config: Config): string {
  return join(config.dataDir, 'admin-password');
}
