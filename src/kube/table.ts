import type { ApiObject, ObjectMeta } from '../metadata/object-store.js';
import { coversJson, parseMediaRanges, type MediaRange } from './accept.js';
import { ageOf } from './ages.js';
import { apiVersionOf, type Column, type Resource } from './resource.js';

/** Versions of the group meta.k8s.io; both have the same tables and partial objects. */
export type MetaVersion = 'v1' | 'v1beta1';

/** In which form a client wants what it reads. */
export type Representation =
  /** as it is */
  | { readonly kind: 'object' }
  /** `Table`, `PartialObjectMetadata` or `PartialObjectMetadataList` */
  | { readonly kind: 'table' | 'partial' | 'partial-list'; readonly version: MetaVersion };

/**
 * The form that an Accept header asks for: the best of those there are, of tables and partial objects in version v1
 * where that is listed at all. Only JSON is written.
 *
 * @param accept empty when there was no such header
 * @returns undefined when nothing of it can be answered, which is `NotAcceptable`
 */
export function parseAccept(accept: string): Representation | undefined {
  if (accept.trim() === '') return { kind: 'object' };
  const acceptable = parseMediaRanges(accept).flatMap((range) => representationOf(range) ?? []);
  const best = acceptable[0];
  return acceptable.find((other) => other.kind === best?.kind && 'version' in other && other.version === 'v1') ?? best;
}

const kinds: Readonly<Record<string, 'table' | 'partial' | 'partial-list'>> = {
  Table: 'table',
  PartialObjectMetadata: 'partial',
  PartialObjectMetadataList: 'partial-list',
};

function representationOf(range: MediaRange): Representation | undefined {
  const { parameters } = range;
  if (!coversJson(range) || (parameters.get('stream') ?? 'watch') !== 'watch') return undefined;
  if (!['as', 'g', 'v'].some((name) => parameters.has(name))) return { kind: 'object' };
  const as = parameters.get('as') ?? '';
  const version = parameters.get('v');
  if (!Object.hasOwn(kinds, as) || parameters.get('g') !== 'meta.k8s.io') return undefined;
  return version === 'v1' || version === 'v1beta1' ? { kind: kinds[as]!, version } : undefined;
}

/** metav1.TableColumnDefinition. */
export interface TableColumnDefinition {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

/** metav1.TableRow. */
export interface TableRow {
  readonly cells: readonly (string | number | null)[];
  readonly object?: ApiObject | PartialObjectMetadata;
}

/** metav1.ListMeta. */
export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** metav1.Table. */
export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: string;
  readonly metadata: ListMeta;
  readonly columnDefinitions: readonly TableColumnDefinition[];
  readonly rows: readonly TableRow[];
}

/** metav1.PartialObjectMetadata. */
export interface PartialObjectMetadata {
  readonly kind: 'PartialObjectMetadata';
  readonly apiVersion: string;
  readonly metadata: ObjectMeta;
}

/** metav1.PartialObjectMetadataList. */
export interface PartialObjectMetadataList {
  readonly kind: 'PartialObjectMetadataList';
  readonly apiVersion: string;
  readonly metadata: ListMeta;
  readonly items: readonly PartialObjectMetadata[];
}

/** Objects and where a list of them stands. */
export interface Listed {
  readonly items: readonly ApiObject[];
  readonly resourceVersion: string;
  /** For the next page; undefined on the last. */
  readonly continue?: string | undefined;
  readonly remainingItemCount?: number | undefined;
}

/** What a table is made of. */
export interface TableSource extends Listed {
  readonly resource: Resource;
  /** What of its object goes with each row (metav1.IncludeObjectPolicy). */
  readonly includeObject: 'None' | 'Metadata' | 'Object';
  readonly now: Date;
  /** `v1` when left out. */
  readonly version?: MetaVersion;
  /** False from the second event of a watch on; true when left out. */
  readonly withColumns?: boolean;
}

const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name is unique within a namespace, and given when the object is created.',
  cell: ({ metadata }) => metadata.name,
};

/** How long ago the object was made, for resources to declare. */
export const ageColumn: Column = {
  name: 'Age',
  type: 'string',
  description: 'How long ago the object was created.',
  cell: ({ metadata }, now) => ageOf(metadata.creationTimestamp, now),
};

/** Of resources that declare no columns (apiserver, rest.DefaultTableConvertor). */
const createdAtColumn: Column = {
  name: 'Created At',
  type: 'date',
  description: 'When the object was created, in RFC 3339 form and in UTC.',
  cell: ({ metadata }) => metadata.creationTimestamp,
};

/** The table that `kubectl get` prints: the name, then the columns of the resource, or else the time of creation. */
export function toTable({
  resource,
  items,
  includeObject,
  now,
  version,
  withColumns = true,
  ...list
}: TableSource): Table {
  const columns = [nameColumn, ...(resource.columns ?? [createdAtColumn])];
  return {
    kind: 'Table',
    apiVersion: metaApiVersion(version),
    metadata: listMetaOf(list),
    columnDefinitions: withColumns ? columns.map(definitionOf) : [],
    rows: items.map((object) => ({
      cells: columns.map((column) => column.cell(object, now)),
      ...(includeObject === 'Metadata' && { object: toPartialMetadata(object, version) }),
      ...(includeObject === 'Object' && {
        object: { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object },
      }),
    })),
  };
}

function definitionOf({ name, type, format = '', description, priority = 0 }: Column): TableColumnDefinition {
  return { name, type, format, description, priority };
}

/** Nothing of the object but its metadata, and no hint of its kind. */
export function toPartialMetadata({ metadata }: ApiObject, version?: MetaVersion): PartialObjectMetadata {
  return { kind: 'PartialObjectMetadata', apiVersion: metaApiVersion(version), metadata };
}

/** Nothing of the objects but their metadata, as controllers list what they need not know. */
export function toPartialMetadataList({ items, ...list }: Listed, version?: MetaVersion): PartialObjectMetadataList {
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: metaApiVersion(version),
    metadata: listMetaOf(list),
    items: items.map((object) => toPartialMetadata(object, version)),
  };
}

function listMetaOf(list: Omit<Listed, 'items'>): ListMeta {
  return {
    resourceVersion: list.resourceVersion,
    ...(list.continue !== undefined && { continue: list.continue }),
    ...(list.remainingItemCount !== undefined && { remainingItemCount: list.remainingItemCount }),
  };
}

function metaApiVersion(version: MetaVersion = 'v1'): string {
  return `meta.k8s.io/${version}`;
}
