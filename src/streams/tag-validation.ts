import type { StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue } from '../kube/object-meta.js';
import { parseDuration } from '../oci/duration.js';
import { OciError } from '../oci/errors.js';
import { parseRepositoryName, streamNameOf } from '../oci/repository-name.js';
import { PullSpecError, pullSpecOrError } from '../oci/pull-spec.js';
import type { TagReference, TagSource } from './types.js';

/** A TagReference as a client may send it: parts left out or null, and words that mean nothing. */
export interface SentTag {
  readonly name?: string | undefined;
  readonly annotations?: Readonly<Record<string, string>> | null | undefined;
  readonly from?:
    | {
        readonly kind?: string | undefined;
        readonly name?: string | undefined;
        readonly namespace?: string | undefined;
      }
    | null
    | undefined;
  readonly reference?: boolean | undefined;
  readonly generation?: number | null | undefined;
  readonly importPolicy?:
    | {
        readonly insecure?: boolean | undefined;
        readonly scheduled?: boolean | undefined;
        readonly importMode?: string | undefined;
      }
    | null
    | undefined;
  readonly referencePolicy?: { readonly type?: string | undefined } | null | undefined;
}

/**
 * A tag with its defaults filled in, and without what means nothing: two that are wanted alike are equal. Words that
 * `tagCauses` refuses go through.
 *
 * @param name of the tag, whatever the body says
 */
export function withTagDefaults(sent: SentTag, name: string): TagReference {
  const { annotations, from, importPolicy } = sent;
  return {
    name,
    ...(annotations && Object.keys(annotations).length > 0 && { annotations }),
    ...(from && isSource(from) && { from: sourceOf(from) }),
    ...(sent.reference === true && { reference: true }),
    ...(typeof sent.generation === 'number' && { generation: sent.generation }),
    importPolicy: {
      ...(importPolicy?.insecure === true && { insecure: true }),
      ...(importPolicy?.scheduled === true && { scheduled: true }),
      importMode: textOr('Legacy', importPolicy?.importMode),
    },
    referencePolicy: { type: textOr('Source', sent.referencePolicy?.type) },
  } as TagReference;
}

/** Clients send a source without kind and name when they mean none. */
function isSource({ kind = '', name = '' }: NonNullable<SentTag['from']>): boolean {
  return kind !== '' || name !== '';
}

function sourceOf({ kind = '', name = '', namespace = '' }: NonNullable<SentTag['from']>): TagSource {
  return { kind: kind as TagSource['kind'], name, ...(namespace !== '' && { namespace }) };
}

function textOr(fallback: string, text: string | undefined): string {
  return text === undefined || text === '' ? fallback : text;
}

/** On a tag or its project: how often the tag is looked for where it comes from, as in `30m`. */
export const importIntervalAnnotation = 'weir.dev/import-interval';

/** @returns milliseconds; undefined for what is no interval: a number with s, m, h or d, of at most a year */
export function parseImportInterval(text: string): number | undefined {
  const ms = text.startsWith('0') ? undefined : parseDuration(text, 9);
  return ms !== undefined && ms <= 366 * 86_400_000 ? ms : undefined;
}

const maxTagLength = 253;
const shownLength = 300;

/** What of a hostile value is repeated. */
function shown(text: string): string {
  return text.length <= shownLength ? text : `${text.slice(0, shownLength)}…`;
}

/**
 * What is wrong with a tag of spec (openshift-apiserver, ValidateImageStreamTagReference), and with its name. Whether
 * its registry may be imported from is for `registryCauses` to say.
 *
 * @param fieldPath of the tag, as in `spec.tags[v1]`
 */
