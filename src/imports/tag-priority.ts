/** A tag in the order in which a repository's tags are imported. */
interface RankedTag {
  readonly tag: string;
  readonly rank: 0 | 1 | 2 | 3;
  readonly version: readonly number[];
  /** What comes after the numbers of a version: nothing counts for more than something. */
  readonly suffix: string;
}

const minorVersion = /^v?(\d{1,15})\.(\d{1,15})(?:-([0-9A-Za-z.-]+))?$/;
const fullVersion = /^v?(\d{1,15})\.(\d{1,15})\.(\d{1,15})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;

/**
 * Tags of a repository, those first that are wanted most: `latest`, then minor versions (`5.1`) and then full ones
 * (`5.1.3`), each from the newest down, then all others in the order of their bytes (openshift-apiserver, PrioritizeTags).
 * Of two equal versions the one without `v` comes first.
 */
export function prioritizeTags(tags: readonly string[]): readonly string[] {
  return tags
    .map(rankOf)
    .sort(compareTags)
    .map(({ tag }) => tag);
}

function rankOf(tag: string): RankedTag {
  if (tag === 'latest') return { tag, rank: 0, version: [], suffix: '' };
  const minor = minorVersion.exec(tag);
  if (minor !== null) return { tag, rank: 1, version: [Number(minor[1]), Number(minor[2])], suffix: minor[3] ?? '' };
  const full = fullVersion.exec(tag);
  if (full !== null) return { tag, rank: 2, version: full.slice(1, 4).map(Number), suffix: full[4] ?? '' };
  return { tag, rank: 3, version: [], suffix: '' };
}

function compareTags(a: RankedTag, b: RankedTag): number {
  if (a.rank !== b.rank) return a.rank - b.rank;
  for (const [position, number] of a.version.entries()) {
    const difference = b.version[position]! - number;
    if (difference !== 0) return difference;
  }
  if (a.suffix !== b.suffix) return compareSuffixes(b.suffix, a.suffix);
  return a.tag < b.tag ? -1 : a.tag > b.tag ? 1 : 0;
}

/** Semantic Versioning 2.0.0, section 11: a version before its release counts for less than the release. */
function compareSuffixes(a: string, b: string): number {
  if (a === '' || b === '') return a === '' ? 1 : -1;
  const [as, bs] = [a.split('.'), b.split('.')];
  for (const [position, part] of as.entries()) {
    const other = bs[position];
    if (other === undefined) return 1;
    if (part === other) continue;
    const [isNumber, isOtherNumber] = [/^\d+$/.test(part), /^\d+$/.test(other)];
    if (isNumber && isOtherNumber) return Number(part) - Number(other);
    if (isNumber !== isOtherNumber) return isNumber ? -1 : 1;
    return part < other ? -1 : 1;
  }
  return -1;
}
