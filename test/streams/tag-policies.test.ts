import { beforeEach, describe, expect, test } from 'vitest';
import type { Subjects } from '../../src/auth/policy.js';
import { decodeObject } from '../../src/kube/decode.js';
import type { JsonObject, JsonValue } from '../../src/kube/json.js';
import type { Resource } from '../../src/kube/resource.js';
import { toTable } from '../../src/kube/table.js';
import type { ApiObject, ObjectStore } from '../../src/metadata/object-store.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { TagPolicies, tagPolicyResource } from '../../src/streams/tag-policies.js';
import { apiCall, master } from '../support/api-call.js';
import { openTwice } from '../support/stored-access.js';

const app = parseRepositoryName('team/app');
const deep = parseRepositoryName('team/lib/core');
const ada: Subjects = { name: 'ada', groups: ['devs', 'system:authenticated'] };
const eve: Subjects = { name: 'eve', groups: ['system:authenticated'] };
const pipeline: Subjects = { name: 'system:serviceaccount:team:ci', groups: ['system:serviceaccounts:team'] };

let here: ObjectStore;
let there: ObjectStore;
beforeEach(async () => {
  const databases = await openTwice(['team', 'other']);
  here = databases.here.objects;
  there = databases.there.objects;
});

/** As a client sends it: decoded by the kind's schema, then stored. */
async function create(
  spec: JsonValue,
  { name = 'rule', namespace = 'team', store = here }: { name?: string; namespace?: string; store?: ObjectStore } = {},
): Promise<ApiObject> {
  const resource = tagPolicyResource(store);
  const body: JsonObject = { apiVersion: 'weir.dev/v1', kind: 'TagPolicy', metadata: { name }, spec };
  const object = decodeObject(body, resource, { fieldValidation: 'Strict', warn: () => undefined });
  const call = apiCall({ principal: master, namespace });
  return (await resource.storage.create!(call, object, { dryRun: false })) as ApiObject;
}

async function remove(resource: Resource, name: string): Promise<void> {
  const call = apiCall({ principal: master, namespace: 'team' });
  await resource.storage.remove!(call, name, { dryRun: false, uid: undefined, resourceVersion: undefined });
}

describe('a project without tag policies', () => {
  test('lets every tag move, wants no reason and keeps all events', async () => {
    await create({ protect: [{ tags: ['*'] }], requireReason: ['push'], keepEvents: 1 }, { namespace: 'other' });
    const rules = await new TagPolicies(here).find('team', eve);
    expect(rules.guard(app, 'v1')).toBeUndefined();
    expect(rules.keepEvents?.(app)).toBeUndefined();
    expect(rules.reasonsFor(app)).toEqual([]);
  });
});

describe('a protected tag', () => {
  test.each([
    { tags: ['v*'], tag: 'v1', yes: true },
    { tags: ['v*'], tag: 'latest', yes: false },
    { tags: ['v?'], tag: 'v10', yes: false },
    { tags: ['prod', 'v*'], tag: 'prod', yes: true },
    { tags: ['v*', '!v0*'], tag: 'v0.1', yes: false },
    { tags: ['v*', '!v0*'], tag: 'v1.1', yes: true },
    { tags: ['!*-rc*', '*'], tag: 'v1-rc1', yes: false },
    { tags: ['!*-rc*', '*'], tag: 'v1', yes: true },
  ])('$tag is one by tags $tags: $yes', async ({ tags, tag, yes }) => {
    await create({ protect: [{ tags }] });
    const { guard } = await new TagPolicies(here).find('team', eve);
    expect(guard(app, tag) !== undefined).toBe(yes);
  });

  test('is told by the name of the policy and the patterns', async () => {
    await create({ protect: [{ tags: ['latest'] }, { tags: ['v*', '!v0*'] }] }, { name: 'releases' });
    await create({ protect: [{ tags: ['a', 'b', 'c', 'd', 'e', 'f', 'many'] }] }, { name: 'many' });
    const { guard } = await new TagPolicies(here).find('team', eve);
    expect(guard(app, 'v1')).toBe('policy releases, tags v*, !v0*');
    expect(guard(app, 'many')).toBe('policy many, tags a, b, c, d, e, and 2 more');
  });

  test('is one in the image streams that the policy names only', async () => {
    await create({ streams: ['lib__*', 'ap?'], protect: [{ tags: ['v*'] }] });
    const { guard } = await new TagPolicies(here).find('team', eve);
    expect(guard(app, 'v1')).toBeDefined();
    expect(guard(deep, 'v1')).toBeDefined();
    expect(guard(parseRepositoryName('team/apps'), 'v1')).toBeUndefined();
    expect(guard(parseRepositoryName('team/library'), 'v1')).toBeUndefined();
  });

  test.each<{ readonly subject: JsonObject; readonly who: Subjects; readonly yes: boolean }>([
    { subject: { kind: 'User', name: 'ada' }, who: ada, yes: true },
    { subject: { kind: 'User', name: 'ada' }, who: eve, yes: false },
    { subject: { kind: 'User', name: '*' }, who: eve, yes: false },
    { subject: { kind: 'Group', name: 'devs' }, who: ada, yes: true },
    { subject: { kind: 'Group', name: 'ada' }, who: ada, yes: false },
    { subject: { kind: 'ServiceAccount', name: 'ci' }, who: pipeline, yes: true },
    { subject: { kind: 'ServiceAccount', name: 'ci', namespace: 'team' }, who: pipeline, yes: true },
    { subject: { kind: 'ServiceAccount', name: 'ci', namespace: 'other' }, who: pipeline, yes: false },
    { subject: { kind: 'User', name: 'ci' }, who: pipeline, yes: false },
  ])('may be moved by $who.name when $subject overrides: $yes', async ({ subject, who, yes }) => {
    await create({ protect: [{ tags: ['v*'], overriddenBy: [subject] }] });
    const { guard } = await new TagPolicies(here).find('team', who);
    expect(guard(app, 'v1') === undefined).toBe(yes);
  });

  test('may not be moved by who overrides only one of the rules that say so', async () => {
    await create({ protect: [{ tags: ['v*'], overriddenBy: [{ kind: 'User', name: 'ada' }] }] }, { name: 'mild' });
    await create({ protect: [{ tags: ['v1'] }] }, { name: 'strict' });
    const { guard } = await new TagPolicies(here).find('team', ada);
    expect(guard(app, 'v2')).toBeUndefined();
    expect(guard(app, 'v1')).toBe('policy strict, tags v1');
  });
});

