import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { Command } from 'commander';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { dbCommand } from '../../src/cli/db-command.js';
import { UsageError } from '../../src/cli/usage-error.js';
import type { Database, Schema } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { copiedTableNames, copiedTables } from '../../src/moving/database-copy-tables.js';
import { isSqliteInUse } from '../../src/moving/database-copy-users.js';
import { copyDatabase, DatabaseCopyError } from '../../src/moving/database-copy.js';
import { digestOf } from '../../src/oci/digest.js';
import { startRegistry } from '../support/registry.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { fillDatabase } from './filled-database.js';

describe('the list of tables that are copied', () => {
  let db: Database;
  beforeEach(async () => {
    db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
  });
  afterEach(() => db.destroy());

  test('has all that the migrations make', async () => {
    const tables = await db.introspection.getTables();
    expect([...copiedTableNames].sort()).toEqual(tables.map(({ name }) => name).sort());
  });

  test.each(copiedTableNames)(
    'knows the primary key of %s, and has it after those that it refers to',
    async (table) => {
      const { rows: columns } = await sql<{ name: string; pk: number }>`
      select name, pk from pragma_table_info(${table}) where pk > 0 order by pk`.execute(db);
      expect(copiedTables[table].key).toEqual(columns.map(({ name }) => name));
      const { rows: keys } = await sql<{ table: keyof Schema }>`
      select distinct "table" from pragma_foreign_key_list(${table})`.execute(db);
      const before = copiedTableNames.slice(0, copiedTableNames.indexOf(table));
      for (const { table: other } of keys) expect(before).toContain(other);
    },
  );
});

