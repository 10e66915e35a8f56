import { beforeEach, describe, expect, test } from 'vitest';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { namespaceKey, namespaceTraits, terminatingNamespace } from '../../src/projects/namespace-object.js';
import { ProjectRemoval } from '../../src/projects/project-removal.js';
import { createProject } from '../../src/projects/project-service.js';
import { imagePush } from '../contracts/pushes.js';
import { projectParts, type ProjectParts } from './project-api.js';

const bindings = 'rolebindings.rbac.authorization.k8s.io';
const { signal } = new AbortController();

describe('the removal of projects', () => {
  let parts: ProjectParts;
  beforeEach(async () => {
    parts = await projectParts();
    for (const name of ['going', 'staying']) {
      await createProject(parts.store, parts.contents, name, { admin: 'ada', now: parts.clock.now });
      await parts.repositories.putManifest(
        imagePush({ repository: parseRepositoryName(`${name}/app`), name, tags: ['v1', 'v2'] }),
      );
    }
    await terminate('going');
  });

  async function terminate(name: string): Promise<void> {
    const object = terminatingNamespace((await parts.store.find(namespaceKey(name)))!, parts.clock.now);
    const result = await parts.store.commit([
      { kind: 'replace', resource: 'namespaces', object, ...namespaceTraits(object) },
    ]);
    expect(result.kind).toBe('committed');
  }

  async function countIn(namespace: string): Promise<number> {
    const { count } = await parts.db
      .selectFrom('object')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('namespace', '=', namespace)
      .executeTakeFirstOrThrow();
    return count;
  }

  test('takes those that are going away, with their repositories and objects, and no others', async () => {
    const before = await countIn('staying');
    await parts.removal.run(signal);
    expect(await parts.store.find(namespaceKey('going'))).toBeUndefined();
    expect(await countIn('going')).toBe(0);
    expect(await parts.repositories.listRepositories({ last: undefined, limit: 10 })).toEqual(['staying/app']);
    expect(await countIn('staying')).toBe(before);
    expect(before).toBeGreaterThan(5);
  });

  test('keeps the bindings of members until the namespace goes', async () => {
    let calls = 0;
    const removal = new ProjectRemoval(
      new Proxy(parts.store, {
        get: (store, property) => {
          if (property !== 'commit') return (Reflect.get(store, property) as () => unknown).bind(store);
          return async (writes: Parameters<typeof store.commit>[0]) => {
            calls += 1;
            const left = await parts.db
              .selectFrom('object')
              .select('resource')
              .where('namespace', '=', 'going')
              .execute();
            expect(new Set(left.map(({ resource }) => resource))).toEqual(new Set([bindings]));
            return store.commit(writes);
          };
        },
      }),
      parts.repositories,
    );
    await removal.run(signal);
    expect(calls).toBe(1);
  });

  test('goes on where another run died, whichever step that was', async () => {
    for (let step = 0; ; step += 1) {
      let left = step;
      const fail = () => {
        if (left === 0) throw new Error('died');
        left -= 1;
      };
      const dying = <T extends object>(target: T): T =>
        new Proxy(target, {
          get: (inner, property) => {
            const method = Reflect.get(inner, property) as (...given: unknown[]) => unknown;
            return (...given: unknown[]) => {
              fail();
              return method.apply(inner, given);
            };
          },
        });
      const removal = new ProjectRemoval(dying(parts.store), dying(parts.repositories));
      const end = await removal.run(signal).then(
        () => 'done',
        () => 'died',
      );
      if (end === 'done') break;
      expect(step).toBeLessThan(50);
    }
    expect(await parts.store.find(namespaceKey('going'))).toBeUndefined();
    expect(await countIn('going')).toBe(0);
  });

  test('of a project with many bindings, and by several processes at once, comes to an end', async () => {
    const { store } = parts;
    await createProject(store, parts.contents, 'big', { now: parts.clock.now });
    for (let index = 0; index < 250; index += 1) {
      const metadata = {
        name: `b${index}`,
        namespace: 'big',
        uid: `${index}`,
        creationTimestamp: '2026-01-01T00:00:00Z',
      };
      await store.commit([{ kind: 'create', resource: bindings, object: { metadata, subjects: [], roleRef: {} } }]);
    }
    await terminate('big');
    const other = new ProjectRemoval(store, parts.repositories);
    await Promise.all([parts.removal.run(signal), other.run(signal)]);
    await parts.removal.run(signal);
    expect(await store.find(namespaceKey('big'))).toBeUndefined();
    expect(await countIn('big')).toBe(0);
  });

  test('begins when it is told to, and ends when the process does', async () => {
    parts.removal.start();
    await expect.poll(() => parts.store.find(namespaceKey('going')), { timeout: 5000 }).toBeUndefined();
    await parts.removal.stop();
    await terminate('staying');
    parts.removal.start();
    await parts.removal.stop();
    expect(await parts.store.find(namespaceKey('staying'))).toBeDefined();
  });

  test('leaves one alone that was made anew under the name', async () => {
    await parts.removal.run(signal);
    await createProject(parts.store, parts.contents, 'going', { now: parts.clock.now });
    await parts.removal.run(signal);
    expect(await parts.store.find(namespaceKey('going'))).toMatchObject({ status: { phase: 'Active' } });
  });
});
