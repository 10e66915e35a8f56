import { randomUUID } from 'node:crypto';
import { sql, type ExpressionBuilder, type Kysely, type Selectable, type Transaction, type Updateable } from 'kysely';
import type { RepositoryName } from '../oci/repository-name.js';
import { inBatches } from './batches.js';
import {
  registryOfSource,
  type DueImport,
  type DueSource,
  type HeldSource,
  type ImportClaim,
  type ImportCounts,
  type ImportRecords,
  type SettledImport,
} from './import-records.js';
import { outcomeColumns, toImportState } from './import-rows.js';
import type { ImportState } from './import-state.js';
import type { Database, Schema, TagEventTable, TagImportTable, TagTable } from './schema.js';
import { toSpecTag } from './stream-rows.js';
import { withoutSync } from './without-sync.js';

/** Looked at to find sources that are due: many tags may want the same. */
const rowsPerSource = 10;

/** ImportRecords in SQL. */
export class KyselyImportRecords implements ImportRecords {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async claim(by: ImportClaim): Promise<readonly DueSource[]> {
    for (;;) {
      // Read beforehand: most of the time nothing is due, and nobody need wait for the write lock to learn that.
      const due = await this.#findDue(by);
      if (due.length === 0) return [];
      const claimed = await this.#claim(due, by);
      // Others were faster with all of it, and something else may be due.
      if (claimed.length > 0) return claimed;
    }
  }

  #claim(
    sources: readonly string[],
    { now, leaseUntil, imports }: Pick<ImportClaim, 'now' | 'leaseUntil' | 'imports'>,
  ): Promise<readonly DueSource[]> {
    const lease = randomUUID();
    return this.#write(async (tx) => {
      await tx
        .updateTable('tag_import')
        .set({ lease, lease_until: leaseUntil.getTime() })
        .where((where) =>
          where(
            where.refTuple('repository_id', 'tag'),
            'in',
            where
              .selectFrom((from) =>
                from
                  .selectFrom('tag_import')
                  .select(({ fn }) => [
                    'repository_id',
                    'tag',
                    fn
                      .agg<number>('row_number')
                      .over((over) => over.partitionBy('source').orderBy('due_at'))
                      .as('position'),
                  ])
                  .where('source', 'in', sources)
                  .where('due_at', '<=', now.getTime())
                  .where(isFree(now.getTime()))
                  .as('due'),
              )
              .select(['due.repository_id', 'due.tag'])
              .where('due.position', '<=', imports)
              .$asTuple('repository_id', 'tag'),
          ),
        )
        .execute();
      return readHeld(tx, sources, lease);
    });
  }

  /** Sources that are due, of each registry no more than there is room for, however many of its come first. */
  async #findDue({ now, sources, room, except }: ImportClaim): Promise<readonly string[]> {
    const found: string[] = [];
    const left = new Map<string, number>();
    while (found.length < sources) {
      const passed = [...except, ...found];
      const full = [...left].filter(([, count]) => count <= 0).map(([registry]) => registry);
      const pageSize = (sources - found.length) * rowsPerSource;
      const page = await this.#db
        .selectFrom('tag_import')
        .select('source')
        .where('due_at', 'is not', null)
        .where('due_at', '<=', now.getTime())
        .where(isFree(now.getTime()))
        .$if(passed.length > 0, (query) => query.where('source', 'not in', passed))
        // From the slash to the character after it is all that a registry has.
        .where((where) =>
          where.and(
            full.map((registry) =>
              where.or([where('source', '<', `${registry}/`), where('source', '>=', `${registry}0`)]),
            ),
          ),
        )
        .orderBy('due_at')
        .limit(pageSize)
        .execute();
      for (const source of new Set(page.map((row) => row.source))) {
        if (found.length === sources) break;
        const registry = registryOfSource(source);
        const count = left.get(registry) ?? room(registry);
        left.set(registry, count - 1);
        if (count > 0) found.push(source);
      }
      if (page.length < pageSize) break;
    }
    return found;
  }

  async renew(held: readonly HeldSource[], leaseUntil: Date): Promise<void> {
    if (held.length === 0) return;
    await this.#write((tx) => updateHeld(tx, held, { lease_until: leaseUntil.getTime() }));
  }

  async settle(now: Date, outcomes: readonly SettledImport[]): Promise<void> {
    if (outcomes.length === 0) return;
    await this.#write(async (tx) => {
      for (const { repository, tag, lease, ...outcome } of outcomes) {
        await tx
          .updateTable('tag_import')
          .set(outcomeColumns(outcome, now))
          .where('repository_id', '=', (where) =>
            where.selectFrom('repository').select('id').where('name', '=', repository),
          )
          .where('tag', '=', tag)
          .where('lease', '=', lease)
          .execute();
      }
    });
  }

  async release(held: readonly HeldSource[]): Promise<void> {
    if (held.length === 0) return;
    await this.#write((tx) => updateHeld(tx, held, { lease: null, lease_until: null }));
  }

  /** One transaction. After a power failure a few tags may be looked for once more, which harms nobody. */
  #write<Result>(work: (tx: Transaction<Schema>) => Promise<Result>): Promise<Result> {
    return withoutSync(this.#db, (db) => db.transaction().execute(work));
  }

  async find(repository: RepositoryName, tag: string): Promise<ImportState | undefined> {
    const row = await this.#db
      .selectFrom('tag_import')
      .innerJoin('repository', 'repository.id', 'tag_import.repository_id')
      .selectAll('tag_import')
      .where('repository.name', '=', repository)
      .where('tag_import.tag', '=', tag)
      .executeTakeFirst();
    return row && toImportState(row);
  }

  async count(now: Date): Promise<ImportCounts> {
    const { waiting, due, oldest } = await this.#db
      .selectFrom('tag_import')
      .select(({ fn }) => [
        fn.countAll<number>().as('waiting'),
        sql<number | null>`sum(case when due_at <= ${now.getTime()} then 1 else 0 end)`.as('due'),
        fn.min('due_at').as('oldest'),
      ])
      .where('due_at', 'is not', null)
      .executeTakeFirstOrThrow();
    const { failing } = await this.#db
      .selectFrom('tag_import')
      .select(({ fn }) => fn.countAll<number>().as('failing'))
      .where('error', 'is not', null)
      .executeTakeFirstOrThrow();
    const isDue = oldest !== null && oldest <= now.getTime();
    return { waiting, due: due ?? 0, failing, oldestDueAt: isDue ? new Date(oldest) : undefined };
  }
}

