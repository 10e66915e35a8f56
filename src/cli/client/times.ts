import { UsageError } from '../usage-error.js';

const unitsMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 24 * 3_600_000,
  w: 7 * 24 * 3_600_000,
};

/**
 * A time as somebody writes it: how long ago (`90m`, `12h`, `3d`, `2w`), a day or a time of RFC 3339.
 *
 * @returns RFC 3339, to the second
 * @throws {UsageError} when it is neither
 */
export function parseTime(text: string, now: Date): string {
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  const time =
    count !== undefined
      ? now.getTime() - Number(count) * unitsMs[unit!]!
      : /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text)
        ? Date.parse(text)
        : Number.NaN;
  if (Number.isNaN(time)) {
    throw new UsageError(`"${text}" is no time; expected how long ago, as in 90m or 3d, or 2026-01-31T12:00:00Z`);
  }
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}
