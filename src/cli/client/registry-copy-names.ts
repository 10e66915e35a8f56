import { OciError } from '../../oci/errors.js';
import { parseRepositoryName } from '../../oci/repository-name.js';
import { UsageError } from '../usage-error.js';
import { ClientError } from './client-error.js';
import { isWildcardMatch } from '../../oci/wildcards.js';
import { parseServerUrl } from './server-url.js';

/** Where to copy from, as the command line has it. */
export interface SourceAddress {
  /** Host and perhaps port. */
  readonly registry: string;
  /** Only repositories at or below it; empty for all. */
  readonly path: string;
  /** Whether plain HTTP was asked for by name. */
  readonly isPlain: boolean;
}

/** @param text as in `https://host`, `host:port` or `host/repo/path` @throws {UsageError} */
export function parseSourceAddress(text: string): SourceAddress {
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(text) ?? [];
  const slash = rest.indexOf('/');
  const host = slash === -1 ? rest : rest.slice(0, slash);
  const path = slash === -1 ? '' : rest.slice(slash + 1).replace(/\/+$/, '');
  const url = parseServerUrl(`${scheme}${host}`);
  if (path !== '' && !isName(path)) {
    throw new UsageError(
      `"${path}" is no name of a repository; name the tags with --tags, and the address without /v2/ as in ${host}/team`,
    );
  }
  return { registry: host.toLowerCase(), path, isPlain: url.protocol === 'http:' };
}

/** Which repositories of a registry are meant. */
export class RepositoryChoice {
  /** When they are all named whole, so that no list of the registry is needed; each once. */
  readonly exact: readonly string[] | undefined;
  readonly #path: string;
  readonly #patterns: readonly string[];

  /**
   * @param patterns with `*` for any characters, `?` for one; all are meant when there is none
   * @throws {UsageError} when one of them names what is not below the path
   */
  constructor(path: string, patterns: readonly string[]) {
    this.#path = path;
    this.#patterns = patterns;
    const names = patterns.filter((pattern) => !/[*?]/.test(pattern));
    for (const name of names) {
      if (!isName(name)) throw new UsageError(`"${name}" is no name of a repository, as in team/app`);
      if (!this.#isBelow(name)) throw new UsageError(`the repository ${name} is not below ${path}`);
    }
    this.exact = names.length > 0 && names.length === patterns.length ? [...new Set(names)] : undefined;
  }

  has(name: string): boolean {
    if (!this.#isBelow(name)) return false;
    return this.#patterns.length === 0 || this.#patterns.some((pattern) => isWildcardMatch(pattern, name));
  }

  #isBelow(name: string): boolean {
    return this.#path === '' || name === this.#path || name.startsWith(`${this.#path}/`);
  }
}

/** What a repository is called on the server. */
export interface TargetName {
  readonly name: string;
  /** Undefined for the default project of the server, which is always there. */
  readonly project: string | undefined;
}

/**
 * `team/app` is in the project team and `app` in the default one; with a project of one's own they are `P/team/app` and
 * `P/app`.
 *
 * @throws {ClientError} when a Weir cannot have a repository of that name
 */
export function targetNameOf(name: string, project: string | undefined): TargetName {
  const target = project === undefined ? name : `${project}/${name}`;
  try {
    parseRepositoryName(target);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    const { expected } = error.detail as { readonly expected: string };
    const hint = project === undefined ? '; with --project NAME it can be below a project' : '';
    throw new ClientError(`Weir takes no such name; expected ${expected}${hint}`, { cause: error });
  }
  return { name: target, project: target.includes('/') ? target.slice(0, target.indexOf('/')) : undefined };
}

function isName(text: string): boolean {
  return /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/.test(text);
}
