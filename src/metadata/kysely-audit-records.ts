import type { Insertable, Kysely } from 'kysely';
import type {
  AuditFilters,
  AuditPage,
  AuditQuery,
  AuditRecord,
  AuditRecords,
  NewAuditRecord,
} from './audit-records.js';
import { inBatches } from './batches.js';
import { isSqlite } from './dialect.js';
import type { AuditRecordTable, Database, Schema } from './schema.js';
import { withoutSync } from './without-sync.js';

const columnsOfFilters = {
  principal: 'principal',
  verb: 'verb',
  apiGroup: 'api_group',
  resource: 'resource',
  namespace: 'namespace',
  name: 'name',
  outcome: 'outcome',
} as const satisfies Record<keyof AuditFilters, keyof AuditRecordTable>;

/** AuditRecords in SQL. */
export class KyselyAuditRecords implements AuditRecords {
  readonly #db: Database;
  readonly #window: number;

  /** @param window how many records one statement looks through, so that a rare one is sought without holding up others */
  constructor(db: Database, window = 10_000) {
    this.#db = db;
    this.#window = window;
  }

  async append(records: readonly NewAuditRecord[]): Promise<void> {
    const chunks = [...(isSqlite(this.#db) ? inChunks(records) : inBatches(records))];
    const insert = async (db: Kysely<Schema>) => {
      for (const chunk of chunks) await db.insertInto('audit_record').values(chunk.map(toRow)).execute();
    };
    await withoutSync(this.#db, (db) =>
      // Beside others: nothing here depends on what anybody else writes.
      chunks.length > 1 ? db.transaction().setIsolationLevel('read committed').execute(insert) : insert(db),
    );
  }

  async find(id: number): Promise<AuditRecord | undefined> {
    const row = await this.#selectRecords().where('id', '=', id).executeTakeFirst();
    return row && toRecord(row);
  }

  async list({ filters = {}, since, until, limit, before }: AuditQuery): Promise<AuditPage> {
    const [newest, oldest] = [await this.newestId(), await this.#oldestId()];
    const filtered = Object.entries(columnsOfFilters).flatMap(([name, column]) => {
      const value = filters[name as keyof AuditFilters];
      return value === undefined ? [] : [{ column, value }];
    });
    const found: AuditRecord[] = [];
    let end = Math.min(before ?? Infinity, newest + 1);
    while (end > oldest && found.length <= limit) {
      const begin = end - this.#window;
      let query = this.#selectRecords().where('id', '>=', begin).where('id', '<', end);
      for (const { column, value } of filtered) query = query.where(column, '=', value);
      if (since !== undefined) query = query.where('at', '>=', since.getTime());
      if (until !== undefined) query = query.where('at', '<', until.getTime());
      const rows = await query
        .orderBy('id', 'desc')
        .limit(limit + 1 - found.length)
        .execute();
      found.push(...rows.map(toRecord));
      end = begin;
    }
    const records = found.slice(0, limit);
    return { records, next: found.length > limit ? records.at(-1)!.id : undefined };
  }

  async newestId(): Promise<number> {
    const row = await this.#db
      .selectFrom('audit_record')
      .select(({ fn }) => fn.max('id').as('id'))
      .executeTakeFirst();
    return row?.id ?? 0;
  }

  async #oldestId(): Promise<number> {
    const row = await this.#db
      .selectFrom('audit_record')
      .select(({ fn }) => fn.min('id').as('id'))
      .executeTakeFirst();
    return row?.id ?? 0;
  }

  async removeBefore(date: Date, limit: number): Promise<number> {
    const { numDeletedRows } = await withoutSync(this.#db, (db) =>
      db
        .deleteFrom('audit_record')
        .where('id', 'in', (old) =>
          old.selectFrom('audit_record').select('id').where('at', '<', date.getTime()).orderBy('at').limit(limit),
        )
        .executeTakeFirst(),
    );
    return Number(numDeletedRows);
  }

  #selectRecords() {
    return this.#db
      .selectFrom('audit_record')
      .select([
        'id',
        'at',
        'request_id as requestId',
        'principal',
        'impersonator',
        'address',
        'user_agent as userAgent',
        'verb',
        'api_group as apiGroup',
        'resource',
        'namespace',
        'name',
        'method',
        'path',
        'outcome',
        'code',
        'reason',
      ]);
  }
}

/**
 * Few rows or many make a statement, but of few different sizes: each has a text of its own, and those that were
 * prepared for SQLite are remembered by their text.
 */
function* inChunks<T>(values: readonly T[]): Generator<readonly T[]> {
  let begin = 0;
  for (const size of [100, 10, 1]) {
    for (; begin + size <= values.length; begin += size) yield values.slice(begin, begin + size);
  }
}

function toRow(record: NewAuditRecord): Insertable<AuditRecordTable> {
  const { at, requestId, impersonator, userAgent, apiGroup, reason, ...same } = record;
  return {
    ...same,
    at: at.getTime(),
    request_id: requestId,
    impersonator: impersonator ?? null,
    user_agent: userAgent,
    api_group: apiGroup,
    reason: reason ?? null,
  };
}

type RecordRow = Omit<AuditRecord, 'at' | 'impersonator' | 'reason'> & {
  readonly at: number;
  readonly impersonator: string | null;
  readonly reason: string | null;
};

function toRecord({ at, impersonator, reason, ...same }: RecordRow): AuditRecord {
  return { ...same, at: new Date(at), impersonator: impersonator ?? undefined, reason: reason ?? undefined };
}
