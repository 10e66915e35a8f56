import { afterAll, beforeAll, expect, test } from 'vitest';
import { emptyJson, imageManifest, putManifest } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ WEIR_POLICY_SPARSE: 'images' });
  for (const project of ['red', 'blue']) await registry.addProject(project);
});
afterAll(() => registry.stop());

const image = imageManifest(emptyJson, [], { annotations: { number: '1' } });

/** As `oc tag --reference` does it, by digest. */
async function refer(project: string, tag: string, toProject: string): Promise<number> {
  const path = `/apis/image.openshift.io/v1/namespaces/${project}/imagestreamtags/a:${tag}`;
  const from = { kind: 'ImageStreamImage', namespace: toProject, name: `a@${image.digest}` };
  const body = {
    metadata: { name: `a:${tag}`, namespace: project },
    tag: { name: tag, from, generation: null, reference: true, referencePolicy: { type: 'Source' } },
  };
  return (await registry.api(path, { method: 'PUT', body })).status;
}

test('a tag that led to a deleted image leads to it again when it is pushed under another name', async () => {
  expect((await putManifest(registry, 'blue/a', image, 'first')).status).toBe(201);
  expect(await refer('red', 'first', 'blue')).toBe(201);
  const deleted = await registry.fetch(`/v2/blue/a/manifests/${image.digest}`, { method: 'DELETE' });
  expect(deleted.status).toBe(202);
  // By way of the other stream it names an image that is not here.
  expect(await refer('blue', 'first', 'red')).toBe(201);
  expect((await registry.fetch('/v2/blue/a/manifests/first', { method: 'HEAD' })).status).toBe(404);

  expect((await putManifest(registry, 'blue/a', image, 'second')).status).toBe(201);
  const pulled = await registry.fetch('/v2/blue/a/manifests/first', { method: 'HEAD' });
  expect(pulled.status).toBe(200);
  expect(pulled.headers.get('docker-content-digest')).toBe(image.digest);
});
