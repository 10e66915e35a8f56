import SqliteDatabase, { type Database, type Statement } from 'better-sqlite3';
import { resolve } from 'node:path';
import type { Digest } from '../../oci/digest.js';
import { ClientError } from './client-error.js';

/** Where an image came from, and where it is now. */
export interface CopiedImage {
  /** As in `quay.io/team/app`. */
  readonly from: string;
  /** As in `registry.example/team/app`. */
  readonly to: string;
  readonly digest: Digest;
}

/** Remembers, from one run to the next, which images are copied with everything that belongs to them. */
export interface CopyState {
  has(image: CopiedImage): boolean;
  add(image: CopiedImage): void;
  close(): void;
}

/** Of runs that are told of no file. */
export const noCopyState: CopyState = { has: () => false, add: () => undefined, close: () => undefined };

/** Tells our files from other databases: `Weir`. */
const applicationId = 0x57656972;

/**
 * A state in a SQLite file, which is made when it is not there: it may hold any number of images.
 *
 * @throws {ClientError} when the file is something else
 */
export class FileCopyState implements CopyState {
  readonly #database: Database;
  readonly #find: Statement<[string, string, string]>;
  readonly #insert: Statement<[string, string, string]>;

  constructor(path: string) {
    const whole = resolve(path);
    try {
      this.#database = new SqliteDatabase(whole);
      checkIsState(this.#database, whole);
      this.#database.exec(
        'create table if not exists copied (source text, target text, digest text, ' +
          'primary key (source, target, digest)) without rowid',
      );
      this.#find = this.#database.prepare('select 1 from copied where source = ? and target = ? and digest = ?');
      this.#insert = this.#database.prepare('insert or ignore into copied values (?, ?, ?)');
    } catch (error) {
      if (error instanceof ClientError) throw error;
      throw new ClientError(`the state in ${whole} cannot be used: ${(error as Error).message}`, { cause: error });
    }
  }

  has({ from, to, digest }: CopiedImage): boolean {
    return this.#find.get(from, to, digest) !== undefined;
  }

  add({ from, to, digest }: CopiedImage): void {
    this.#insert.run(from, to, digest);
  }

  close(): void {
    this.#database.close();
  }
}

function checkIsState(database: Database, path: string): void {
  const id = database.pragma('application_id', { simple: true });
  if (id === applicationId) return;
  const isEmpty = database.prepare('select 1 from sqlite_master').get() === undefined;
  if (id !== 0 || !isEmpty) {
    database.close();
    throw new ClientError(`${path} is a database of something else; give --state a file of its own`);
  }
  database.pragma(`application_id = ${applicationId}`);
}
