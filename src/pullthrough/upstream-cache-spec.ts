import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue, tooLong } from '../kube/object-meta.js';
import { parseDuration } from '../oci/duration.js';
import { PullSpecError, pullSpecOrError } from '../oci/pull-spec.js';

const maxFreshSeconds = 30 * 86_400;
const maxMissingSeconds = 86_400;
const maxPatterns = 20;
/** More than any tag that can be pulled has. */
const maxPatternLength = 253;
/** Of a host name and a port; of a repository. */
const maxPlaceLength = 255;

/** What an UpstreamCache asks for. */
export const upstreamCacheSpecSchema = z.object({
  registry: z.string().describe('The registry whose images are pulled through: host or host:port, such as docker.io.'),
  path: z
    .string()
    .optional()
    .describe(
      'What the names of its repositories begin with; library makes the project its repositories below library.',
    ),
  freshSeconds: z
    .int()
    .min(0)
    .max(maxFreshSeconds)
    .optional()
    .describe('How long a tag is served before the registry is asked again whether it moved; 300 when left out.'),
  missingSeconds: z
    .int()
    .min(0)
    .max(maxMissingSeconds)
    .optional()
    .describe('How long it is remembered that the registry does not have something; 60 when left out.'),
  keepUnpulled: z
    .string()
    .optional()
    .describe('How long an image stays that nobody pulls: a number with s, m, h or d; for ever when left out.'),
  insecure: z
    .boolean()
    .optional()
    .describe("Whether the registry's certificate need not be valid, and plain HTTP may be spoken."),
  mirror: z
    .boolean()
    .optional()
    .describe(
      'Whether clients find it that use this server as a mirror of the registry, and so trust the project with what its images are called there; takes the right to write caches in all projects.',
    ),
  tags: z
    .array(z.string())
    .optional()
    .describe(
      'Names of the tags that are pulled through, with * for any characters and ? for one; a ! in front takes tags out again. Left out: all.',
    ),
});

export type UpstreamCacheSpec = z.output<typeof upstreamCacheSpecSchema>;

/** What is wrong with a cache, beside what its schema says. */
export function upstreamCacheCauses({ registry, path, keepUnpulled, tags }: UpstreamCacheSpec): StatusCause[] {
  const placeCauses = registryCauses(registry);
  return [
    ...placeCauses,
    ...(placeCauses.length > 0 ? [] : pathCauses(registry, path)),
    ...durationCauses(keepUnpulled),
    ...tagsCauses(tags),
  ];
}

function registryCauses(registry: string): StatusCause[] {
  const field = 'spec.registry';
  if (registry === '') return [requiredValue(field)];
  if (registry.length > maxPlaceLength) return [tooLong(field, maxPlaceLength)];
  const parsed = pullSpecOrError(`${registry}/x`);
  // Without a dot or a port Docker's clients would take it for a part of the repository, on Docker Hub.
  const isHost =
    !(parsed instanceof PullSpecError) && parsed.registry === registry && registry === registry.toLowerCase();
  return isHost ? [] : [invalidValue(field, registry, 'expected host or host:port in lower case, such as docker.io')];
}

function pathCauses(registry: string, path: string | undefined): StatusCause[] {
  const field = 'spec.path';
  if (path === undefined) return [];
  if (path === '') return [requiredValue(field, 'leave it out, or say what names begin with')];
  if (path.length > maxPlaceLength) return [tooLong(field, maxPlaceLength)];
  const parsed = pullSpecOrError(`${registry}/${path}/x`);
  const isPath = !(parsed instanceof PullSpecError) && parsed.tag === '' && parsed.id === '';
  return isPath ? [] : [invalidValue(field, path, 'expected components of a-z, 0-9 and separators, joined by /')];
}

function durationCauses(text: string | undefined): StatusCause[] {
  if (text === undefined || (parseDuration(text) ?? 0) > 0) return [];
  return [
    invalidValue('spec.keepUnpulled', text.slice(0, 100), 'expected a number above 0 with s, m, h or d, such as 30d'),
  ];
}

function tagsCauses(patterns: readonly string[] | undefined): StatusCause[] {
  const field = 'spec.tags';
  if (patterns === undefined) return [];
  if (patterns.length === 0) return [requiredValue(field, 'leave it out, or say at least one')];
  if (patterns.length > maxPatterns) {
    return [invalidValue(field, `${patterns.length} items`, `must have at most ${maxPatterns} items`)];
  }
  const causes = patterns.flatMap((pattern, index) => patternCauses(pattern, `${field}[${index}]`));
  if (causes.length > 0 || patterns.some((pattern) => !pattern.startsWith('!'))) return causes;
  return [invalidValue(field, patterns, "only takes tags out; say first which are meant, such as '*'")];
}

function patternCauses(pattern: string, field: string): StatusCause[] {
  const bare = pattern.startsWith('!') ? pattern.slice(1) : pattern;
  if (bare === '') return [requiredValue(field)];
  if (bare.length > maxPatternLength) return [tooLong(field, maxPatternLength)];
  if (/^[A-Za-z0-9_.*?-]+$/.test(bare)) return [];
  const rule =
    "expected letters, digits, '.', '_' and '-', with '*' for any characters, '?' for one and a '!' in front";
  return [invalidValue(field, pattern, rule)];
}
