import { isTag } from '../../oci/reference.js';
import { OciError } from '../../oci/errors.js';
import { parseRepositoryName, projectOf, streamNameOf } from '../../oci/repository-name.js';
import { UsageError } from '../usage-error.js';

/** A tag or an image of a stream, or a stream, as it is written on the command line. */
export interface StreamReference {
  /** Of the server, with its port, when that is written before the project. */
  readonly host: string | undefined;
  readonly project: string;
  /** As the object is called: `a__b` for `project/a/b`. */
  readonly stream: string;
  readonly tag: string | undefined;
  /** A digest, or at least six digits of one: `sha256:1234567890ab`. */
  readonly digest: string | undefined;
}

const digestPattern = /^sha256:[0-9a-f]{6,64}$|^sha512:[0-9a-f]{6,128}$/;

/** Whether it is a digest, or the beginning of one. */
export function isDigestLike(text: string): boolean {
  return digestPattern.test(text);
}

/**
 * Takes apart `project/stream:tag`, `project/stream@sha256:…`, `project/a/b:tag`, `stream:tag`, and the same behind a
 * host. The first part is a host when it has a dot or a port, which no project has.
 *
 * @param project of a reference that names none; there may be none
 * @throws {UsageError} saying which part is wrong
 */
export function parseStreamReference(text: string, project: string | undefined): StreamReference {
  const { host, path, tag, digest } = splitReference(text);
  const isComplete = path.includes('/');
  if (!isComplete && project === undefined) {
    throw new UsageError(`"${text}" names no project; write PROJECT/${path}, or give --project`);
  }
  try {
    const name = parseRepositoryName(isComplete ? path : `${project!}/${path}`);
    return { host, project: projectOf(name), stream: streamNameOf(name), tag, digest };
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    const { expected } = error.detail as { readonly expected: string };
    throw new UsageError(`"${text}" is no name of a stream; expected ${expected}`, { cause: error });
  }
}

/** The host that a reference begins with, if any. */
export function hostOfReference(text: string): string | undefined {
  const slash = text.indexOf('/');
  const first = text.slice(0, slash);
  return slash > 0 && /[.:]/.test(first) ? first : undefined;
}

/** As it is written on the command line. */
export function showReference({ project, stream, tag, digest }: Omit<StreamReference, 'host'>): string {
  const end = tag !== undefined ? `:${tag}` : digest !== undefined ? `@${digest}` : '';
  return `${project}/${stream.replaceAll('__', '/')}${end}`;
}

/** What names a tag or an image of a stream in the API: `app:v1`, `app@sha256:…`. */
export function objectNameOf(
  stream: string,
  { tag, digest }: { readonly tag?: string; readonly digest?: string },
): string {
  return tag !== undefined ? `${stream}:${tag}` : `${stream}@${digest ?? ''}`;
}

function splitReference(text: string): {
  readonly host: string | undefined;
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
} {
  const host = hostOfReference(text);
  const rest = host === undefined ? text : text.slice(host.length + 1);
  const at = rest.indexOf('@');
  const named = at === -1 ? rest : rest.slice(0, at);
  const digest = at === -1 ? undefined : rest.slice(at + 1);
  if (digest !== undefined && !isDigestLike(digest)) {
    throw new UsageError(
      `"${digest}" is no digest; expected sha256: and 64 digits 0-9 and a-f, or the first few of them`,
    );
  }
  const colon = named.indexOf(':');
  const tag = colon === -1 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) {
    throw new UsageError(`"${tag}" is no tag; expected a letter, digit or _ and up to 127 more of those or . or -`);
  }
  if (tag !== undefined && digest !== undefined) {
    throw new UsageError(`"${text}" has both a tag and a digest; give one of them`);
  }
  return { host, path: colon === -1 ? named : named.slice(0, colon), tag, digest };
}