describe('a database is copied', () => {
  let folder: string;
  let source: Database;
  let target: Database;
  beforeEach(async () => {
    folder = await temporaryFolder();
    source = await openSqlite(join(folder, 'source.sqlite'));
    target = await openSqlite(join(folder, 'target.sqlite'));
    await fillDatabase(source);
  });
  afterEach(async () => {
    await source.destroy();
    await target.destroy();
  });

  /** Of each table the number of its rows and a digest of them, read past everything of ours. */
  function contentOf(name: string): Record<string, { readonly rows: number; readonly digest: string }> {
    const raw = new SqliteDatabase(join(folder, `${name}.sqlite`), { readonly: true });
    const tables = copiedTableNames.map((table) => {
      const rows = raw.prepare(`select * from "${table}"`).all();
      const texts = rows.map((row) => JSON.stringify(row)).sort();
      return [table, { rows: rows.length, digest: digestOf(texts.join('\n')) }] as const;
    });
    raw.close();
    return Object.fromEntries(tables);
  }

  test('with every row of every table', async () => {
    const copied = await copyDatabase(source, target);
    const content = contentOf('source');
    expect(contentOf('target')).toEqual(content);
    for (const { table, rows, changedTexts } of copied) {
      expect(rows, table).toBe(content[table]!.rows);
      expect(rows, table).toBeGreaterThan(0);
      expect(changedTexts).toBe(0);
    }
    expect(copied.find(({ table }) => table === 'tag_event')!.rows).toBeGreaterThan(1000);
  });

  test('and tells how far it is, up to the end', async () => {
    const told: { readonly done: number; readonly total: number; readonly step: string }[] = [];
    const copied = await copyDatabase(source, target, { onProgress: (progress) => told.push(progress) });
    const rows = copied.reduce((sum, each) => sum + each.rows, 0);
    expect(told.at(-1)).toMatchObject({ step: 'compare', done: rows * 2, total: rows * 2 });
    expect(told.map(({ done }) => done)).toEqual(told.map(({ done }) => done).sort((a, b) => a - b));
  });

  test('while it can be read, and nobody can write into it', async () => {
    const other = new SqliteDatabase(join(folder, 'source.sqlite'), { timeout: 0 });
    const attempts: unknown[] = [];
    await copyDatabase(source, target, {
      onProgress: () => {
        expect(other.prepare('select count(*) from image').pluck().get()).toBeGreaterThan(0);
        try {
          other.exec('delete from image_pull');
          attempts.push('written');
        } catch (error) {
          attempts.push((error as { readonly code: string }).code);
        }
      },
    });
    expect(new Set(attempts)).toEqual(new Set(['SQLITE_BUSY']));
    other.exec('delete from image_pull');
    other.close();
  });

  test('not into one that has rows, which stay as they are', async () => {
    await sql`insert into user values ('ada', 'hash', 'admin', 1, 'local')`.execute(target);
    const before = contentOf('target');
    await expect(copyDatabase(source, target)).rejects.toThrow(new DatabaseCopyError('it has rows already, in user'));
    expect(contentOf('target')).toEqual(before);
  });

  test('or not at all: what breaks off leaves an empty one, into which it can be copied again', async () => {
    const before = contentOf('target');
    const beforeCommit = () => Promise.reject(new Error('somebody has started the registry'));
    await expect(copyDatabase(source, target, { beforeCommit })).rejects.toThrow('somebody has started the registry');
    expect(contentOf('target')).toEqual(before);
    await copyDatabase(source, target);
    expect(contentOf('target')).toEqual(contentOf('source'));
  });

  test('and a single value that is not the same on the other side is found', async () => {
    const before = contentOf('target');
    await sql`create trigger worse after insert on tag_event when new.sequence = 700
      begin update tag_event set at = at + 1 where repository_id = new.repository_id and tag = new.tag
        and sequence = new.sequence; end`.execute(target);
    await expect(copyDatabase(source, target)).rejects.toThrow(/^table tag_event is not the same on both sides/);
    expect(contentOf('target')).toEqual(before);
    await sql`drop trigger worse`.execute(target);
    await sql`create trigger fewer after insert on audit_record when new.id = 7
      begin delete from audit_record where id = 7; end`.execute(target);
    await expect(copyDatabase(source, target)).rejects.toThrow(/^table audit_record is not the same on both sides/);
    expect(contentOf('target')).toEqual(before);
  });

  test('only when both have the same migrations', async () => {
    await sql`delete from kysely_migration where name = '005-replicas'`.execute(target);
    await expect(copyDatabase(source, target)).rejects.toThrow(/different versions of Weir/);
  });

  test('and who has a file open is noticed', async () => {
    expect(isSqliteInUse(join(folder, 'source.sqlite'))).toBe(true);
    await source.destroy();
    expect(isSqliteInUse(join(folder, 'source.sqlite'))).toBe(false);
    expect(isSqliteInUse(join(folder, 'nothing.sqlite'))).toBe(false);
    source = await openSqlite(join(folder, 'source.sqlite'));
    expect(contentOf('source')['tag_event']!.rows).toBeGreaterThan(1000);
  });
});

describe('weir db move refuses', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  function move(...args: readonly string[]): Promise<unknown> {
    const program = new Command('weir').option('--config <file>').addCommand(dbCommand());
    return program.parseAsync(['db', 'move', ...args], { from: 'user' });
  }

  test('what is no database, the database itself, and one that is empty', async () => {
    vi.stubEnv('WEIR_DATA_DIR', await temporaryFolder());
    await expect(move('--to', 'mysql://here')).rejects.toThrow(UsageError);
    await expect(move('--to', 'sqlite')).rejects.toThrow('this is the database that is to be moved');
    await expect(move('--to', 'postgres://127.0.0.1:1/weir')).rejects.toThrow('there is nothing to move');
  });

  test('while the registry runs', async () => {
    const registry = await startRegistry();
    try {
      vi.stubEnv('WEIR_DATA_DIR', registry.dataDir);
      await expect(move('--to', 'postgres://127.0.0.1:1/weir')).rejects.toThrow(/is in use: stop the registry/);
      expect((await registry.fetch('/v2/')).status).toBe(200);
    } finally {
      await registry.stop();
    }
  });
});
