import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ageOf } from '../kube/ages.js';
import { badRequest, notFound } from '../kube/errors.js';
import { timestamp } from '../kube/object-meta.js';
import type { Column, ListQuery, ObjectList, Resource } from '../kube/resource.js';
import type { AuditFilters, AuditRecord, AuditRecords } from '../metadata/audit-records.js';
import type { ApiObject } from '../metadata/object-store.js';
import { auditSpec, auditSpecSchema, type AuditSpec } from './audit-spec.js';

const names = { group: 'weir.dev', plural: 'auditrecords' };

/** A list is never longer: whoever wants more goes on from where it ends. */
const maxPage = 500;
/** How many records one request may look through for those that the rest of its selectors let pass. */
const maxLookedAt = 5_000;

const filtersOfFields = {
  'spec.user': 'principal',
  'spec.verb': 'verb',
  'spec.apiGroup': 'apiGroup',
  'spec.resource': 'resource',
  'spec.namespace': 'namespace',
  'spec.name': 'name',
  'spec.outcome': 'outcome',
} as const satisfies Record<string, keyof AuditFilters>;

/**
 * The audit log as a resource that can be read and not written: `auditrecords.weir.dev`, newest first. A list has at
 * most 500 objects, whatever limit was asked for, and says where the next begins; it may have fewer than the limit and
 * yet go on.
 */
export function auditRecordResource(records: AuditRecords): Resource {
  return {
    ...names,
    version: 'v1',
    kind: 'AuditRecord',
    singular: 'auditrecord',
    shortNames: ['audit'],
    isNamespaced: false,
    verbs: ['get', 'list'],
    description: 'AuditRecord tells of one change or one denied request: who, from where, what, and what came of it.',
    schema: z.object({ spec: auditSpecSchema }),
    columns,
    fieldSelectors: Object.keys(filtersOfFields),
    storage: {
      get: async (_call, name) => {
        const record = await findByName(records, name);
        if (record === undefined) throw notFound(names, name);
        return toObject(record);
      },
      list: (_call, query) => listRecords(records, query),
    },
  };
}

async function listRecords(records: AuditRecords, query: ListQuery): Promise<ObjectList> {
  const resourceVersion = String(await records.newestId());
  if (query.name !== undefined) {
    const record = await findByName(records, query.name);
    return { items: record === undefined ? [] : [toObject(record)].filter(query.matches), resourceVersion };
  }
  const wanted = Math.min(query.limit ?? maxPage, maxPage);
  const items: ApiObject[] = [];
  let lookedAt = 0;
  let before = query.continue === undefined ? undefined : parsePosition(query.continue);
  do {
    const page = await records.list({ filters: filtersOf(query), limit: Math.max(wanted, 100), before });
    for (const [index, record] of page.records.entries()) {
      const object = toObject(record);
      if (query.matches(object)) items.push(object);
      if (items.length === wanted) {
        const isLast = index === page.records.length - 1 && page.next === undefined;
        return { items, resourceVersion, continue: isLast ? undefined : String(record.id) };
      }
    }
    lookedAt += page.records.length;
    before = page.next;
  } while (before !== undefined && lookedAt < maxLookedAt);
  return { items, resourceVersion, continue: before === undefined ? undefined : String(before) };
}

function filtersOf({ fields }: ListQuery): AuditFilters {
  return Object.fromEntries(
    Object.entries(filtersOfFields).flatMap(([field, filter]) => {
      const value = fields[field];
      return value === undefined ? [] : [[filter, value]];
    }),
  );
}

/** Of the last record that was looked at. */
function parsePosition(text: string): number {
  const id = parseId(text);
  if (id === undefined) {
    throw badRequest('continue key is not valid: expected the value of metadata.continue of the page before');
  }
  return id;
}

function parseId(text: string): number | undefined {
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}

async function findByName(records: AuditRecords, name: string): Promise<AuditRecord | undefined> {
  const id = parseId(name);
  return id === undefined ? undefined : records.find(id);
}

function toObject(record: AuditRecord): ApiObject {
  const name = String(record.id);
  return {
    metadata: { name, uid: uidOf(record), resourceVersion: name, creationTimestamp: timestamp(record.at) },
    spec: auditSpec(record),
  };
}

/** A UUID of version 8 (RFC 9562, section 5.8): the same whenever the record is read, and kept nowhere. */
function uidOf({ id, at, requestId }: AuditRecord): string {
  const hex = createHash('sha256').update(`${id} ${at.getTime()} ${requestId}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function specColumn(name: string, field: keyof AuditSpec, priority = 0): Column {
  return {
    name,
    type: field === 'code' ? 'integer' : 'string',
    description: auditSpecSchema.shape[field].description ?? name,
    priority,
    cell: ({ spec }) => (spec as AuditSpec)[field] ?? null,
  };
}

const columns: readonly Column[] = [
  specColumn('User', 'user'),
  specColumn('Verb', 'verb'),
  specColumn('Resource', 'resource'),
  specColumn('Namespace', 'namespace'),
  specColumn('Object', 'name'),
  specColumn('Outcome', 'outcome'),
  specColumn('Code', 'code'),
  {
    name: 'Age',
    type: 'string',
    description: 'How long ago the request was answered.',
    cell: ({ metadata }, now) => ageOf(metadata.creationTimestamp, now),
  },
  specColumn('Address', 'address', 1),
  specColumn('Reason', 'reason', 1),
  specColumn('Path', 'path', 1),
  specColumn('Request ID', 'requestID', 1),
];
