import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import type { ImagePulls, RepositoryImage, UnpulledPosition } from './image-pulls.js';
import { findRepositoryId, projectRange } from './repository-rows.js';
import type { Database } from './schema.js';
import { withoutSync } from './without-sync.js';

/** Pulls written in one short transaction. */
const recordedAtOnce = 500;

/** ImagePulls in SQL. */
export class KyselyImagePulls implements ImagePulls {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async record(pulls: readonly (RepositoryImage & { readonly at: Date })[]): Promise<void> {
    // In one order, so that two who record at a time do not wait for each other.
    const sorted = pulls.toSorted((a, b) => compare(a.repository, b.repository) || compare(a.image, b.image));
    for (let begin = 0; begin < sorted.length; begin += recordedAtOnce) {
      await this.#record(sorted.slice(begin, begin + recordedAtOnce));
    }
  }

  async #record(pulls: readonly (RepositoryImage & { readonly at: Date })[]): Promise<void> {
    await withoutSync(this.#db, (db) =>
      // Beside others, who may record the same: the later one counts.
      db
        .transaction()
        .setIsolationLevel('read committed')
        .execute(async (tx) => {
          const ids = new Map<RepositoryName, number | undefined>();
          for (const { repository, image, at } of pulls) {
            if (!ids.has(repository)) ids.set(repository, await findRepositoryId(tx, repository));
            const repositoryId = ids.get(repository);
            // It was deleted meanwhile.
            if (repositoryId === undefined) continue;
            const pulledAt = at.getTime();
            await tx
              .insertInto('image_pull')
              .values({ repository_id: repositoryId, image, pulled_at: pulledAt })
              .onConflict((conflict) =>
                conflict
                  .columns(['repository_id', 'image'])
                  .doUpdateSet({ pulled_at: pulledAt })
                  .where('image_pull.pulled_at', '<', pulledAt),
              )
              .execute();
          }
        }),
    );
  }

  async listUnpulled(
    project: string,
    before: Date,
    { after, limit }: { readonly after: UnpulledPosition | undefined; readonly limit: number },
  ): Promise<{ readonly images: readonly RepositoryImage[]; readonly next: UnpulledPosition | undefined }> {
    const repository = await this.#repositoryAt(project, after);
    if (repository === undefined) return { images: [], next: undefined };
    const { id, name } = repository;
    const rows = await this.#imagesAfter(id, after?.repository === name ? after.image : undefined, limit);
    const images = rows
      .filter(({ linkedAt, pulledAt }) => Math.max(linkedAt, pulledAt ?? 0) < before.getTime())
      .map(({ image }) => ({ repository: name, image }));
    return { images, next: { repository: name, image: rows.length < limit ? undefined : rows.at(-1)?.image } };
  }

  /** The repository in which to go on. */
  async #repositoryAt(
    project: string,
    after: UnpulledPosition | undefined,
  ): Promise<{ readonly id: number; readonly name: RepositoryName } | undefined> {
    const [from, to] = projectRange(project);
    const comparison = after?.image === undefined && after !== undefined ? '>' : '>=';
    return this.#db
      .selectFrom('repository')
      .select(['id', 'name'])
      .where('name', comparison, after?.repository ?? from)
      .where('name', '<', to)
      .orderBy('name')
      .limit(1)
      .executeTakeFirst();
  }

  #imagesAfter(repositoryId: number, after: Digest | undefined, limit: number) {
    return this.#db
      .selectFrom('repository_image')
      .leftJoin('image_pull', (join) =>
        join
          .onRef('image_pull.repository_id', '=', 'repository_image.repository_id')
          .onRef('image_pull.image', '=', 'repository_image.image'),
      )
      .select(['repository_image.image', 'repository_image.linked_at as linkedAt', 'image_pull.pulled_at as pulledAt'])
      .where('repository_image.repository_id', '=', repositoryId)
      .$if(after !== undefined, (query) => query.where('repository_image.image', '>', after!))
      .orderBy('repository_image.image')
      .limit(limit)
      .execute();
  }

  async forgetUnlinked(project: string, limit: number): Promise<number> {
    const [from, to] = projectRange(project);
    const { numDeletedRows } = await withoutSync(this.#db, (db) =>
      db
        .deleteFrom('image_pull')
        .where((where) =>
          where(
            where.refTuple('repository_id', 'image'),
            'in',
            where
              .selectFrom('repository')
              .innerJoin('image_pull as pull', 'pull.repository_id', 'repository.id')
              .select(['pull.repository_id', 'pull.image'])
              .where('repository.name', '>=', from)
              .where('repository.name', '<', to)
              .where((pull) =>
                pull.not(
                  pull.exists(
                    pull
                      .selectFrom('repository_image')
                      .select('repository_image.image')
                      .whereRef('repository_image.repository_id', '=', 'pull.repository_id')
                      .whereRef('repository_image.image', '=', 'pull.image'),
                  ),
                ),
              )
              .limit(limit)
              .$asTuple('repository_id', 'image'),
          ),
        )
        .executeTakeFirst(),
    );
    return Number(numDeletedRows);
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