describe('several policies of a project', () => {
  test('keep the fewest events that any of them says, in each image stream', async () => {
    await create({ keepEvents: 100 }, { name: 'all' });
    await create({ streams: ['lib*'], keepEvents: 7 }, { name: 'libs' });
    await create({ streams: ['lib*'], keepEvents: 9 }, { name: 'more-libs' });
    const rules = await new TagPolicies(here).find('team', eve);
    expect(rules.keepEvents?.(app)).toBe(100);
    expect(rules.keepEvents?.(deep)).toBe(7);
  });

  test('want a reason for what any of them names, in each image stream', async () => {
    await create({ requireReason: ['delete', 'rollback'] }, { name: 'all' });
    await create({ streams: ['lib*'], requireReason: ['push', 'delete'] }, { name: 'libs' });
    const rules = await new TagPolicies(here).find('team', eve);
    expect(rules.reasonsFor(app)).toEqual(['delete', 'rollback']);
    expect(rules.reasonsFor(deep)).toEqual(['delete', 'rollback', 'push']);
  });

  test('are at most fifty', async () => {
    for (let count = 1; count <= 50; count += 1) await create({ keepEvents: count }, { name: `rule-${count}` });
    await expect(create({ keepEvents: 51 }, { name: 'rule-51' })).rejects.toMatchObject({
      reason: 'Forbidden',
      message: expect.stringContaining('a project may have at most 50 tag policies') as string,
    });
    await create({ keepEvents: 51 }, { name: 'rule-51', namespace: 'other' });
  });
});

describe('a change of a tag policy', () => {
  test('counts at the next question, also when another process made it', async () => {
    const policies = new TagPolicies(here);
    const isProtected = async () => (await policies.find('team', eve)).guard(app, 'v1') !== undefined;
    expect(await isProtected()).toBe(false);
    await create({ protect: [{ tags: ['v*'] }] }, { store: there });
    expect(await isProtected()).toBe(true);
    await remove(tagPolicyResource(there), 'rule');
    expect(await isProtected()).toBe(false);
  });

  test('is what it takes to read them again', async () => {
    await create({ protect: [{ tags: ['v*'] }] });
    let reads = 0;
    const counting: ObjectStore = new Proxy(here, {
      get: (store, member) => {
        if (member === 'list') reads += 1;
        const value: unknown = Reflect.get(store, member);
        return typeof value === 'function' ? (value.bind(store) as unknown) : value;
      },
    });
    const policies = new TagPolicies(counting);
    for (let count = 0; count < 5; count += 1) await policies.find('team', count % 2 === 0 ? ada : eve);
    expect(reads).toBe(1);
    await create({ keepEvents: 3 }, { name: 'more' });
    for (let count = 0; count < 5; count += 1) await policies.find('team', ada);
    expect(reads).toBe(2);
  });
});

test('a tag policy that says nothing is refused', async () => {
  await expect(create({ streams: ['app'] })).rejects.toMatchObject({
    reason: 'Invalid',
    message:
      'TagPolicy.weir.dev "rule" is invalid: spec: Required value: say at least one of protect, requireReason and keepEvents',
  });
});

test('the table of tag policies says what each of them asks for', async () => {
  await create(
    {
      streams: ['app', 'lib__*'],
      protect: [{ tags: ['v*', '!v0*'] }, { tags: ['prod'] }],
      requireReason: ['rollback', 'delete'],
      keepEvents: 500,
    },
    { name: 'a' },
  );
  await create({ keepEvents: 1 }, { name: 'b' });
  const resource = tagPolicyResource(here);
  const { objects } = await here.list({ resource: 'tagpolicies.weir.dev', namespace: 'team', limit: 10 });
  const table = toTable({
    resource,
    items: objects,
    resourceVersion: '1',
    includeObject: 'None',
    now: new Date('2024-05-01T12:05:00Z'),
  });
  expect(table.columnDefinitions.map(({ name }) => name)).toEqual([
    'Name',
    'Streams',
    'Protects',
    'Reasons',
    'Keeps',
    'Age',
  ]);
  expect(table.rows.map(({ cells }) => cells)).toEqual([
    ['a', 'app,lib__*', 'v*,!v0*; prod', 'rollback,delete', '500', '5m'],
    ['b', '*', '', '', '1', '5m'],
  ]);
});
