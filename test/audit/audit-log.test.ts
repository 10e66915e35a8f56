import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AuditLog, type AuditLogOptions } from '../../src/audit/audit-log.js';
import type { AuditRecords } from '../../src/metadata/audit-records.js';
import { KyselyAuditRecords } from '../../src/metadata/kysely-audit-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { auditRecord } from '../contracts/audit-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

describe('the audit log', () => {
  let folder: string;
  let db: Database;
  let records: AuditRecords;
  let logged: Record<string, unknown>[];
  beforeEach(async () => {
    folder = await temporaryFolder();
    db = await openSqlite(join(folder, 'weir.sqlite'));
    records = new KyselyAuditRecords(db);
    logged = [];
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await db.destroy();
  });

  const open = (options: Partial<AuditLogOptions> = {}) =>
    new AuditLog(records, {
      log: pino({}, { write: (line: string) => logged.push(JSON.parse(line) as Record<string, unknown>) }),
      retentionDays: 90,
      ...options,
    });
  const stored = async () => (await records.list({ limit: 1000 })).records.map((record) => record.name).reverse();
  const linesOf = async (path: string) =>
    (await readFile(path, 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const many = (count: number) => Array.from({ length: count }, (_, index) => String(index));

  test('has a record when the promise resolves', async () => {
    const log = open();
    await log.record(auditRecord({ name: 'a' }));
    expect(await stored()).toEqual(['a']);
  });

  test('writes what comes during a write together, in the order in which it came', async () => {
    const append = vi.spyOn(records, 'append');
    const log = open();
    await Promise.all(many(50).map((name) => log.record(auditRecord({ name }))));
    expect(append.mock.calls.map(([batch]) => batch.length)).toEqual([1, 49]);
    expect(await stored()).toEqual(many(50));
  });

  test('lets those wait for whom there is no room, and forgets none of them', async () => {
    const append = vi.spyOn(records, 'append');
    const log = open({ capacity: 3 });
    await Promise.all(many(20).map((name) => log.record(auditRecord({ name }))));
    expect(Math.max(...append.mock.calls.map(([batch]) => batch.length))).toBe(3);
    expect((await stored()).sort()).toEqual(many(20).sort());
  });

  test('logs a record that could not be stored, harms nobody, and goes on', async () => {
    const log = open();
    vi.spyOn(records, 'append').mockRejectedValueOnce(new Error('the disk is full'));
    await log.record(auditRecord({ name: 'lost', requestId: 'r1' }));
    await log.record(auditRecord({ name: 'kept' }));
    expect(await stored()).toEqual(['kept']);
    expect(logged).toEqual([
      expect.objectContaining({
        level: 50,
        msg: 'audit record could not be stored',
        audit: expect.objectContaining({ name: 'lost', requestID: 'r1', user: 'ada' }) as object,
        err: expect.objectContaining({ message: 'the disk is full' }) as object,
      }),
    ]);
  });

  test('removes what is older than the retention, however much it is', async () => {
    const now = new Date('2026-06-01T00:00:00Z');
    const log = open({ retentionDays: 30 });
    const old = auditRecord({ at: new Date('2026-05-01T23:59:59.999Z') });
    await records.append([...many(1100).map(() => old), auditRecord({ name: 'kept', at: new Date('2026-05-02') })]);
    expect(await log.removeOldRecords(now, AbortSignal.abort())).toBe(0);
    expect(await log.removeOldRecords(now)).toBe(1100);
    expect(await log.removeOldRecords(now)).toBe(0);
    expect(await stored()).toEqual(['kept']);
  });

  describe('writes JSON lines', () => {
    test('to a file that is nobody else’s to read', async () => {
      const file = join(folder, 'audit.jsonl');
      const log = open({ file });
      await log.record(auditRecord());
      await log.record(auditRecord({ outcome: 'denied', code: 403, reason: 'Forbidden', impersonator: 'root' }));
      await log.close();
      const common = {
        kind: 'AuditRecord',
        at: '2026-01-01T00:00:00.123Z',
        requestID: 'a-request',
        user: 'ada',
        address: '10.0.0.1',
        userAgent: 'oc/4.20',
        verb: 'delete',
        apiGroup: 'image.openshift.io',
        resource: 'imagestreams',
        namespace: 'team',
        name: 'app',
        method: 'DELETE',
        path: '/apis/image.openshift.io/v1/namespaces/team/imagestreams/app',
      };
      expect(await linesOf(file)).toEqual([
        { ...common, outcome: 'allowed', code: 200 },
        { ...common, outcome: 'denied', code: 403, reason: 'Forbidden', impersonatedBy: 'root' },
      ]);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    });

    test('behind those that are there, and to a new file when that one was renamed', async () => {
      const file = join(folder, 'audit.jsonl');
      await writeFile(file, '{"kind":"Before"}\n');
      const log = open({ file });
      await log.record(auditRecord({ name: 'a' }));
      await log.close();
      await rename(file, `${file}.1`);
      await log.record(auditRecord({ name: 'b' }));
      await log.close();
      expect((await linesOf(`${file}.1`)).map((line) => line['name'] ?? line['kind'])).toEqual(['Before', 'a']);
      expect((await linesOf(file)).map((line) => line['name'])).toEqual(['b']);
    });

    test('one for each record, whatever is in it', async () => {
      const file = join(folder, 'audit.jsonl');
      const log = open({ file });
      await Promise.all(['a\nb', '"}', '\u2028'].map((userAgent) => log.record(auditRecord({ userAgent }))));
      await log.close();
      expect((await linesOf(file)).map((line) => line['userAgent'])).toEqual(['a\nb', '"}', '\u2028']);
    });

    test('to standard output', async () => {
      const written: string[] = [];
      vi.spyOn(process.stdout, 'write').mockImplementation((text, done) => {
        written.push(String(text));
        if (typeof done === 'function') (done as (error: null) => void)(null);
        return true;
      });
      const log = open({ file: '-' });
      await log.record(auditRecord());
      await log.close();
      vi.restoreAllMocks();
      expect(written).toEqual([expect.stringMatching(/^\{"kind":"AuditRecord",.*\}\n$/)]);
    });

    test('also of what the database did not take', async () => {
      const file = join(folder, 'audit.jsonl');
      const log = open({ file });
      vi.spyOn(records, 'append').mockRejectedValueOnce(new Error('the disk is full'));
      await log.record(auditRecord({ name: 'a' }));
      await log.close();
      expect((await linesOf(file)).map((line) => line['name'])).toEqual(['a']);
    });

    test('when it can; when not, it says so once, and again when it could in between', async () => {
      const file = join(folder, 'later', 'audit.jsonl');
      const log = open({ file });
      const record = async (name: string) => {
        await log.record(auditRecord({ name }));
        await log.close();
      };
      await record('a');
      await record('b');
      expect(logged).toEqual([
        expect.objectContaining({ level: 50, msg: 'audit lines could not be written', file }) as object,
      ]);
      // In place of the folder that is missing.
      await rename(await temporaryFolder(), join(folder, 'later'));
      await record('c');
      expect((await linesOf(file)).map((line) => line['name'])).toEqual(['c']);
      await rename(join(folder, 'later'), join(folder, 'gone'));
      await record('d');
      expect(logged).toHaveLength(2);
      expect(await stored()).toEqual(['a', 'b', 'c', 'd']);
    });
  });
});
