import type { Generated, Kysely } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { ManifestMediaType } from '../oci/media-types.js';
import type { Tag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { TagEventCause } from './tag-history.js';

/**
 * The tables. Times are milliseconds since 1970, flags are 0 or 1: both are what every database driver can bind.
 * What each table means is said where the first migration makes it.
 */
export interface Schema {
  repository: RepositoryTable;
  image: ImageTable;
  image_reference: ImageReferenceTable;
  image_summary: ImageSummaryTable;
  image_signature: ImageSignatureTable;
  repository_image: RepositoryImageTable;
  tag: TagTable;
  tag_event: TagEventTable;
  tag_import: TagImportTable;
  upstream_budget: UpstreamBudgetTable;
  image_pull: ImagePullTable;
  blob: BlobTable;
  repository_blob: RepositoryBlobTable;
  discarded_location: DiscardedLocationTable;
  upload: UploadTable;
  user: UserTable;
  refresh_token: RefreshTokenTable;
  key: KeyTable;
  sequence: SequenceTable;
  object: ObjectTable;
  object_lookup: ObjectLookupTable;
  change: ChangeTable;
  audit_record: AuditRecordTable;
}

export type Database = Kysely<Schema>;

export interface RepositoryTable {
  id: Generated<number>;
  name: RepositoryName;
  created_at: number;
  version: Generated<number>;
  generation: Generated<number>;
  /** JSON object of what of its ObjectMeta the owner says. */
  metadata: Generated<string>;
  /** JSON object: the spec of the image stream, without its tags. */
  spec: Generated<string>;
  tag_count: Generated<number>;
}

export interface ImageTable {
  digest: Digest;
  media_type: ManifestMediaType;
  size: number;
  bytes: Buffer;
  artifact_type: string | null;
  /** JSON object of strings. */
  annotations: string | null;
  subject: Digest | null;
  created_at: number;
  version: Generated<number>;
  /** JSON object of what of its ObjectMeta somebody said. */
  metadata: Generated<string>;
}

export interface ImageSummaryTable {
  image: Digest;
  size: number;
  /** JSON list of texts. */
  platforms: string;
  version: string | null;
  config: string | null;
}

export interface ImageSignatureTable {
  image: Digest;
  name: string;
  /** JSON object. */
  body: string;
  created_at: number;
}

export interface ImageReferenceTable {
  image: Digest;
  position: number;
  role: 'config' | 'layer' | 'manifest';
  target: Digest;
  required: 0 | 1;
}

export interface RepositoryImageTable {
  repository_id: number;
  image: Digest;
  subject: Digest | null;
  /** 1 when policy let it in before something it refers to. */
  sparse: 0 | 1;
  linked_at: number;
}

export interface TagTable {
  repository_id: number;
  name: Tag;
  /** JSON object: what the tag is wanted to be, without name and generation. */
  spec: string | null;
  spec_generation: number | null;
  follows: Tag | null;
  scheduled: 0 | 1;
  image: Digest | null;
  sequence: number;
  first_sequence: number;
  /** JSON list that is not empty. */
  conditions: string | null;
  changed_at: number;
  size: number;
  sort_name: string;
}

export interface TagEventTable {
  repository_id: number;
  tag: Tag;
  sequence: number;
  image: Digest | null;
  cause: TagEventCause;
  principal: string;
  at: number;
  generation: number;
  /** When what the event tells of came to be: for a copied event, that of the one it was copied from. */
  created_at: number;
  location: RepositoryName | null;
  reference: string | null;
  principal_kind: 'anonymous' | 'user' | 'service-account' | 'system';
  reason: string | null;
  source: string | null;
  returned_to: number | null;
  /** Of the commit; 0 for events from before there were versions. */
  version: number;
  project: string;
  shown: Generated<0 | 1>;
}

export interface TagImportTable {
  repository_id: number;
  /** Empty for the stream as a whole. */
  tag: string;
  source: string;
  due_at: number | null;
  /** Names who looks at it until `lease_until`. */
  lease: string | null;
  lease_until: number | null;
  checked_at: number | null;
  moved_at: number | null;
  digest: Digest | null;
  error: string | null;
  failures: Generated<number>;
}

export interface UpstreamBudgetTable {
  registry: string;
  used: number;
  window_start: number;
  blocked_until: number | null;
  told_limit: number | null;
  told_remaining: number | null;
  last_used_at: number;
  last_error: string | null;
}

export interface ImagePullTable {
  repository_id: number;
  image: Digest;
  pulled_at: number;
}

export interface BlobTable {
  digest: Digest;
  size: number;
  location: string;
  created_at: number;
}

export interface RepositoryBlobTable {
  repository_id: number;
  digest: Digest;
  linked_at: number;
  collect_at: number | null;
}

export interface DiscardedLocationTable {
  location: string;
  discarded_at: number;
}

export interface UploadTable {
  id: string;
  repository: RepositoryName;
  principal: string;
  algorithm: 'sha256' | 'sha512';
  size: number;
  digest_so_far: Digest;
  started_at: number;
  /** 0 for a session that has ended and whose bytes are still to go. */
  updated_at: number;
  store_state: string | null;
  hash_state: string | null;
  holder: string | null;
  held_until: number | null;
}

export interface KeyTable {
  /** What it is for. */
  purpose: string;
  id: string;
  /** Encrypted; what it is depends on the purpose. */
  sealed: string;
  created_at: number;
}

export interface UserTable {
  name: string;
  password_hash: string;
  role: 'admin' | 'user';
  created_at: number;
  /** Where the user comes from: made here, or in an htpasswd file. */
  source: Generated<'local' | 'file'>;
}

export interface RefreshTokenTable {
  hash: string;
  user: string;
  client: string;
  expires_at: number;
}

export interface SequenceTable {
  name: 'resource_version' | 'pruned_through';
  value: number;
}

export interface ObjectTable {
  resource: string;
  /** Empty for what is in no namespace. */
  namespace: string;
  name: string;
  uid: string;
  version: number;
  expires_at: number | null;
  /** JSON object, without apiVersion, kind and resourceVersion. */
  body: string;
}

export interface ObjectLookupTable {
  resource: string;
  value: string;
  namespace: string;
  name: string;
}

export interface ChangeTable {
  version: number;
  resource: string;
  namespace: string;
  name: string;
  kind: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** After the change; the last state of what was deleted. */
  body: string;
  /** Before the change; null for what was added. */
  previous: string | null;
  at: number;
}

export interface AuditRecordTable {
  id: Generated<number>;
  at: number;
  request_id: string;
  principal: string;
  impersonator: string | null;
  address: string;
  user_agent: string;
  verb: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
  method: string;
  path: string;
  outcome: 'allowed' | 'denied' | 'failed';
  code: number;
  reason: string | null;
}
