const msPerUnit: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * In milliseconds, of a duration as people write it: `30m`, or `14d`.
 *
 * @param maxDigits of the number
 * @returns undefined for what is no number with s, m, h or d
 */
export function parseDuration(text: string, maxDigits = 6): number | undefined {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined || count.length > maxDigits) return undefined;
  return Number(count) * msPerUnit[unit]!;
}
