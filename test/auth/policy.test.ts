import { setImmediate } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { AccessPolicy, policyResources, type Subjects } from '../../src/auth/policy.js';
import type { AccessRequest, PolicyRule } from '../../src/auth/rules.js';
import type { Subject } from '../../src/auth/subjects.js';

import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { openTwice, putBinding, putRole, remove, type OpenDatabase } from '../support/stored-access.js';

const image = 'image.openshift.io';
const readStreams: PolicyRule = { verbs: ['get', 'list'], apiGroups: [image], resources: ['imagestreams'] };
const writeStreams: PolicyRule = { verbs: ['update'], apiGroups: [image], resources: ['imagestreams'] };

const bob: Subjects = { name: 'bob', groups: ['dev', 'system:authenticated'] };
const eve: Subjects = { name: 'eve', groups: ['system:authenticated'] };
const robot: Subjects = {
  name: 'system:serviceaccount:team:robot',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
};

const user = (name: string): Subject => ({ kind: 'User', name });
const group = (name: string): Subject => ({ kind: 'Group', name });
const account = (name: string, namespace?: string): Subject => ({
  kind: 'ServiceAccount',
  name,
  ...(namespace !== undefined && { namespace }),
});

function streams(verb: string, namespace?: string): Extract<AccessRequest, { kind: 'resource' }> {
  return {
    kind: 'resource',
    verb,
    group: image,
    resource: 'imagestreams',
    ...(namespace !== undefined && { namespace }),
  };
}