/** Whether nobody holds it. */
function isFree(now: number) {
  return (where: ExpressionBuilder<Schema, 'tag_import'>) =>
    where.or([where('lease_until', 'is', null), where('lease_until', '<=', now)]);
}

async function updateHeld(
  db: Kysely<Schema>,
  held: readonly HeldSource[],
  columns: Updateable<TagImportTable>,
): Promise<void> {
  for (const batch of inBatches(held)) {
    const [sources, leases] = [batch.map(({ source }) => source), batch.map(({ lease }) => lease)];
    await db
      .updateTable('tag_import')
      .set(columns)
      .where('source', 'in', sources)
      .where('lease', 'in', leases)
      .execute();
  }
}

/** Sources that are held, with all that is wanted of them; those of which others were faster are left out. */
async function readHeld(db: Kysely<Schema>, sources: readonly string[], lease: string): Promise<readonly DueSource[]> {
  const rows = await db
    .selectFrom('tag_import')
    .innerJoin('repository', 'repository.id', 'tag_import.repository_id')
    .leftJoin('tag', (join) =>
      join
        .onRef('tag.repository_id', '=', 'tag_import.repository_id')
        .onRef('tag.name', '=', sql.ref('tag_import.tag')),
    )
    .leftJoin('tag_event', (join) =>
      join
        .onRef('tag_event.repository_id', '=', 'tag.repository_id')
        .onRef('tag_event.tag', '=', 'tag.name')
        .onRef('tag_event.sequence', '=', 'tag.sequence'),
    )
    .select([
      'repository.name as repository',
      'tag_import.source',
      'tag_import.tag',
      'tag_import.digest',
      'tag_import.failures',
      'tag.spec',
      'tag.spec_generation',
      'tag.follows',
      'tag.scheduled',
      'tag.conditions',
      'tag_event.generation',
      'tag_event.cause',
    ])
    .where('tag_import.source', 'in', sources)
    .where('tag_import.lease', '=', lease)
    .orderBy('tag_import.due_at')
    .execute();
  const bySource = new Map(sources.map((source) => [source, [] as DueImport[]]));
  for (const row of rows) bySource.get(row.source)!.push(toDueImport(row));
  return [...bySource]
    .filter(([, imports]) => imports.length > 0)
    .map(([source, imports]) => ({ source, lease, imports }));
}

type HeldRow = Pick<Selectable<TagImportTable>, 'tag' | 'digest' | 'failures'> & {
  readonly [Column in 'spec' | 'spec_generation' | 'follows' | 'conditions']: Selectable<TagTable>[Column] | null;
} & {
  readonly [Column in 'generation' | 'cause']: Selectable<TagEventTable>[Column] | null;
} & { readonly repository: RepositoryName; readonly scheduled: 0 | 1 | null };

function toDueImport({ repository, tag, digest, failures, ...row }: HeldRow): DueImport {
  const { spec, spec_generation, follows, scheduled, conditions, generation, cause } = row;
  return {
    repository,
    tag,
    spec: toSpecTag({ spec, spec_generation, follows, scheduled: scheduled ?? 0 }),
    digest: digest ?? undefined,
    isPending: conditions !== null || generation === null || (spec_generation ?? 1) > generation || cause === 'push',
    failures,
  };
}
