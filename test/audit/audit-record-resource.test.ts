import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { auditRecordResource } from '../../src/audit/audit-record-resource.js';
import { auditSpecSchema } from '../../src/audit/audit-spec.js';
import { anonymous } from '../../src/auth/principal.js';
import type { Call, ListQuery, ObjectList } from '../../src/kube/resource.js';
import type { AuditRecords } from '../../src/metadata/audit-records.js';
import { KyselyAuditRecords } from '../../src/metadata/kysely-audit-records.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { auditRecord } from '../contracts/audit-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const call: Call = {
  principal: anonymous,
  namespace: '',
  now: new Date('2026-01-01T01:00:00Z'),
  origin: 'https://weir.example',
  may: () => Promise.resolve(true),
  warn: () => undefined,
  query: () => undefined,
  header: () => '',
};
const everything: ListQuery = {
  limit: undefined,
  continue: undefined,
  matches: () => true,
  name: undefined,
  fields: {},
};

describe('auditrecords', () => {
  let db: Database;
  let records: AuditRecords;
  beforeEach(async () => {
    db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    records = new KyselyAuditRecords(db);
  });
  afterEach(() => db.destroy());

  const appendNamed = (...list: readonly string[]) => records.append(list.map((name) => auditRecord({ name })));
  const list = async (query: Partial<ListQuery> = {}) =>
    (await auditRecordResource(records).storage.list!(call, { ...everything, ...query })) as ObjectList;
  const namesIn = ({ items }: ObjectList) => items.map(nameIn);
  const nameIn = ({ spec }: ApiObject) => auditSpecSchema.parse(spec).name;
  const get = (name: string) => auditRecordResource(records).storage.get!(call, name);

  test('can be read, by name and in lists, and not be written', () => {
    const { storage, verbs } = auditRecordResource(records);
    expect([...verbs].sort()).toEqual(Object.keys(storage).sort());
    expect(verbs).toEqual(['get', 'list']);
  });

  test('are objects with a stable identity', async () => {
    await records.append([auditRecord({ impersonator: 'eve' }), auditRecord()]);
    const [second, first] = (await list()).items;
    expect(first).toEqual({
      metadata: {
        name: '1',
        uid: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/) as string,
        resourceVersion: '1',
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
      spec: {
        at: '2026-01-01T00:00:00.123Z',
        requestID: 'a-request',
        user: 'ada',
        impersonatedBy: 'eve',
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
      },
    });
    expect(await get('1')).toEqual(first);
    expect(second!.metadata.uid).not.toBe(first!.metadata.uid);
    expect(auditRecordResource(records).schema.parse(first)).toBeDefined();
  });

  test.each(['2', '0', '01', '-1', '1.5', 'app', '99999999999999999999'])('have none of name %s', async (name) => {
    await appendNamed('a');
    await expect(get(name)).rejects.toMatchObject({
      reason: 'NotFound',
      message: `auditrecords.weir.dev "${name}" not found`,
    });
    expect((await list({ name })).items).toEqual([]);
  });

  test('are listed newest first, with the newest as version', async () => {
    expect(await list()).toEqual({ items: [], resourceVersion: '0' });
    await appendNamed('a', 'b', 'c');
    const page = await list();
    expect(namesIn(page)).toEqual(['c', 'b', 'a']);
    expect(page.resourceVersion).toBe('3');
    expect(page.continue).toBeUndefined();
  });

  test.each([1, 2, 3, 4])('are listed in pages of %i', async (limit) => {
    await appendNamed('a', 'b', 'c', 'd');
    const pages: ObjectList[] = [];
    do pages.push(await list({ limit, continue: pages.at(-1)?.continue }));
    while (pages.at(-1)!.continue !== undefined);
    expect(pages.flatMap(namesIn)).toEqual(['d', 'c', 'b', 'a']);
    expect(pages).toHaveLength(Math.ceil(4 / limit));
  });

  test.each([undefined, 500, 100_000])('are never listed all at once, with limit %s', async (limit) => {
    await appendNamed(...Array.from({ length: 501 }, (_, index) => String(index)));
    const page = await list({ limit });
    expect(page.items).toHaveLength(500);
    expect(namesIn(await list({ continue: page.continue }))).toEqual(['0']);
  });

  test('are not listed from where no page ended', async () => {
    for (const wrong of ['x', '0', '1e3', '']) {
      await expect(list({ continue: wrong })).rejects.toMatchObject({ reason: 'BadRequest' });
    }
  });

  test.each([
    { field: 'spec.user', value: 'eve' },
    { field: 'spec.verb', value: 'create' },
    { field: 'spec.apiGroup', value: '' },
    { field: 'spec.resource', value: 'secrets' },
    { field: 'spec.namespace', value: 'other' },
    { field: 'spec.name', value: 'wanted' },
    { field: 'spec.outcome', value: 'denied' },
  ])('are selected by $field', async ({ field, value }) => {
    const wanted = {
      principal: 'eve',
      verb: 'create',
      apiGroup: '',
      resource: 'secrets',
      namespace: 'other',
      name: 'wanted',
      outcome: 'denied',
    } as const;
    await records.append([auditRecord(), auditRecord(wanted), auditRecord()]);
    expect(namesIn(await list({ fields: { [field]: value } }))).toEqual(['wanted']);
    expect((await list({ fields: { [field]: 'nothing of that' } })).items).toEqual([]);
    expect(auditRecordResource(records).fieldSelectors).toContain(field);
  });

  test('are held against the rest of the selectors, and paged where the selected ones end', async () => {
    await appendNamed(...Array.from({ length: 150 }, (_, index) => String(index)));
    const matches = (object: ApiObject) => Number(nameIn(object)) % 60 === 0;
    const first = await list({ matches, limit: 2 });
    expect(namesIn(first)).toEqual(['120', '60']);
    const second = await list({ matches, limit: 2, continue: first.continue });
    expect(namesIn(second)).toEqual(['0']);
    expect(second.continue).toBeUndefined();
    expect(namesIn(await list({ name: '61', matches }))).toEqual(['60']);
    expect(namesIn(await list({ name: '62', matches }))).toEqual([]);
  });

  test('are looked through for a while only: a page without any says where to go on', async () => {
    await appendNamed('last', ...Array.from({ length: 5_100 }, (_, index) => String(index)));
    const matches = ({ metadata }: ApiObject) => metadata.name === '1';
    const first = await list({ matches });
    expect(first.items).toEqual([]);
    expect(namesIn(await list({ matches, continue: first.continue }))).toEqual(['last']);
  });

  test('are printed in columns', async () => {
    await records.append([auditRecord({ outcome: 'denied', code: 403 })]);
    const [object] = (await list()).items;
    const shown = auditRecordResource(records).columns!.filter((column) => (column.priority ?? 0) === 0);
    expect(shown.map((column) => [column.name, column.cell(object!, call.now)])).toEqual([
      ['User', 'ada'],
      ['Verb', 'delete'],
      ['Resource', 'imagestreams'],
      ['Namespace', 'team'],
      ['Object', 'app'],
      ['Outcome', 'denied'],
      ['Code', 403],
      ['Age', '60m'],
    ]);
  });
});
