import type SqliteDatabase from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import type { PrepareRead } from './compiled-query.js';

/** Of each query's rows that are remembered. */
const rememberedBytes = 8 * 1024 * 1024;

/** A row as it was at a version of the database. */
interface ReadRow {
  readonly version: number;
  readonly row: unknown;
}

/**
 * Look-ups on a connection beside the one that writes: they see only what is committed, and wait for nobody.
 *
 * Taking and giving back the lock of a read costs more than the look-up, so all look-ups of one turn of the event loop
 * share a transaction. It ends early when this process commits something; what another process commits is seen in the
 * next turn, which is before anyone who was told of it can ask. A row read earlier is used again while nobody has
 * committed anything since.
 */
export class SnapshotReads {
  readonly #connection: SqliteDatabase.Database;
  readonly #begin: SqliteDatabase.Statement;
  readonly #end: SqliteDatabase.Statement;
  readonly #readVersion: SqliteDatabase.Statement<[], number>;
  readonly #onQuery: (durationMs: number) => void;
  /** Changes with every commit of anyone; undefined between two transactions. */
  #version: number | undefined;

  /** @param connection is nobody else's, and closed by `close` */
  constructor(connection: SqliteDatabase.Database, onQuery: (durationMs: number) => void) {
    this.#connection = connection;
    this.#begin = connection.prepare('begin');
    this.#end = connection.prepare('commit');
    this.#readVersion = connection.prepare<[], number>('pragma data_version').pluck();
    this.#onQuery = onQuery;
  }

  /** Prepares a query for one row. */
  readonly prepare: PrepareRead = (sql) => {
    const statement = this.#connection.prepare(sql);
    const rows = new LRUCache<string, ReadRow>({ max: 2000, maxSize: rememberedBytes, sizeCalculation: sizeOfRow });
    return (parameters) => {
      const version = this.#version ?? this.#beginTurn();
      const key = parameters.join('\0');
      const known = rows.get(key);
      if (known?.version === version) return known.row;
      const began = performance.now();
      const row = statement.get(...parameters);
      this.#onQuery(performance.now() - began);
      rows.set(key, { version, row });
      return row;
    };
  };

  /** Lets the next look-up see what this process has just committed. */
  readonly renew = (): void => {
    if (this.#version === undefined) return;
    this.#version = undefined;
    this.#end.run();
  };

  close(): void {
    this.renew();
    this.#connection.close();
  }

  #beginTurn(): number {
    this.#begin.run();
    const version = this.#readVersion.get()!;
    this.#version = version;
    setImmediate(this.renew);
    return version;
  }
}

/** Roughly, in bytes: what is long in a row is the content of a manifest. */
function sizeOfRow({ row }: ReadRow): number {
  const values = typeof row === 'object' && row !== null ? Object.values(row) : [];
  return values.reduce<number>((sum, value) => sum + (Buffer.isBuffer(value) ? value.length : 100), 300);
}
