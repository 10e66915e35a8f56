import { describe, expect, test } from 'vitest';
import type { TokenAccess } from '../../src/auth/principal.js';
import { grantedAccess, parseScopes, type Rights } from '../../src/auth/token-scope.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';

function repository(name: string, ...actions: string[]): TokenAccess {
  return { type: 'repository', name, actions };
}

describe('scopes', () => {
  test.each<{ readonly name: string; readonly texts: readonly string[]; readonly parsed: readonly TokenAccess[] }>([
    { name: 'none', texts: [], parsed: [] },
    { name: 'an empty text', texts: [''], parsed: [] },
    { name: 'spaces', texts: ['   '], parsed: [] },
    { name: 'one action', texts: ['repository:team/app:pull'], parsed: [repository('team/app', 'pull')] },
    {
      name: 'several actions',
      texts: ['repository:team/app:pull,push'],
      parsed: [repository('team/app', 'pull', 'push')],
    },
    {
      name: 'several scopes in one text',
      texts: ['repository:a/b:pull  repository:c/d:push'],
      parsed: [repository('a/b', 'pull'), repository('c/d', 'push')],
    },
    {
      name: 'several texts',
      texts: ['repository:a/b:pull', 'repository:c/d:push repository:e/f:delete'],
      parsed: [repository('a/b', 'pull'), repository('c/d', 'push'), repository('e/f', 'delete')],
    },
    { name: 'a name of one component', texts: ['repository:app:pull'], parsed: [repository('library/app', 'pull')] },
    { name: 'a name in its other spelling', texts: ['repository:a/b__c:pull'], parsed: [repository('a/b/c', 'pull')] },
    { name: 'every action', texts: ['repository:a/b:*'], parsed: [repository('a/b', '*')] },
    { name: 'no action', texts: ['repository:a/b:'], parsed: [repository('a/b')] },
    { name: 'empty actions', texts: ['repository:a/b:,pull,'], parsed: [repository('a/b', 'pull')] },
    { name: 'a resource class', texts: ['repository(plugin):a/b:pull'], parsed: [repository('a/b', 'pull')] },
    {
      name: 'the catalog',
      texts: ['registry:catalog:*'],
      parsed: [{ type: 'registry', name: 'catalog', actions: ['*'] }],
    },
    { name: 'another name of the registry', texts: ['registry:users:*'], parsed: [] },
    { name: 'another type', texts: ['job:build:run', 'repository:a/b:pull'], parsed: [repository('a/b', 'pull')] },
    { name: 'a name that cannot be', texts: ['repository:UPPER/case:pull'], parsed: [] },
    { name: 'a name with a path trick', texts: ['repository:a/../b:pull'], parsed: [] },
    { name: 'a host and port, as names of other registries have', texts: ['repository:host:5000/a:pull'], parsed: [] },
    { name: 'no colons', texts: ['repository'], parsed: [] },
    { name: 'one colon', texts: ['repository:a/b'], parsed: [] },
    { name: 'actions in upper case', texts: ['repository:a/b:PULL'], parsed: [] },
  ])('of $name are parsed', ({ texts, parsed }) => {
    expect(parseScopes(texts)).toEqual(parsed);
  });

  test('complete names as the caller says', () => {
    const parseName = (text: string) => parseRepositoryName(text, 'myproject');
    expect(parseScopes(['repository:app:pull'], parseName)).toEqual([repository('myproject/app', 'pull')]);
  });

  test('pass on what is no refusal of a name', () => {
    const broken = () => {
      throw new TypeError('a mistake');
    };
    expect(() => parseScopes(['repository:a/b:pull'], broken)).toThrow(TypeError);
  });

  test('that are hostile are parsed in no time', () => {
    const began = performance.now();
    parseScopes(['repository:'.repeat(5000), `repository:${'a-'.repeat(5000)}:pull`, 'r'.repeat(50_000)]);
    expect(performance.now() - began).toBeLessThan(500);
  });
});

describe('granted access', () => {
  const rights = (actions: readonly string[], catalog: boolean): Rights => ({
    mayInRepository: (action) => Promise.resolve(actions.includes(action)),
    mayListCatalog: () => Promise.resolve(catalog),
  });
  const admin = rights(['pull', 'push', 'delete'], true);
  const user = rights(['pull', 'push'], true);
  const nobody = rights([], false);
  const catalog: TokenAccess = { type: 'registry', name: 'catalog', actions: ['*'] };

  test.each<{
    readonly name: string;
    readonly who: Rights;
    readonly wanted: readonly TokenAccess[];
    readonly granted: readonly TokenAccess[];
  }>([
    {
      name: 'a user pull and push',
      who: user,
      wanted: [repository('a/b', 'pull', 'push')],
      granted: [repository('a/b', 'pull', 'push')],
    },
    {
      name: 'a user no deletion',
      who: user,
      wanted: [repository('a/b', 'pull', 'delete')],
      granted: [repository('a/b', 'pull')],
    },
    { name: 'a user no line for what is refused', who: user, wanted: [repository('a/b', 'delete')], granted: [] },
    {
      name: 'a user of every action those they have',
      who: user,
      wanted: [repository('a/b', '*')],
      granted: [repository('a/b', 'pull', 'push')],
    },
    {
      name: 'an admin every action',
      who: admin,
      wanted: [repository('a/b', '*')],
      granted: [repository('a/b', 'pull', 'push', 'delete')],
    },
    {
      name: 'no more than was asked',
      who: admin,
      wanted: [repository('a/b', 'push')],
      granted: [repository('a/b', 'push')],
    },
    {
      name: 'no action that does not exist',
      who: admin,
      wanted: [repository('a/b', 'pull', 'admin')],
      granted: [repository('a/b', 'pull')],
    },
    {
      name: 'one line for what was asked twice',
      who: user,
      wanted: [repository('a/b', 'pull'), repository('c/d', 'pull'), repository('a/b', 'push', 'pull')],
      granted: [repository('a/b', 'pull', 'push'), repository('c/d', 'pull')],
    },
    { name: 'a user the catalog', who: user, wanted: [catalog], granted: [catalog] },
    { name: 'the catalog as a whole only', who: admin, wanted: [{ ...catalog, actions: ['read'] }], granted: [] },
    {
      name: 'nobody nothing',
      who: nobody,
      wanted: [repository('a/b', 'pull', 'push', '*'), catalog],
      granted: [],
    },
  ])('gives $name', async ({ who, wanted, granted }) => {
    expect(await grantedAccess(who, wanted)).toEqual(granted);
  });

  test('asks about each repository by itself, and only for what was wanted', async () => {
    const asked: string[] = [];
    const picky: Rights = {
      mayInRepository: (action, name) => {
        asked.push(`${action} ${name}`);
        return Promise.resolve(name === 'a/b');
      },
      mayListCatalog: () => Promise.resolve(true),
    };
    const wanted = [repository('a/b', 'pull'), repository('c/d', 'pull', 'push')];
    expect(await grantedAccess(picky, wanted)).toEqual([repository('a/b', 'pull')]);
    expect(asked).toEqual(['pull a/b', 'pull c/d', 'push c/d']);
  });
});
