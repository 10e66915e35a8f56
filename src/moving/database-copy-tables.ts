import type { Schema } from '../metadata/schema.js';

/** How a table is copied. */
export interface CopiedTable {
  /** Columns by which it is read in pages: those of its primary key, in their order. */
  readonly key: readonly string[];
  /** Rows read at once; a page is in memory. */
  readonly pageSize: number;
  /** A column that the database counts up by itself. */
  readonly counted?: string;
}

const pageSize = 500;
/** Of rows that may have megabytes. */
const largeRows = 10;
/** Of rows that may have a megabyte, and hardly ever do. */
const mixedRows = 50;

type CopiedTables = {
  readonly [Table in keyof Schema]: CopiedTable & { readonly key: readonly (keyof Schema[Table])[] };
};

/** Every table, each after those that its foreign keys refer to. */
export const copiedTables = {
  sequence: { key: ['name'], pageSize },
  key: { key: ['purpose', 'id'], pageSize },
  user: { key: ['name'], pageSize },
  refresh_token: { key: ['hash'], pageSize },
  object: { key: ['resource', 'namespace', 'name'], pageSize: mixedRows },
  object_lookup: { key: ['resource', 'value', 'namespace', 'name'], pageSize },
  change: { key: ['version'], pageSize: mixedRows },
  repository: { key: ['id'], pageSize: mixedRows, counted: 'id' },
  image: { key: ['digest'], pageSize: largeRows },
  image_reference: { key: ['image', 'position'], pageSize },
  image_summary: { key: ['image'], pageSize: largeRows },
  image_signature: { key: ['image', 'name'], pageSize: mixedRows },
  repository_image: { key: ['repository_id', 'image'], pageSize },
  tag: { key: ['repository_id', 'name'], pageSize },
  tag_event: { key: ['repository_id', 'tag', 'sequence'], pageSize },
  tag_import: { key: ['repository_id', 'tag'], pageSize },
  upstream_budget: { key: ['registry'], pageSize },
  image_pull: { key: ['repository_id', 'image'], pageSize },
  blob: { key: ['digest'], pageSize },
  repository_blob: { key: ['repository_id', 'digest'], pageSize },
  discarded_location: { key: ['location'], pageSize },
  upload: { key: ['id'], pageSize: mixedRows },
  audit_record: { key: ['id'], pageSize, counted: 'id' },
} as const satisfies CopiedTables;

/** Names of `copiedTables`, in their order. */
export const copiedTableNames = Object.keys(copiedTables) as readonly (keyof Schema)[];
