import { OciError } from '../oci/errors.js';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.js';
import type { RepositoryAction } from './authorize.js';
import type { TokenAccess } from './principal.js';

const repositoryActions: readonly RepositoryAction[] = ['pull', 'push', 'delete'];

/**
 * Parses the scopes of a token request (distribution's token specification, "Requesting a Token"): texts of
 * `repository:<name>:<action>,<action>` or `registry:catalog:*`, separated by spaces. Scopes of other types, and names
 * that cannot exist, grant nothing and are left out, as the specification asks.
 */
export function parseScopes(
  texts: readonly string[],
  parseName: (text: string) => RepositoryName = parseRepositoryName,
): TokenAccess[] {
  return texts
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '')
    .flatMap((text) => parseScope(text, parseName));
}

function parseScope(text: string, parseName: (text: string) => RepositoryName): TokenAccess[] {
  // The name may hold a colon of a host and port in other registries; the actions come after the last one.
  const match = /^([a-z]+)(?:\([^)]*\))?:(.+):([a-z*,]*)$/.exec(text);
  if (match === null) return [];
  const [, type, name, list] = match;
  const actions = list!.split(',').filter((action) => action !== '');
  if (type === 'registry' && name === 'catalog') return [{ type, name, actions }];
  if (type !== 'repository') return [];
  try {
    return [{ type, name: parseName(name!), actions }];
  } catch (error) {
    if (error instanceof OciError) return [];
    throw error;
  }
}

/** Who can say what somebody may do. */
export interface Rights {
  readonly mayInRepository: (action: RepositoryAction, repository: RepositoryName) => Promise<boolean>;
  readonly mayListCatalog: () => Promise<boolean>;
}

/** The part of the wanted access that somebody really has, a line for each name. */
export async function grantedAccess(rights: Rights, wanted: readonly TokenAccess[]): Promise<TokenAccess[]> {
  const granted = new Map<string, TokenAccess>();
  for (const access of wanted) {
    const key = `${access.type}:${access.name}`;
    const actions = new Set([...(granted.get(key)?.actions ?? []), ...(await grantedActions(rights, access))]);
    if (actions.size > 0) granted.set(key, { type: access.type, name: access.name, actions: [...actions] });
  }
  return [...granted.values()];
}

async function grantedActions(rights: Rights, { type, name, actions }: TokenAccess): Promise<readonly string[]> {
  if (type === 'registry') return actions.includes('*') && (await rights.mayListCatalog()) ? ['*'] : [];
  const repository = parseRepositoryName(name);
  const granted: string[] = [];
  for (const action of repositoryActions) {
    const isWanted = actions.includes(action) || actions.includes('*');
    if (isWanted && (await rights.mayInRepository(action, repository))) granted.push(action);
  }
  return granted;
}
