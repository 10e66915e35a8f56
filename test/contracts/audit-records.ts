import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AuditFilters, AuditQuery, AuditRecords, NewAuditRecord } from '../../src/metadata/audit-records.js';
import { KyselyAuditRecords } from '../../src/metadata/kysely-audit-records.js';
import type { Database } from '../../src/metadata/schema.js';

/** A record of a deletion in project team, with what matters to a test laid over it. */
export function auditRecord(differences: Partial<NewAuditRecord> = {}): NewAuditRecord {
  return {
    at: new Date('2026-01-01T00:00:00.123Z'),
    requestId: 'a-request',
    principal: 'ada',
    address: '10.0.0.1',
    userAgent: 'oc/4.20',
    verb: 'delete',
    apiGroup: 'image.openshift.io',
    resource: 'imagestreams',
    namespace: 'team',
    name: 'app',
    method: 'DELETE',
    path: '/apis/image.openshift.io/v1/namespaces/team/imagestreams/app',
    outcome: 'allowed',
    code: 200,
    ...differences,
  };
}

/**
 * Everything that any AuditRecords must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function auditRecordsContract(name: string, openDatabase: () => Promise<Database>): void {
  describe.each([
    { kind: 'looked through at once', window: undefined },
    { kind: 'looked through two at a time', window: 2 },
  ])(`${name} has audit records, $kind, that`, ({ window }) => {
    let db: Database;
    let records: AuditRecords;
    beforeEach(async () => {
      db = await openDatabase();
      records = new KyselyAuditRecords(db, window);
    });
    afterEach(() => db.destroy());

    const names = async (query: Partial<AuditQuery>) =>
      (await records.list({ limit: 100, ...query })).records.map((record) => record.name);
    const appendNamed = (...list: readonly string[]) => records.append(list.map((name) => auditRecord({ name })));
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));

    test('are read as they were appended', async () => {
      const plain = auditRecord();
      const full = auditRecord({ impersonator: 'eve', outcome: 'denied', code: 403, reason: 'Forbidden' });
      await records.append([plain, full]);
      const { records: found, next } = await records.list({ limit: 10 });
      expect(found).toEqual([
        { ...full, id: found[0]!.id },
        { ...plain, id: found[1]!.id },
      ]);
      expect(next).toBeUndefined();
      expect(await records.find(found[0]!.id)).toEqual(found[0]);
    });

    test('are none at first', async () => {
      await records.append([]);
      expect(await records.list({ limit: 10 })).toEqual({ records: [], next: undefined });
      expect(await records.newestId()).toBe(0);
      expect(await records.find(1)).toBeUndefined();
    });

    test('are listed newest first, the last of an append being its newest', async () => {
      await appendNamed('a', 'b');
      await appendNamed('c');
      expect(await names({})).toEqual(['c', 'b', 'a']);
      const newest = (await records.list({ limit: 1 })).records[0]!;
      expect(await records.newestId()).toBe(newest.id);
    });

    test.each([1, 2, 3, 4, 5, 6, 7])('are listed in pages of %i, each once', async (limit) => {
      await appendNamed('a', 'b', 'c', 'd', 'e', 'f');
      const pages: string[][] = [];
      let before: number | undefined;
      do {
        const page = await records.list({ limit, before });
        pages.push(page.records.map((record) => record.name));
        before = page.next;
      } while (before !== undefined);
      expect(pages.flat()).toEqual(['f', 'e', 'd', 'c', 'b', 'a']);
      expect(pages).toHaveLength(Math.ceil(6 / limit));
    });

    test('are paged past those that come in the meantime', async () => {
      await appendNamed('a', 'b', 'c', 'd');
      const { next } = await records.list({ limit: 2 });
      await appendNamed('e', 'f');
      expect(await names({ before: next })).toEqual(['b', 'a']);
    });

    test.each<{ readonly filters: AuditFilters; readonly expected: readonly string[] }>([
      { filters: {}, expected: ['4', '3', '2', '1', '0'] },
      { filters: { principal: 'eve' }, expected: ['1'] },
      { filters: { principal: 'ev' }, expected: [] },
      { filters: { principal: 'Eve' }, expected: [] },
      { filters: { verb: 'create' }, expected: ['2'] },
      { filters: { resource: 'secrets' }, expected: ['4', '3'] },
      { filters: { namespace: '' }, expected: ['4'] },
      { filters: { outcome: 'denied' }, expected: ['3', '1'] },
      { filters: { outcome: 'nothing of that' }, expected: [] },
      { filters: { apiGroup: '' }, expected: ['3'] },
      { filters: { name: '2' }, expected: ['2'] },
      { filters: { outcome: 'denied', resource: 'secrets' }, expected: ['3'] },
    ])('are filtered by $filters', async ({ filters, expected }) => {
      const differences: readonly Partial<NewAuditRecord>[] = [
        {},
        { principal: 'eve', outcome: 'denied' },
        { verb: 'create' },
        { resource: 'secrets', apiGroup: '', outcome: 'denied' },
        { resource: 'secrets', namespace: '' },
      ];
      await records.append(differences.map((difference, index) => auditRecord({ name: String(index), ...difference })));
      expect(await names({ filters })).toEqual(expected);
    });

    test('are paged when they are filtered', async () => {
      const principals = ['ada', 'eve', 'eve', 'ada', 'eve', 'ada', 'ada', 'eve'];
      await records.append(principals.map((principal, index) => auditRecord({ principal, name: String(index) })));
      const first = await records.list({ filters: { principal: 'eve' }, limit: 3 });
      expect(first.records.map((record) => record.name)).toEqual(['7', '4', '2']);
      const second = await records.list({ filters: { principal: 'eve' }, limit: 3, before: first.next });
      expect(second.records.map((record) => record.name)).toEqual(['1']);
      expect(second.next).toBeUndefined();
    });

    test.each([
      { since: 1, until: undefined, expected: ['2', '1'] },
      { since: undefined, until: 1, expected: ['0'] },
      { since: 1, until: 2, expected: ['1'] },
      { since: 3, until: undefined, expected: [] },
    ])('are listed from $since, inclusive, until $until, exclusive', async ({ since, until, expected }) => {
      await records.append([0, 1, 2].map((second) => auditRecord({ name: String(second), at: at(second) })));
      expect(
        await names({
          ...(since !== undefined && { since: at(since) }),
          ...(until !== undefined && { until: at(until) }),
        }),
      ).toEqual(expected);
    });

    test('are all there, in order, when many are appended at once', async () => {
      const many = Array.from({ length: 234 }, (_, index) => String(index));
      await appendNamed(...many);
      expect(await names({ limit: 300 })).toEqual(many.reverse());
    });

    test('are appended all or none', async () => {
      const wrong = auditRecord({ path: null as never });
      await expect(records.append([...Array.from({ length: 10 }, () => auditRecord()), wrong])).rejects.toThrow();
      expect(await names({})).toEqual([]);
    });

    test('are removed by age, oldest first, no more than asked for', async () => {
      // The clock went back in between.
      await records.append([3, 1, 2, 5, 4].map((second) => auditRecord({ name: String(second), at: at(second) })));
      expect(await records.removeBefore(at(1), 10)).toBe(0);
      expect(await records.removeBefore(at(4), 2)).toBe(2);
      expect(await names({})).toEqual(['4', '5', '3']);
      expect(await records.removeBefore(at(4), 2)).toBe(1);
      expect(await names({})).toEqual(['4', '5']);
      expect(await records.removeBefore(at(6), 10)).toBe(2);
      expect(await names({})).toEqual([]);
    });
  });
}