describe('the policy', () => {
  let here: OpenDatabase;
  let there: OpenDatabase;
  let store: KyselyObjectStore;
  let policy: AccessPolicy;
  beforeEach(async () => {
    ({ here, there } = await openTwice(['team', 'other', 'third']));
    store = here.objects;
    policy = new AccessPolicy(store);
    await putRole(store, { name: 'reader' }, { rules: [readStreams] });
    await putRole(store, { name: 'writer' }, { rules: [writeStreams] });
  });

  describe('without bindings', () => {
    test('allows nobody anything', async () => {
      for (const who of [bob, eve, robot]) {
        expect(await policy.allows(who, streams('get', 'team'))).toBe(false);
        expect(await policy.rulesFor(who, 'team')).toEqual([]);
      }
    });

    test('allows members of system:masters everything, everywhere', async () => {
      const root: Subjects = { name: 'root', groups: ['system:masters'] };
      expect(await policy.allows(root, streams('delete', 'team'))).toBe(true);
      expect(await policy.allows(root, { kind: 'path', verb: 'get', path: '/metrics' })).toBe(true);
      expect(await policy.namespacesWhere(root, (namespace) => streams('get', namespace))).toBeUndefined();
    });

    test('does not take a user for the group of that name', async () => {
      const impostor: Subjects = { name: 'system:masters', groups: ['system:authenticated'] };
      expect(await policy.allows(impostor, streams('get', 'team'))).toBe(false);
    });
  });

  test.each<{ readonly name: string; readonly subject: Subject; readonly allowed: readonly string[] }>([
    { name: 'a user', subject: user('bob'), allowed: ['bob'] },
    { name: 'a group', subject: group('dev'), allowed: ['bob'] },
    { name: 'everyone who is known', subject: group('system:authenticated'), allowed: ['bob', 'eve', robot.name] },
    { name: 'a service account of the namespace', subject: account('robot'), allowed: [robot.name] },
    { name: 'a service account by its namespace', subject: account('robot', 'team'), allowed: [robot.name] },
    { name: 'a service account of another namespace', subject: account('robot', 'other'), allowed: [] },
    { name: 'a service account by its user name', subject: user(robot.name), allowed: [robot.name] },
    {
      name: 'the service accounts of a namespace',
      subject: group('system:serviceaccounts:team'),
      allowed: [robot.name],
    },
    { name: 'a name with a wildcard, which is none', subject: user('*'), allowed: [] },
    { name: 'a user called like a group', subject: user('dev'), allowed: [] },
    { name: 'a group called like a user', subject: group('bob'), allowed: [] },
  ])('gives a role in a namespace to $name, there and nowhere else', async ({ subject, allowed }) => {
    await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'reader' }, [subject]);
    const found: string[] = [];
    for (const who of [bob, eve, robot]) {
      if (await policy.allows(who, streams('get', 'team'))) found.push(who.name);
      expect(await policy.allows(who, streams('get', 'other'))).toBe(false);
      expect(await policy.allows(who, streams('get'))).toBe(false);
      expect(await policy.allows(who, streams('update', 'team'))).toBe(false);
    }
    expect(found).toEqual(allowed);
  });

  test.each<{ readonly name: string; readonly subject: Subject; readonly allowed: readonly string[] }>([
    { name: 'a user', subject: user('bob'), allowed: ['bob'] },
    { name: 'a group', subject: group('dev'), allowed: ['bob'] },
    { name: 'a service account by its namespace', subject: account('robot', 'team'), allowed: [robot.name] },
    { name: 'a service account of no namespace, which is nobody', subject: account('robot'), allowed: [] },
  ])('gives a role in the cluster to $name, in every namespace and in none', async ({ subject, allowed }) => {
    await putBinding(store, { name: 'b' }, { name: 'reader' }, [subject]);
    for (const request of [streams('get', 'team'), streams('get', 'other'), streams('get')]) {
      const found: string[] = [];
      for (const who of [bob, eve, robot]) if (await policy.allows(who, request)) found.push(who.name);
      expect(found).toEqual(allowed);
    }
  });

  test('finds a Role in the namespace of its binding only, and not a ClusterRole of that name', async () => {
    await putRole(store, { name: 'local', namespace: 'other' }, { rules: [readStreams] });
    await putBinding(store, { name: 'b', namespace: 'team' }, { kind: 'Role', name: 'local' }, [user('bob')]);
    await putBinding(store, { name: 'c', namespace: 'team' }, { kind: 'Role', name: 'reader' }, [user('bob')]);
    expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
    await putRole(store, { name: 'local', namespace: 'team' }, { rules: [readStreams] });
    expect(await policy.allows(bob, streams('get', 'team'))).toBe(true);
  });

  test('gathers what several bindings give', async () => {
    await putBinding(store, { name: 'r', namespace: 'team' }, { name: 'reader' }, [user('bob')]);
    await putBinding(store, { name: 'w' }, { name: 'writer' }, [group('dev')]);
    expect(await policy.rulesFor(bob, 'team')).toEqual([writeStreams, readStreams]);
    expect(await policy.rulesFor(bob, '')).toEqual([writeStreams]);
  });

  test('does not mix up people whose names and groups come to the same text', async () => {
    await putBinding(store, { name: 'b' }, { name: 'reader' }, [group('dev')]);
    expect(await policy.allows({ name: 'bob\0dev', groups: [] }, streams('get'))).toBe(false);
    expect(await policy.allows({ name: 'bob', groups: ['dev'] }, streams('get'))).toBe(true);
    expect(await policy.allows({ name: 'bob', groups: ['x\0dev'] }, streams('get'))).toBe(false);
  });

  test('reads on when a namespace has more bindings than fit on a page', async () => {
    await store.commit(
      Array.from({ length: 501 }, (_, index) => ({
        kind: 'create',
        resource: policyResources.roleBindings,
        object: {
          metadata: { name: `b${1000 + index}`, namespace: 'team', uid: `${index}`, creationTimestamp: '' },
          subjects: [user(`user-${index}`)],
          roleRef: { kind: 'ClusterRole', name: 'reader' },
        },
      })),
    );
    expect(await policy.allows({ name: 'user-0', groups: [] }, streams('get', 'team'))).toBe(true);
    expect(await policy.allows({ name: 'user-500', groups: [] }, streams('get', 'team'))).toBe(true);
    expect(await policy.allows({ name: 'user-501', groups: [] }, streams('get', 'team'))).toBe(false);
  });

  describe.each(['here', 'by another process'] as const)('sees at the next question, when it was done %s,', (where) => {
    let writer: KyselyObjectStore;
    beforeEach(() => {
      writer = (where === 'here' ? here : there).objects;
    });

    test('a new binding, and that it was removed', async () => {
      for (let round = 0; round < 3; round += 1) {
        expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
        await putBinding(writer, { name: 'b', namespace: 'team' }, { name: 'reader' }, [user('bob')]);
        expect(await policy.allows(bob, streams('get', 'team'))).toBe(true);
        await remove(writer, policyResources.roleBindings, { name: 'b', namespace: 'team' });
      }
    });

    test('a subject who was taken out of a binding', async () => {
      await putBinding(writer, { name: 'b' }, { name: 'reader' }, [user('bob'), user('eve')]);
      expect(await policy.allows(bob, streams('get', 'team'))).toBe(true);
      await putBinding(writer, { name: 'b' }, { name: 'reader' }, [user('eve')]);
      expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
      expect(await policy.allows(eve, streams('get', 'team'))).toBe(true);
    });

    test('a role that was changed, or removed', async () => {
      await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'reader' }, [user('bob')]);
      expect(await policy.allows(bob, streams('get', 'team'))).toBe(true);
      await putRole(writer, { name: 'reader' }, { rules: [writeStreams] });
      expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
      expect(await policy.allows(bob, streams('update', 'team'))).toBe(true);
      await remove(writer, policyResources.clusterRoles, { name: 'reader' });
      expect(await policy.allows(bob, streams('update', 'team'))).toBe(false);
    });

    test('a role that another one gathers: changed, relabelled, and added', async () => {
      const labels = { 'aggregate-to-all': 'true' };
      const aggregationRule = { clusterRoleSelectors: [{ matchLabels: labels }] };
      await putRole(store, { name: 'all' }, { aggregationRule });
      await putRole(store, { name: 'part', labels }, { rules: [readStreams] });
      await putBinding(store, { name: 'b' }, { name: 'all' }, [user('bob')]);
      const verbs = async () => {
        const found: string[] = [];
        for (const verb of ['get', 'update']) if (await policy.allows(bob, streams(verb))) found.push(verb);
        return found;
      };
      expect(await verbs()).toEqual(['get']);
      await putRole(writer, { name: 'second', labels }, { rules: [writeStreams] });
      expect(await verbs()).toEqual(['get', 'update']);
      await putRole(writer, { name: 'part' }, { rules: [readStreams] });
      expect(await verbs()).toEqual(['update']);
      await putRole(writer, { name: 'second', labels }, { rules: [readStreams] });
      expect(await verbs()).toEqual(['get']);
      await putRole(writer, { name: 'all' }, { aggregationRule: { clusterRoleSelectors: [] } });
      expect(await verbs()).toEqual([]);
    });

    test('a change that was never asked about until it was no longer kept in the log', async () => {
      await putBinding(writer, { name: 'b' }, { name: 'reader' }, [user('bob')]);
      await store.pruneChanges(new Date(Date.now() + 1000));
      expect(await policy.allows(bob, streams('get'))).toBe(true);
      await remove(writer, policyResources.clusterRoleBindings, { name: 'b' });
      await store.pruneChanges(new Date(Date.now() + 1000));
      expect(await policy.allows(bob, streams('get'))).toBe(false);
    });
  });

  test('answers rightly while bindings come and go', async () => {
    const changes = (async () => {
      for (let round = 0; round < 30; round += 1) {
        await putBinding(there.objects, { name: 'b' }, { name: 'reader' }, [user('bob')]);
        await putBinding(there.objects, { name: 'b' }, { name: 'reader' }, [user('eve')]);
      }
    })();
    const over = new AbortController();
    void changes.finally(() => {
      over.abort();
    });
    while (!over.signal.aborted) {
      await Promise.all([bob, eve, robot, bob, eve].map((who) => policy.allows(who, streams('get', 'team'))));
      // What is read at once never gives the other process its turn.
      await setImmediate();
    }
    await changes;
    expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
    expect(await policy.allows(eve, streams('get', 'team'))).toBe(true);
  });

  test.each([
    { name: 'by another', who: eve, request: streams('get', 'team') },
    { name: 'in another group', who: { ...bob, groups: ['system:authenticated'] }, request: streams('get', 'team') },
    { name: 'by somebody named like the group', who: { name: 'dev', groups: [] }, request: streams('get', 'team') },
    {
      name: 'by a name that reads like the other with groups',
      who: { name: 'bob",["dev"', groups: [] },
      request: streams('get', 'team'),
    },
    { name: 'with another verb', who: bob, request: streams('update', 'team') },
    { name: 'in another namespace', who: bob, request: streams('get', 'other') },
    { name: 'in all namespaces', who: bob, request: streams('get') },
    { name: 'in another group of the API', who: bob, request: { ...streams('get', 'team'), group: '' } },
    { name: 'of another resource', who: bob, request: { ...streams('get', 'team'), resource: 'imagestreams/layers' } },
    { name: 'of a path', who: bob, request: { kind: 'path', verb: 'get', path: image } },
  ] satisfies { name: string; who: Subjects; request: AccessRequest }[])(
    'does not take a question $name for one that it has answered',
    async ({ who, request }) => {
      await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'reader' }, [group('dev')]);
      expect(await policy.allows(bob, streams('get', 'team'))).toBe(true);
      expect(await policy.allows(who, request)).toBe(false);
    },
  );

  test('tells names of objects apart where a rule does', async () => {
    const rules: readonly PolicyRule[] = [{ ...readStreams, resourceNames: ['app'] }];
    await putRole(store, { name: 'one' }, { rules });
    await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'one' }, [user('bob')]);
    const ask = (name: string) => policy.allows(bob, { ...streams('get', 'team'), name });
    expect([await ask('app'), await ask('other'), await ask('app')]).toEqual([true, false, true]);
    expect(await policy.allows(bob, streams('get', 'team'))).toBe(false);
  });

  test('is not wrong for ever when the database failed once', async () => {
    await putBinding(store, { name: 'b' }, { name: 'reader' }, [user('bob')]);
    const failing = new (class extends KyselyObjectStore {
      isBroken = true;
      override list(query: Parameters<KyselyObjectStore['list']>[0]) {
        return this.isBroken ? Promise.reject(new Error('the disk is gone')) : super.list(query);
      }
    })(here.db);
    const unlucky = new AccessPolicy(failing);
    await expect(unlucky.allows(bob, streams('get'))).rejects.toThrow('the disk is gone');
    failing.isBroken = false;
    expect(await unlucky.allows(bob, streams('get'))).toBe(true);
  });

  describe('finds the namespaces where somebody may do something', () => {
    const where = (who: Subjects) => policy.namespacesWhere(who, (namespace) => streams('list', namespace));

    test('none without a binding that allows it', async () => {
      await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'writer' }, [user('bob')]);
      expect(await where(bob)).toEqual([]);
      expect(await where(eve)).toEqual([]);
    });

    test('all when a role of the cluster allows it', async () => {
      await putBinding(store, { name: 'b' }, { name: 'reader' }, [group('dev')]);
      expect(await where(bob)).toBeUndefined();
      expect(await where(eve)).toEqual([]);
    });

    test('some, sorted and each once, by user, group and service account', async () => {
      await putBinding(store, { name: 'b', namespace: 'third' }, { name: 'reader' }, [user('bob')]);
      await putBinding(store, { name: 'c', namespace: 'third' }, { name: 'reader' }, [group('dev')]);
      await putBinding(store, { name: 'b', namespace: 'other' }, { name: 'reader' }, [group('dev')]);
      await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'reader' }, [account('robot')]);
      await putBinding(store, { name: 'd', namespace: 'other' }, { name: 'reader' }, [account('robot', 'team')]);
      await putBinding(store, { name: 'e', namespace: 'third' }, { name: 'reader' }, [account('robot')]);
      expect(await where(bob)).toEqual(['other', 'third']);
      expect(await where(robot)).toEqual(['other', 'team']);
      expect(await where(eve)).toEqual([]);
    });
  });

  describe('knows who can do something', () => {
    test('members of system:masters always', async () => {
      expect(await policy.whoCan(streams('get', 'team'))).toEqual({ users: [], groups: ['system:masters'] });
    });

    test('subjects of the namespace and of the cluster, sorted, service accounts by their user names', async () => {
      await putBinding(store, { name: 'a' }, { name: 'reader' }, [user('zoe'), group('ops'), account('cd', 'other')]);
      await putBinding(store, { name: 'b', namespace: 'team' }, { name: 'reader' }, [user('bob'), account('robot')]);
      await putBinding(store, { name: 'c', namespace: 'team' }, { name: 'writer' }, [user('writer')]);
      await putBinding(store, { name: 'd', namespace: 'other' }, { name: 'reader' }, [user('elsewhere')]);
      expect(await policy.whoCan(streams('get', 'team'))).toEqual({
        users: ['bob', 'system:serviceaccount:other:cd', 'system:serviceaccount:team:robot', 'zoe'],
        groups: ['ops', 'system:masters'],
      });
      expect(await policy.whoCan(streams('get'))).toEqual({
        users: ['system:serviceaccount:other:cd', 'zoe'],
        groups: ['ops', 'system:masters'],
      });
    });

    test('and does not name a service account that a binding of the cluster leaves without a namespace', async () => {
      await putBinding(store, { name: 'a' }, { name: 'reader' }, [account('robot')]);
      expect((await policy.whoCan(streams('get', 'team'))).users).toEqual([]);
    });
  });
});