export function tagCauses(tag: SentTag, fieldPath: string): StatusCause[] {
  const causes = tagNameCauses(tag.name ?? '', `${fieldPath}.name`);
  if (tag.from && isSource(tag.from)) {
    causes.push(...sourceCauses(tag.from, fieldPath, tag.importPolicy?.scheduled === true));
  }
  const interval = tag.annotations?.[importIntervalAnnotation];
  if (interval !== undefined && parseImportInterval(interval) === undefined) {
    const field = `${fieldPath}.annotations[${importIntervalAnnotation}]`;
    causes.push(invalidValue(field, shown(interval), 'expected a number with s, m, h or d, such as 30m'));
  }
  const type = tag.referencePolicy?.type ?? '';
  if (!['', 'Source', 'Local'].includes(type)) {
    causes.push(invalidValue(`${fieldPath}.referencePolicy.type`, shown(type), 'valid values are "Source", "Local"'));
  }
  const importMode = tag.importPolicy?.importMode ?? '';
  if (!['', 'Legacy', 'PreserveOriginal'].includes(importMode)) {
    causes.push(
      invalidValue(
        `${fieldPath}.importPolicy.importMode`,
        shown(importMode),
        "invalid import mode, valid modes are '', 'Legacy', 'PreserveOriginal'",
      ),
    );
  }
  return causes;
}

function tagNameCauses(name: string, field: string): StatusCause[] {
  if (name === '') return [requiredValue(field)];
  if (name.length > maxTagLength) {
    return [
      { reason: 'FieldValueTooLong', field, message: `Too long: may not be more than ${maxTagLength} characters` },
    ];
  }
  // Whoever reads stream:tag or stream@digest, in a path or on a terminal, must be able to tell the parts apart.
  return /[/:@\p{C}]/u.test(name)
    ? [invalidValue(field, name, "may not contain '/', ':', '@' or control characters")]
    : [];
}

function sourceCauses(
  { kind = '', name = '' }: NonNullable<SentTag['from']>,
  fieldPath: string,
  isScheduled: boolean,
): StatusCause[] {
  const causes = name === '' ? [requiredValue(`${fieldPath}.from.name`)] : [];
  switch (kind) {
    case 'DockerImage':
      if (name !== '') causes.push(...pullSpecCauses(name, `${fieldPath}.from.name`));
      return causes;
    case 'ImageStreamImage':
    case 'ImageStreamTag':
      if (isScheduled) {
        causes.push(
          invalidValue(
            `${fieldPath}.importPolicy.scheduled`,
            true,
            'only tags pointing to Docker repositories may be scheduled for background import',
          ),
        );
      }
      return causes;
    default:
      causes.push(
        requiredValue(`${fieldPath}.from.kind`, "valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'"),
      );
      return causes;
  }
}

function pullSpecCauses(text: string, field: string): StatusCause[] {
  const spec = pullSpecOrError(text);
  return spec instanceof PullSpecError ? [invalidValue(field, shown(text), spec.message)] : [];
}

/** As much of a stream as its validation looks at. */
export interface SentStream {
  readonly metadata: { readonly namespace?: string | undefined; readonly name: string };
  readonly spec?:
    | { readonly dockerImageRepository?: string | undefined; readonly tags?: readonly SentTag[] | null | undefined }
    | undefined;
}

/** openshift-apiserver says so; Weir takes `__` too, which stands for the slashes of a deeper repository. */
const streamNameRule = '[a-z0-9]+(?:[._-][a-z0-9]+)*';
const maxStreamPathLength = 255;

/** What is wrong with the name and the spec of a stream (openshift-apiserver, ValidateImageStream). */
export function streamCauses({ metadata: { namespace = '', name }, spec = {} }: SentStream): StatusCause[] {
  return [
    ...streamNameCauses(namespace, name),
    ...repositoryCauses(spec.dockerImageRepository ?? ''),
    ...(spec.tags ?? []).flatMap((tag) => tagCauses(tag, `spec.tags[${shown(tag.name ?? '')}]`)),
  ];
}

function streamNameCauses(namespace: string, name: string): StatusCause[] {
  const wrong = (rule: string) => invalidValue('metadata.name', shown(name), rule);
  if (`${namespace}/${name}`.length > maxStreamPathLength) {
    return [wrong(`'namespace/name' cannot be longer than ${maxStreamPathLength} characters`)];
  }
  if (name === '.' || name === '..') return [wrong(`may not be '${name}'`)];
  const forbidden = ['/', '%'].filter((character) => name.includes(character));
  if (forbidden.length > 0) return forbidden.map((character) => wrong(`may not contain '${character}'`));
  return isStreamName(namespace, name) ? [] : [wrong(`must match "${streamNameRule}"`)];
}

