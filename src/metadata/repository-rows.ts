import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../oci/digest.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import type { Schema } from './schema.js';

export async function findRepositoryId(db: Kysely<Schema>, name: RepositoryName): Promise<number | undefined> {
  const row = await db.selectFrom('repository').select('id').where('name', '=', name).executeTakeFirst();
  return row?.id;
}

/** The id of the repository; it and its project are made when they are new. */
export async function ensureRepository(tx: Transaction<Schema>, name: RepositoryName, at: number): Promise<number> {
  const existing = await findRepositoryId(tx, name);
  if (existing !== undefined) return existing;
  const project = projectOf(name);
  await tx
    .insertInto('project')
    .values({ name: project, created_at: at })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute();
  const { id } = await tx
    .insertInto('repository')
    .values({ name, project, created_at: at })
    .returning('id')
    .executeTakeFirstOrThrow();
  return id;
}

/** Deletes the row of an image that no repository links any more. */
export async function dropImageIfUnlinked(tx: Transaction<Schema>, digest: Digest): Promise<void> {
  await tx
    .deleteFrom('image')
    .where('digest', '=', digest)
    .where((query) =>
      query.not(query.exists(query.selectFrom('repository_image').select('image').where('image', '=', digest))),
    )
    .execute();
}
