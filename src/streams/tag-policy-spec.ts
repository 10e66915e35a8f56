import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue, nameCauses, requiredValue, tooLong } from '../kube/object-meta.js';

const maxProtections = 10;
const maxPatterns = 20;
const maxSubjects = 100;
/** Of an image stream's name, and more than any tag that can be pushed has. */
const maxPatternLength = 253;
const maxSubjectLength = 253;
const maxKeptEvents = 1_000_000;

const subjectSchema = z.object({
  kind: z.enum(['User', 'Group', 'ServiceAccount']),
  name: z.string().describe('The name of the user, the group or the service account.'),
  namespace: z.string().exactOptional().describe('Of the service account; that of the policy when left out.'),
});

const protectionSchema = z.object({
  tags: z
    .array(z.string())
    .describe('Names of tags, with * for any characters and ? for one; a ! in front takes tags out again.'),
  overriddenBy: z.array(subjectSchema).optional().describe('Who may move and delete these tags all the same.'),
});

/** What a TagPolicy asks for. */
export const tagPolicySpecSchema = z.object({
  streams: z
    .array(z.string())
    .optional()
    .describe('Names of image streams that it is for, with * for any characters and ? for one. Left out: all.'),
  protect: z
    .array(protectionSchema)
    .optional()
    .describe('Tags that nobody may move or delete once they are there. Each rule counts by itself.'),
  requireReason: z
    .array(z.enum(['push', 'tag', 'import', 'rollback', 'delete', 'undelete']))
    .optional()
    .describe('Changes of tags that are refused when they say no reason.'),
  keepEvents: z
    .int()
    .min(1)
    .max(maxKeptEvents)
    .optional()
    .describe('So many events of each tag are kept, the newest; all when left out.'),
});

export type TagPolicySpec = z.output<typeof tagPolicySpecSchema>;

/** Who need not keep to a rule. */
export type PolicySubject = z.output<typeof subjectSchema>;

/** What is wrong with a policy, beside what its schema says. */
export function tagPolicyCauses({ streams, protect, requireReason, keepEvents }: TagPolicySpec): StatusCause[] {
  if (protect === undefined && requireReason === undefined && keepEvents === undefined) {
    return [requiredValue('spec', 'say at least one of protect, requireReason and keepEvents')];
  }
  return [
    ...listCauses(streams, 'spec.streams', { max: maxPatterns, causesOf: streamPatternCauses }),
    ...listCauses(protect, 'spec.protect', {
      max: maxProtections,
      causesOf: ({ tags, overriddenBy }, field) => [
        ...tagPatternsCauses(tags, `${field}.tags`),
        ...listCauses(overriddenBy, `${field}.overriddenBy`, { max: maxSubjects, causesOf: subjectCauses }),
      ],
    }),
    ...listCauses(requireReason, 'spec.requireReason', { causesOf: () => [] }),
    ...duplicateCauses(requireReason ?? [], 'spec.requireReason'),
  ];
}

/** What is wrong with a list and, when it is not too long, with what is in it. */
function listCauses<Item>(
  items: readonly Item[] | undefined,
  field: string,
  {
    max = Infinity,
    causesOf,
  }: { readonly max?: number; readonly causesOf: (item: Item, field: string) => StatusCause[] },
): StatusCause[] {
  if (items === undefined) return [];
  // A list that is there and names nothing is hardly meant: what is to be unlimited would be limited to nothing.
  if (items.length === 0) return [requiredValue(field, 'leave it out, or say at least one')];
  if (items.length > max) {
    return [invalidValue(field, `${items.length} items`, `must have at most ${max} items`)];
  }
  return items.flatMap((item, index) => causesOf(item, `${field}[${index}]`));
}

function duplicateCauses(words: readonly string[], field: string): StatusCause[] {
  const twice = words.filter((word, index) => words.indexOf(word) !== index);
  return [...new Set(twice)].map((word) => ({
    reason: 'FieldValueDuplicate',
    field,
    message: `Duplicate value: ${JSON.stringify(word)}`,
  }));
}

function streamPatternCauses(pattern: string, field: string): StatusCause[] {
  if (pattern === '') return [requiredValue(field)];
  if (pattern.length > maxPatternLength) return [tooLong(field, maxPatternLength)];
  if (/^[a-z0-9._*?-]+$/.test(pattern)) return [];
  const rule = "expected a-z, 0-9, '.', '_' and '-' ('__' for a slash), with '*' for any characters and '?' for one";
  return [invalidValue(field, pattern, rule)];
}

function tagPatternsCauses(patterns: readonly string[], field: string): StatusCause[] {
  const causes = listCauses(patterns, field, { max: maxPatterns, causesOf: tagPatternCauses });
  if (causes.length > 0 || patterns.some((pattern) => !pattern.startsWith('!'))) return causes;
  return [invalidValue(field, patterns, "only takes tags out; say first which are meant, such as '*'")];
}

function tagPatternCauses(pattern: string, field: string): StatusCause[] {
  const bare = pattern.startsWith('!') ? pattern.slice(1) : pattern;
  if (bare === '') return [requiredValue(field)];
  if (bare.length > maxPatternLength) return [tooLong(field, maxPatternLength)];
  // Letters that no pushed tag has, or that stand for something elsewhere, would protect less than was meant.
  if (/^[A-Za-z0-9_.*?-]+$/.test(bare)) return [];
  const rule =
    "expected letters, digits, '.', '_' and '-', with '*' for any characters, '?' for one and a '!' in front";
  return [invalidValue(field, pattern, rule)];
}

function subjectCauses({ kind, name, namespace = '' }: PolicySubject, field: string): StatusCause[] {
  if (name === '') return [requiredValue(`${field}.name`)];
  if (kind === 'ServiceAccount') {
    return [
      ...nameCauses(shortened(name), 'subdomain', `${field}.name`),
      ...(namespace === '' ? [] : nameCauses(shortened(namespace), 'label', `${field}.namespace`)),
    ];
  }
  const causes = name.length > maxSubjectLength ? [tooLong(`${field}.name`, maxSubjectLength)] : [];
  if (namespace !== '') {
    causes.push({
      reason: 'FieldValueForbidden',
      field: `${field}.namespace`,
      message: `Forbidden: a ${kind} is in no namespace`,
    });
  }
  return causes;
}

/** What of a hostile name is repeated; it is too long for any name then, too. */
function shortened(name: string): string {
  return name.slice(0, maxSubjectLength + 1);
}
