/** One alternative of an Accept header. */
export interface MediaRange {
  /** In lower case, without parameters: `application/json`, `application/*`. */
  readonly type: string;
  /** By name in lower case, without `q`. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * What a client accepts, best first: by weight, and alternatives of the same weight as they are listed. What it refuses
 * with `q=0` is left out (RFC 9110, section 12.5.1). No parameter that means anything here needs quotes, so commas and
 * semicolons always separate.
 */
export function parseMediaRanges(accept: string): readonly MediaRange[] {
  return accept
    .split(',')
    .map(parseWeightedRange)
    .filter(({ range, weight }) => range.type !== '' && weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .map(({ range }) => range);
}

function parseWeightedRange(text: string): { readonly range: MediaRange; readonly weight: number } {
  const [type, ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(rest.map(parseParameter));
  const weight = Number(parameters.get('q') ?? 1);
  parameters.delete('q');
  return { range: { type: type!.toLowerCase(), parameters }, weight: Number.isNaN(weight) ? 1 : weight };
}

function parseParameter(text: string): [string, string] {
  const [name, ...value] = text.split('=');
  return [
    name!.trim().toLowerCase(),
    value
      .join('=')
      .trim()
      .replace(/^"(.*)"$/, '$1'),
  ];
}

/** Whether JSON is among what the client accepts by this alternative. */
export function coversJson({ type }: MediaRange): boolean {
  return type === 'application/json' || type === 'application/*' || type === '*/*';
}