function isStreamName(namespace: string, name: string): boolean {
  try {
    return streamNameOf(parseRepositoryName(`${namespace}/${name}`)) === name;
  } catch (error) {
    if (error instanceof OciError) return false;
    throw error;
  }
}

function repositoryCauses(text: string): StatusCause[] {
  if (text === '') return [];
  const field = 'spec.dockerImageRepository';
  const spec = pullSpecOrError(text);
  if (spec instanceof PullSpecError) return [invalidValue(field, shown(text), spec.message)];
  return [
    ...(spec.tag === '' ? [] : [invalidValue(field, text, 'the repository name may not contain a tag')]),
    ...(spec.id === '' ? [] : [invalidValue(field, text, 'the repository name may not contain an ID')]),
  ];
}

/** Where a tag of spec gets its image, with the names of its own stream filled in. */
export type ParsedTagSource =
  | { readonly kind: 'tag'; readonly namespace: string; readonly stream: string; readonly tag: string }
  | {
      readonly kind: 'image';
      readonly namespace: string;
      readonly stream: string;
      /** Digest, or the beginning of one. */
      readonly id: string;
    }
  | {
      readonly kind: 'docker';
      /** Pull spec, as it was written. */
      readonly reference: string;
    }
  | { readonly kind: 'invalid'; readonly cause: StatusCause };

/**
 * Reads the source of a tag: `<tag>` and `<id>` are of the stream that the tag is in, `<stream>:<tag>` and
 * `<stream>@<id>` of another.
 *
 * @param stream that the tag is in
 * @param fieldPath of the tag, as in `spec.tags[v1]`
 */
export function parseTagSource(
  { kind, name, namespace }: TagSource,
  stream: { readonly namespace: string; readonly name: string },
  fieldPath: string,
): ParsedTagSource {
  const sourceNamespace = namespace ?? stream.namespace;
  if (kind === 'DockerImage') {
    // What is elsewhere is in none of our namespaces.
    return sourceNamespace === stream.namespace ? { kind: 'docker', reference: name } : wrongForm(name, fieldPath);
  }
  const parts = name.split(kind === 'ImageStreamTag' ? ':' : '@', 3);
  const [first = '', second] = parts;
  if (parts.length > 2 || parts.includes('')) return wrongForm(name, fieldPath);
  const source = { namespace: sourceNamespace, stream: second === undefined ? stream.name : first };
  const tagOrId = second ?? first;
  return kind === 'ImageStreamTag'
    ? { kind: 'tag', ...source, tag: tagOrId }
    : { kind: 'image', ...source, id: tagOrId };
}

function wrongForm(name: string, fieldPath: string): ParsedTagSource {
  const rule = 'must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>';
  return { kind: 'invalid', cause: invalidValue(`${fieldPath}.from.name`, shown(name), rule) };
}

/**
 * Whether a tag points elsewhere than before, or is asked to be looked at again, so that its image must be found anew.
 * Annotations and the other policies do not count, nor does anything of a tag without a source.
 *
 * @param old undefined for a tag that was not there
 * @param namespace of the stream
 */
export function isChanged(old: TagReference | undefined, next: TagReference, namespace: string): boolean {
  const { from } = next;
  if (from === undefined || !isSource(from)) return false;
  if (old?.from === undefined) return true;
  return (
    (old.from.namespace ?? namespace) !== (from.namespace ?? namespace) ||
    old.from.kind !== from.kind ||
    old.from.name !== from.name ||
    (old.reference ?? false) !== (next.reference ?? false) ||
    (old.importPolicy.importMode ?? 'Legacy') !== (next.importPolicy.importMode ?? 'Legacy') ||
    (next.generation === 0 && typeof old.generation === 'number' && old.generation !== 0)
  );
}
