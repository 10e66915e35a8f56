import { sql, type Selectable } from 'kysely';
import type { ImportOutcome, ImportState } from './import-state.js';
import type { TagImportTable } from './schema.js';

/** What the columns become when somebody has looked. */
export function outcomeColumns(
  { dueAt, error, digest, isMoved }: ImportOutcome,
  now: Date,
): Partial<Pick<TagImportTable, 'digest' | 'moved_at'>> &
  Pick<TagImportTable, 'due_at' | 'lease' | 'lease_until' | 'checked_at' | 'error'> & { failures: never } {
  return {
    due_at: dueAt?.getTime() ?? null,
    lease: null,
    lease_until: null,
    checked_at: now.getTime(),
    error: error ?? null,
    failures: (error === undefined ? 0 : sql`failures + 1`) as never,
    ...(digest !== undefined && { digest }),
    ...(isMoved === true && { moved_at: now.getTime() }),
  };
}

export function toImportState(row: Selectable<TagImportTable>): ImportState {
  const time = (at: number | null) => (at === null ? undefined : new Date(at));
  return {
    source: row.source,
    dueAt: time(row.due_at),
    checkedAt: time(row.checked_at),
    movedAt: time(row.moved_at),
    digest: row.digest ?? undefined,
    error: row.error ?? undefined,
    failures: row.failures,
  };
}
