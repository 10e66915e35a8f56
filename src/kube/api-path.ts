/** A path below /api or /apis, taken apart (Kubernetes API conventions, "Resource paths"). */
export type ApiPath =
  /** `/api` or `/apis` */
  | { readonly kind: 'groups'; readonly root: 'api' | 'apis' }
  /** `/apis/{group}` */
  | { readonly kind: 'group'; readonly group: string }
  /** `/api/v1` or `/apis/{group}/{version}` */
  | { readonly kind: 'version'; readonly group: string; readonly version: string }
  | ResourcePath;

/** A path to a resource. */
export interface ResourcePath {
  readonly kind: 'resource';
  readonly group: string;
  readonly version: string;
  /** Empty when the path has none. */
  readonly namespace: string;
  readonly plural: string;
  /** Undefined for a collection. */
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/**
 * Takes a path apart. Names may hold any character but a slash or a percent sign: `app:v1`, `app@sha256:…`, `~`.
 *
 * @param path as it came, percent-encoded
 * @returns undefined when it is no path of the API
 */
export function parseApiPath(path: string): ApiPath | undefined {
  const segments = decodeSegments(path);
  if (segments === undefined) return undefined;
  const [root, ...rest] = segments;
  if (root !== 'api' && root !== 'apis') return undefined;
  if (rest.length === 0) return { kind: 'groups', root };
  const [group, version, ...tail] = root === 'api' ? ['', ...rest] : rest;
  if (version === undefined) return { kind: 'group', group: group! };
  if (tail.length === 0) return { kind: 'version', group: group!, version };
  return parseResource(group!, version, tail);
}

function parseResource(group: string, version: string, tail: readonly string[]): ResourcePath | undefined {
  // /namespaces/{name} and its subresources are the namespace itself; a third part is something inside of it.
  const isInside = tail[0] === 'namespaces' && tail.length >= 3 && !namespaceSubresources.has(tail[2]!);
  const namespace = isInside ? tail[1]! : '';
  const [plural, name, subresource, ...more] = isInside ? tail.slice(2) : tail;
  if (more.length > 0) return undefined;
  return { kind: 'resource', group, version, namespace, plural: plural!, name, subresource };
}

const namespaceSubresources = new Set(['status', 'finalize']);

function decodeSegments(path: string): readonly string[] | undefined {
  const trimmed = path.endsWith('/') ? path.slice(1, -1) : path.slice(1);
  const segments: string[] = [];
  for (const encoded of trimmed.split('/')) {
    let segment: string;
    try {
      segment = decodeURIComponent(encoded);
    } catch {
      return undefined;
    }
    if (segment === '' || segment === '.' || segment === '..' || /[/%\\\p{Cc}]/u.test(segment)) return undefined;
    segments.push(segment);
  }
  return segments;
}
