import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompiledQuery, createQueryId, type RootOperationNode } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AuditQuery, AuditRecords } from '../../src/metadata/audit-records.js';
import { KyselyAuditRecords } from '../../src/metadata/kysely-audit-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { auditRecord, auditRecordsContract } from '../contracts/audit-records.js';
import { fileHandlePrototype } from '../support/file-handles.js';

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => {
  vi.restoreAllMocks();
});

const openEmpty = () => openSqlite(join(folder, `${(files += 1)}.sqlite`));

auditRecordsContract('SQLite', openEmpty);

test('an audit record does not wait for the disk: it gets there with the next commit', async () => {
  const db = await openEmpty();
  const sync = vi.spyOn(await fileHandlePrototype(), 'datasync');
  const records = new KyselyAuditRecords(db);
  await records.append([auditRecord(), auditRecord()]);
  await records.removeBefore(new Date(), 10);
  expect(sync).not.toHaveBeenCalled();
  await db.insertInto('user').values({ name: 'ada', password_hash: 'x', role: 'user', created_at: 0 }).execute();
  expect(sync).toHaveBeenCalledTimes(1);
  await db.destroy();
});

describe('SQLite finds', () => {
  const list = (query: Partial<AuditQuery>) => (records: AuditRecords) => records.list({ limit: 10, ...query });

  test.each<{ readonly name: string; readonly run: (records: AuditRecords) => Promise<unknown> }>([
    { name: 'a page of audit records', run: list({}) },
    { name: 'a later page', run: list({ before: 5 }) },
    { name: 'a page of records of a user', run: list({ filters: { principal: 'ada' } }) },
    { name: 'a page of records of a name', run: list({ filters: { name: 'app' } }) },
    { name: 'a page of records of two traits', run: list({ filters: { outcome: 'denied', verb: 'get' } }) },
    { name: 'a page of records of a time', run: list({ since: new Date(0), until: new Date() }) },
    { name: 'one audit record', run: (records) => records.find(1) },
    { name: 'the newest audit record', run: (records) => records.newestId() },
    { name: 'old audit records', run: (records) => records.removeBefore(new Date(0), 10) },
  ])('$name by an index, and sorts nothing', async ({ run }) => {
    const db = await openEmpty();
    const executed: RootOperationNode[] = [];
    const recorded = db.withPlugin({
      transformQuery: ({ node }) => {
        executed.push(node);
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await new KyselyAuditRecords(db).append(Array.from({ length: 9 }, () => auditRecord()));
    await run(new KyselyAuditRecords(recorded));
    expect(executed.length).toBeGreaterThan(0);
    for (const node of executed) {
      const { sql, parameters } = db.getExecutor().compileQuery(node, createQueryId());
      const explained = CompiledQuery.raw(`explain query plan ${sql}`, [...parameters]);
      const { rows } = await db.executeQuery<{ readonly detail: string }>(explained);
      const steps = rows.map((row) => row.detail);
      expect(steps.length, sql).toBeGreaterThan(0);
      expect(
        steps.filter((step) => step.startsWith('SCAN') || step.includes('TEMP B-TREE')),
        sql,
      ).toEqual([]);
    }
    await db.destroy();
  });
});
