import { OciError } from './errors.js';

declare const brand: unique symbol;
/**
 * A validated repository name in its one spelling, `project/path`: a name of one component has been given the default
 * project, and below the project `__` has become `/`. Two texts name the same repository exactly when they parse to
 * the same value.
 */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };

/** OCI Distribution Spec, "Pulling manifests": `<name>`. */
const namePattern = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

/** A project is a namespace, and namespaces are DNS labels (RFC 1123). */
const projectPattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** The longest name of a Kubernetes object, which is what the part below the project becomes. */
const maxStreamNameLength = 253;

/**
 * @param defaultProject what a name of one component is completed with: `app` is `library/app`
 * @throws {OciError} NAME_INVALID, with a detail that says which rule the name breaks
 */
export function parseRepositoryName(text: string, defaultProject = 'library'): RepositoryName {
  // The length is checked first: the pattern backtracks, and a hostile name may be as long as a request line.
  if (text.length > 512 || !namePattern.test(text)) {
    throw nameInvalid(text, 'components of a-z and 0-9, joined inside by one of . _ __ or dashes, separated by /');
  }
  const slash = text.indexOf('/');
  const project = slash === -1 ? defaultProject : text.slice(0, slash);
  const path = text.slice(slash + 1).replaceAll('__', '/');
  if (!projectPattern.test(project)) {
    throw nameInvalid(text, 'a first component (the project) of at most 63 characters a-z, 0-9 and -');
  }
  if (path.replaceAll('/', '__').length > maxStreamNameLength) {
    throw nameInvalid(text, `at most ${maxStreamNameLength} characters below the project, counting / as two`);
  }
  return `${project}/${path}` as RepositoryName;
}

/** The project (namespace) a repository belongs to. */
export function projectOf(name: RepositoryName): string {
  return name.slice(0, name.indexOf('/'));
}

/** The name of the repository's image stream: the part below the project, with `/` spelled `__`. */
export function streamNameOf(name: RepositoryName): string {
  return name.slice(name.indexOf('/') + 1).replaceAll('/', '__');
}

function nameInvalid(text: string, expected: string): OciError {
  return new OciError('NAME_INVALID', { name: text.slice(0, 300), expected });
}
