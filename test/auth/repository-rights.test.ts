import { beforeEach, describe, expect, test } from 'vitest';
import { AccessPolicy, policyResources } from '../../src/auth/policy.js';
import { anonymous, type Principal } from '../../src/auth/principal.js';
import { RepositoryRights, type PushTargets } from '../../src/auth/repository-rights.js';
import type { PolicyRule } from '../../src/auth/rules.js';
import type { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { namespacesResource } from '../../src/metadata/object-store.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { openTwice, put, putBinding, putRole, remove } from '../support/stored-access.js';

const image = 'image.openshift.io';
const layers = (...verbs: readonly string[]): PolicyRule => ({
  verbs,
  apiGroups: [image],
  resources: ['imagestreams/layers'],
});
const roles: Readonly<Record<string, readonly PolicyRule[]>> = {
  puller: [layers('get')],
  pusher: [layers('get', 'update')],
  updater: [layers('update')],
  deleter: [{ verbs: ['delete'], apiGroups: [image], resources: ['imagestreamtags'] }],
  pruner: [{ verbs: ['delete'], apiGroups: [image], resources: ['images'] }],
  lister: [{ verbs: ['list'], apiGroups: [image], resources: ['imagestreams'] }],
  creator: [{ verbs: ['create'], apiGroups: [image], resources: ['imagestreams'] }],
  'one-puller': [{ ...layers('get'), resourceNames: ['app__web'] }],
  'project-viewer': [{ verbs: ['get'], apiGroups: ['project.openshift.io'], resources: ['projects'] }],
};

const bob: Principal = {
  kind: 'user',
  name: 'bob',
  groups: ['system:authenticated'],
  basis: { kind: 'password', user: 'bob', stamp: '' },
};
const app = parseRepositoryName('team/app');
const web = parseRepositoryName('team/app/web');
const actions = ['pull', 'push', 'delete'] as const;

describe('rights in repositories', () => {
  let store: KyselyObjectStore;
  let policy: AccessPolicy;
  let existing: readonly RepositoryName[];
  let creators: readonly string[];
  let created: string[];
  let rights: RepositoryRights;
  beforeEach(async () => {
    store = (await openTwice(['team', 'other'])).here.objects;
    policy = new AccessPolicy(store);
    for (const [name, rules] of Object.entries(roles)) await putRole(store, { name }, { rules });
    existing = [];
    creators = [];
    created = [];
    rights = new RepositoryRights(policy, targets, { anonymousPull: false });
  });

  const targets: PushTargets = {
    repositoryExists: (repository) => Promise.resolve(existing.includes(repository)),
    projectExists: async (project) =>
      (await store.find({ resource: namespacesResource, namespace: '', name: project })) !== undefined,
    mayCreateProject: ({ name }) => Promise.resolve(creators.includes(name)),
    // Who makes a project may push to it, as the admin of it.
    createProject: async ({ name }, project) => {
      created.push(project);
      await put(store, namespacesResource, { name: project }, {});
      await give(name, ['pusher', 'creator'], project);
    },
    refuseRepository: (project) => Promise.resolve(project === 'full' ? 'exceeded quota' : undefined),
  };

  async function give(user: string, given: readonly string[], namespace = 'team'): Promise<void> {
    for (const role of given) {
      const subjects = [{ kind: user.startsWith('system:') ? 'Group' : 'User', name: user } as const];
      await putBinding(store, { name: `${role}-${user.replaceAll(':', '-')}`, namespace }, { name: role }, subjects);
    }
  }

  async function giveEverywhere(user: string, role: string): Promise<void> {
    await putBinding(store, { name: `${role}-${user}` }, { name: role }, [{ kind: 'User', name: user }]);
  }

  async function mayOf(principal: Principal, repository: RepositoryName): Promise<readonly string[]> {
    const found: string[] = [];
    for (const action of actions) if (await rights.may(principal, action, repository)) found.push(action);
    return found;
  }

  test.each<{ readonly given: readonly string[]; readonly may: readonly string[] }>([
    { given: [], may: [] },
    { given: ['puller'], may: ['pull'] },
    { given: ['pusher'], may: ['pull', 'push'] },
    // OpenShift's registry asks for both.
    { given: ['updater'], may: [] },
    { given: ['updater', 'puller'], may: ['pull', 'push'] },
    { given: ['deleter'], may: ['delete'] },
    // A right to prune counts in the whole cluster only.
    { given: ['pruner'], may: [] },
    { given: ['creator', 'lister', 'project-viewer'], may: [] },
  ])('of roles $given in the project are $may, and none elsewhere', async ({ given, may }) => {
    await give('bob', given);
    expect(await mayOf(bob, app)).toEqual(may);
    expect(await mayOf(bob, parseRepositoryName('other/app'))).toEqual([]);
  });

  test('to prune, in the cluster, let delete everywhere', async () => {
    await giveEverywhere('bob', 'pruner');
    expect(await mayOf(bob, app)).toEqual(['delete']);
    expect(await mayOf(bob, parseRepositoryName('other/app'))).toEqual(['delete']);
  });

  test('to one image stream are to its repository alone', async () => {
    await give('bob', ['one-puller']);
    expect(await mayOf(bob, web)).toEqual(['pull']);
    expect(await mayOf(bob, app)).toEqual([]);
  });

  test('are taken away at the next question', async () => {
    await give('bob', ['puller']);
    expect(await rights.may(bob, 'pull', app)).toBe(true);
    await remove(store, policyResources.roleBindings, { name: 'puller-bob', namespace: 'team' });
    expect(await rights.may(bob, 'pull', app)).toBe(false);
  });

  describe('of nobody', () => {
    const open = () => new RepositoryRights(policy, targets, { anonymousPull: true });

    test('are to pull what is given to system:unauthenticated, when the configuration lets them', async () => {
      await give('system:unauthenticated', ['pusher', 'deleter', 'lister', 'creator']);
      expect(await mayOf(anonymous, app)).toEqual([]);
      expect(await rights.catalogProjects(anonymous)).toEqual([]);
      rights = open();
      expect(await mayOf(anonymous, app)).toEqual(['pull']);
      expect(await mayOf(anonymous, parseRepositoryName('other/app'))).toEqual([]);
      expect(await rights.catalogProjects(anonymous)).toEqual(['team']);
    });

    test('are none by what is given to everyone who is logged in', async () => {
      rights = open();
      await give('system:authenticated', ['pusher', 'lister']);
      expect(await mayOf(anonymous, app)).toEqual([]);
      expect(await rights.catalogProjects(anonymous)).toEqual([]);
      expect(await mayOf(bob, app)).toEqual(['pull', 'push']);
    });

    test('are never to push, into a project or a new one', async () => {
      rights = open();
      creators = [anonymous.name];
      await give('system:unauthenticated', ['pusher', 'creator']);
      expect(await rights.admitPush(anonymous, app)).toBe('denied');
      expect(await rights.of(anonymous).mayInRepository('push', parseRepositoryName('new/app'))).toBe(false);
    });
  });

  describe('to push', () => {
    test('into a repository that is there need no right to make one', async () => {
      existing = [app];
      await give('bob', ['pusher']);
      expect(await rights.admitPush(bob, app)).toBe('allowed');
      expect(await rights.admitPush({ ...bob, name: 'eve' }, app)).toBe('denied');
    });

    test('into a new repository take the right to make its image stream', async () => {
      await give('bob', ['pusher']);
      expect(await rights.admitPush(bob, app)).toBe('denied');
      await give('bob', ['creator']);
      expect(await rights.admitPush(bob, app)).toBe('allowed');
    });

    test('do not come with the right to make image streams', async () => {
      await give('bob', ['creator', 'puller']);
      expect(await rights.admitPush(bob, app)).toBe('denied');
    });

    test('into a project that is not there make it, when the configuration lets them', async () => {
      creators = ['bob'];
      expect(await rights.admitPush(bob, parseRepositoryName('new/app'))).toBe('allowed');
      expect(await rights.admitPush(bob, parseRepositoryName('new/other'))).toBe('allowed');
      expect(created).toEqual(['new']);
    });

    test('never make a project that is there', async () => {
      creators = ['bob'];
      expect(await rights.admitPush(bob, app)).toBe('denied');
      expect(created).toEqual([]);
    });

    test('into a project that is not there are denied, or explained to those who may know', async () => {
      const repository = parseRepositoryName('nowhere/app');
      await giveEverywhere('bob', 'pusher');
      expect(await rights.admitPush(bob, repository)).toBe('denied');
      await giveEverywhere('bob', 'project-viewer');
      expect(await rights.admitPush(bob, repository)).toBe('project-unknown');
      expect(created).toEqual([]);
    });

    test('end where a quota is used up', async () => {
      await put(store, namespacesResource, { name: 'full' }, {});
      await give('bob', ['pusher', 'creator'], 'full');
      expect(await rights.admitPush(bob, parseRepositoryName('full/app'))).toEqual({ refused: 'exceeded quota' });
    });

    test('are denied when the project was made, and its maker may not push to it', async () => {
      const stingy = {
        ...targets,
        mayCreateProject: () => Promise.resolve(true),
        createProject: () => Promise.resolve(),
      };
      const strict = new RepositoryRights(policy, stingy, { anonymousPull: false });
      expect(await strict.admitPush(bob, parseRepositoryName('new/app'))).toBe('denied');
    });
  });

  describe('as the token endpoint asks', () => {
    test('are those of the roles', async () => {
      await give('bob', ['puller']);
      const { mayInRepository } = rights.of(bob);
      expect(await mayInRepository('pull', app)).toBe(true);
      expect(await mayInRepository('push', app)).toBe(false);
      expect(await mayInRepository('delete', app)).toBe(false);
    });

    test('let pull and push, and not delete, where the push would make the project, which is not made yet', async () => {
      creators = ['bob'];
      const { mayInRepository } = rights.of(bob);
      const repository = parseRepositoryName('new/app');
      expect(await mayInRepository('pull', repository)).toBe(true);
      expect(await mayInRepository('push', repository)).toBe(true);
      expect(await mayInRepository('delete', repository)).toBe(false);
      expect(await mayInRepository('push', app)).toBe(false);
      expect(created).toEqual([]);
    });

    test('are to list for everyone who is logged in, and for nobody where something is listed', async () => {
      expect(await rights.of(bob).mayListCatalog()).toBe(true);
      await give('system:unauthenticated', ['lister']);
      expect(await rights.of(anonymous).mayListCatalog()).toBe(false);
      rights = new RepositoryRights(policy, targets, { anonymousPull: true });
      expect(await rights.of(anonymous).mayListCatalog()).toBe(true);
      await remove(store, policyResources.roleBindings, { name: 'lister-system-unauthenticated', namespace: 'team' });
      expect(await rights.of(anonymous).mayListCatalog()).toBe(false);
    });
  });

  describe('to list', () => {
    test('are in the projects of the roles', async () => {
      expect(await rights.catalogProjects(bob)).toEqual([]);
      await give('bob', ['lister'], 'other');
      await give('bob', ['puller'], 'team');
      expect(await rights.catalogProjects(bob)).toEqual(['other']);
    });

    test('are in all of them by a role of the cluster', async () => {
      await giveEverywhere('bob', 'lister');
      expect(await rights.catalogProjects(bob)).toBeUndefined();
    });
  });
});
