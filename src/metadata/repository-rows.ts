import { sql, type Kysely, type Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { nextVersion } from './change-log.js';
import { appendImageChange } from './image-rows.js';
import { namespacesResource, type ApiObject } from './object-store.js';
import type { Schema } from './schema.js';
import type { OwnMetadata } from './stream-store.js';

/** Something is to be put into a project that is not there, or is going away. */
export class ProjectUnavailableError extends Error {
  override readonly name = 'ProjectUnavailableError';
  readonly project: string;
  readonly state: 'absent' | 'terminating';
  constructor(project: string, state: 'absent' | 'terminating') {
    super(`project ${project} is ${state}`);
    this.project = project;
    this.state = state;
  }
}

/** The names of the repositories of a project: from the first, inclusive, to the second, exclusive. */
export function projectRange(project: string): readonly [RepositoryName, RepositoryName] {
  // "0" comes next after "/".
  return [`${project}/` as RepositoryName, `${project}0` as RepositoryName];
}

/** Whether things can be put into a namespace. */
export async function stateOfNamespace(db: Kysely<Schema>, name: string): Promise<'active' | 'terminating' | 'absent'> {
  const row = await db
    .selectFrom('object')
    .select('body')
    .where('resource', '=', namespacesResource)
    .where('namespace', '=', '')
    .where('name', '=', name)
    .executeTakeFirst();
  if (row === undefined) return 'absent';
  const { metadata } = JSON.parse(row.body) as ApiObject;
  return metadata.deletionTimestamp === undefined ? 'active' : 'terminating';
}

/** The id of a repository within a query: unlike a join it lets PostgreSQL read a page in the order of an index. */
export function idOf(name: RepositoryName) {
  return sql<number>`(select id from repository where name = ${name})`;
}

export async function findRepositoryId(db: Kysely<Schema>, name: RepositoryName): Promise<number | undefined> {
  const row = await db.selectFrom('repository').select('id').where('name', '=', name).executeTakeFirst();
  return row?.id;
}

/** Deletes the row of an image that no repository links any more. */
export async function dropImageIfUnlinked(tx: Transaction<Schema>, digest: Digest, at: Date): Promise<void> {
  const dropped = await tx
    .deleteFrom('image')
    .where('digest', '=', digest)
    .where((query) =>
      query.not(query.exists(query.selectFrom('repository_image').select('image').where('image', '=', digest))),
    )
    .returning(['created_at', 'metadata'])
    .executeTakeFirst();
  if (dropped === undefined) return;
  const metadata = JSON.parse(dropped.metadata) as OwnMetadata;
  const version = await nextVersion(tx);
  const createdAt = new Date(dropped.created_at);
  await appendImageChange(tx, { kind: 'DELETED', digest, createdAt, metadata, previous: metadata, version, at });
}

/**
 * Removes the link of a blob, and the record with its bytes when it was the last one.
 *
 * @returns false when the repository does not link the blob
 */
export async function unlinkBlob(
  tx: Transaction<Schema>,
  repositoryId: number,
  digest: Digest,
  at: number,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('repository_blob')
    .where('repository_id', '=', repositoryId)
    .where('digest', '=', digest)
    .executeTakeFirst();
  if (numDeletedRows === 0n) return false;
  const other = await tx.selectFrom('repository_blob').select('digest').where('digest', '=', digest).executeTakeFirst();
  if (other !== undefined) return true;
  const { location } = await tx
    .deleteFrom('blob')
    .where('digest', '=', digest)
    .returning('location')
    .executeTakeFirstOrThrow();
  await tx.insertInto('discarded_location').values({ location, discarded_at: at }).execute();
  return true;
}
