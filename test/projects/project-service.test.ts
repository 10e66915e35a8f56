import { describe, expect, test } from 'vitest';
import { anonymous } from '../../src/auth/principal.js';
import { namespaceKey } from '../../src/projects/namespace-object.js';
import { ProjectService, type CreateOnPush } from '../../src/projects/project-service.js';
import { loggedIn, master } from '../support/api-call.js';
import { projectParts } from './project-api.js';

const dev = loggedIn('dev', 'system:authenticated:oauth');
const robot = loggedIn('system:serviceaccount:ci:robot', 'system:serviceaccounts');

async function services(createOnPush: CreateOnPush, selfProvisioning = true) {
  const parts = await projectParts();
  const { store, policy, contents } = parts;
  return { ...parts, service: new ProjectService({ store, policy, contents, createOnPush, selfProvisioning }) };
}

describe('a push into a project that is not there', () => {
  test.each([
    { createOnPush: 'never', who: master, result: 'refused' },
    { createOnPush: 'admins', who: master, result: 'created' },
    { createOnPush: 'admins', who: dev, result: 'refused' },
    { createOnPush: 'self-provisioners', who: master, result: 'created' },
    { createOnPush: 'self-provisioners', who: dev, result: 'created' },
    { createOnPush: 'self-provisioners', who: robot, result: 'refused' },
    { createOnPush: 'self-provisioners', who: anonymous, result: 'refused' },
    { createOnPush: 'self-provisioners', who: dev, result: 'refused', selfProvisioning: false },
    { createOnPush: 'self-provisioners', who: dev, result: 'refused', project: 'openshift-x' },
    { createOnPush: 'admins', who: master, result: 'created', project: 'openshift-x' },
  ] as const)('of $who.name with createOnPush $createOnPush is $result', async (row) => {
    const { createOnPush, who, result, selfProvisioning = true, project = 'np' } = { ...row };
    const { service, store } = await services(createOnPush, selfProvisioning);
    expect(await service.mayCreateForPush(who, project)).toBe(result === 'created');
    expect(await service.createForPush(who, project)).toBe(result);
    expect((await store.find(namespaceKey(project))) !== undefined).toBe(result === 'created');
    expect(await service.exists(project)).toBe(result === 'created');
  });

  test('makes a requester its administrator, and says who that was', async () => {
    const { service, store, policy } = await services('self-provisioners');
    await service.createForPush(dev, 'np');
    expect(await store.find(namespaceKey('np'))).toMatchObject({
      metadata: { annotations: { 'openshift.io/requester': 'dev' } },
    });
    const push = { kind: 'resource', verb: 'update', group: 'image.openshift.io' } as const;
    expect(await policy.allows(dev, { ...push, resource: 'imagestreams/layers', namespace: 'np' })).toBe(true);
    expect(await service.createForPush(dev, 'np')).toBe('exists');
  });

  test('makes it once, of many at the same time', async () => {
    const { service } = await services('self-provisioners');
    const results = await Promise.all(Array.from({ length: 10 }, () => service.createForPush(dev, 'np')));
    expect(results.filter((result) => result === 'created')).toHaveLength(1);
    expect(results.filter((result) => result === 'exists')).toHaveLength(9);
  });
});
