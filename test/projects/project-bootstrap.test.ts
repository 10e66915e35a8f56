import { describe, expect, test } from 'vitest';
import { bareLookup, namespaceKey } from '../../src/projects/namespace-object.js';
import { addProjects } from '../support/projects.js';
import { projectParts, type ProjectParts } from './project-api.js';

const bindings = 'rolebindings.rbac.authorization.k8s.io';

async function namesOf({ store }: ProjectParts, resource: string, namespace: string): Promise<readonly string[]> {
  return (await store.list({ resource, namespace, limit: 100 })).objects.map(({ metadata }) => metadata.name);
}

const usual = ['system:deployers', 'system:image-builders', 'system:image-pullers'];

describe('at the first start', () => {
  test('there are the default project and openshift, which everybody may pull from', async () => {
    const parts = await projectParts();
    await parts.ensure();
    expect(await parts.store.find(namespaceKey('library'))).toMatchObject({ status: { phase: 'Active' } });
    expect(await namesOf(parts, bindings, 'library')).toEqual(usual);
    expect(await namesOf(parts, 'serviceaccounts', 'library')).toEqual(['builder', 'default', 'deployer']);
    expect(await namesOf(parts, bindings, 'openshift')).toEqual(['shared-resource-viewers', ...usual]);
  });

  test('projects of an older version get what every project has', async () => {
    const parts = await projectParts();
    await addProjects(parts.db, ['library', 'openshift', 'team'], [bareLookup]);
    await parts.ensure();
    for (const name of ['library', 'team']) expect(await namesOf(parts, bindings, name)).toEqual(usual);
    expect(await namesOf(parts, bindings, 'openshift')).toEqual(['shared-resource-viewers', ...usual]);
    const version = await parts.store.currentVersion();
    await parts.ensure();
    expect(await parts.store.currentVersion()).toBe(version);
  });
});

describe('at a later start', () => {
  test('nothing changes', async () => {
    const parts = await projectParts();
    await parts.ensure();
    const version = await parts.store.currentVersion();
    await parts.ensure();
    expect(await parts.store.currentVersion()).toBe(version);
  });

  test('what somebody took out of a project stays out', async () => {
    const parts = await projectParts();
    await parts.ensure();
    await parts.store.commit([
      { kind: 'remove', resource: bindings, namespace: 'library', name: 'system:image-pullers' },
      { kind: 'remove', resource: 'serviceaccounts', namespace: 'library', name: 'deployer' },
    ]);
    const version = await parts.store.currentVersion();
    await parts.ensure();
    expect(await parts.store.currentVersion()).toBe(version);
  });
});
