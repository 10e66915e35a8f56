import type { Transaction } from 'kysely';
import type { RepositoryName } from '../oci/repository-name.js';
import { dropImageIfUnlinked, unlinkBlob } from './repository-rows.js';
import type { Schema } from './schema.js';
import { leftoverPrefix } from './stream-rows.js';

/** What comes after every name of a leftover. */
const afterLeftovers = String.fromCharCode(leftoverPrefix.charCodeAt(0) + 1);

/**
 * Removes rows of repositories that nobody sees any more, and in the end the repositories.
 *
 * @returns how many rows were removed, at most `limit`; 0 when there are none
 */
export async function removeLeftovers(tx: Transaction<Schema>, limit: number, at: Date): Promise<number> {
  let removed = 0;
  while (removed < limit) {
    const repository = await tx
      .selectFrom('repository')
      .select('id')
      .where('name', '>=', leftoverPrefix as RepositoryName)
      .where('name', '<', afterLeftovers as RepositoryName)
      .orderBy('name')
      .limit(1)
      .executeTakeFirst();
    if (repository === undefined) break;
    removed += await removeFromRepository(tx, repository.id, limit - removed, at.getTime());
    if (removed === limit) break;
    await tx.deleteFrom('repository').where('id', '=', repository.id).execute();
    removed += 1;
  }
  return removed;
}

/** @returns how many rows were removed; less than the limit when the repository holds nothing any more */
async function removeFromRepository(
  tx: Transaction<Schema>,
  repositoryId: number,
  limit: number,
  at: number,
): Promise<number> {
  // A tag refers to the link of its image, so tags go first.
  const tags = await tx
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', repositoryId)
    .orderBy('name')
    .limit(limit)
    .execute();
  for (const { name } of tags) {
    await tx.deleteFrom('tag').where('repository_id', '=', repositoryId).where('name', '=', name).execute();
  }
  let removed = tags.length;
  const events = await tx
    .selectFrom('tag_event')
    .select(['tag', 'sequence'])
    .where('repository_id', '=', repositoryId)
    .orderBy('tag')
    .orderBy('sequence')
    .limit(limit - removed)
    .execute();
  for (const { tag, sequence } of events) {
    await tx
      .deleteFrom('tag_event')
      .where('repository_id', '=', repositoryId)
      .where('tag', '=', tag)
      .where('sequence', '=', sequence)
      .execute();
  }
  removed += events.length;
  const images = await tx
    .selectFrom('repository_image')
    .select('image')
    .where('repository_id', '=', repositoryId)
    .orderBy('image')
    .limit(limit - removed)
    .execute();
  for (const { image } of images) {
    await tx
      .deleteFrom('repository_image')
      .where('repository_id', '=', repositoryId)
      .where('image', '=', image)
      .execute();
    await dropImageIfUnlinked(tx, image, new Date(at));
  }
  removed += images.length;
  const blobs = await tx
    .selectFrom('repository_blob')
    .select('digest')
    .where('repository_id', '=', repositoryId)
    .orderBy('digest')
    .limit(limit - removed)
    .execute();
  for (const { digest } of blobs) await unlinkBlob(tx, repositoryId, digest, at);
  return removed + blobs.length;
}
