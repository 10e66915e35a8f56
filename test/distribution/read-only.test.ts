import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageManifest, emptyJson, putManifest, pushImage, startUpload } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

/** One for each setting, on the same data. */
let writable: TestRegistry;
let registry: TestRegistry;
let digest: string;
beforeAll(async () => {
  writable = await startRegistry();
  ({ digest } = await pushImage(writable, 'library/app', 'v1'));
  registry = await startRegistry({ WEIR_DATA_DIR: writable.dataDir, WEIR_MAINTENANCE_READ_ONLY: 'true' });
});
afterAll(async () => {
  await registry.stop();
  await writable.stop();
});

test('85: a registry that is read-only refuses a push with 405, and answers pulls', async () => {
  const push = await putManifest(registry, 'library/app', imageManifest(emptyJson), 'v2');
  expect(push.status).toBe(405);
  expect(push.headers.get('Allow')).toBe('GET, HEAD');
  expect(await push.json()).toMatchObject({
    errors: [{ code: 'UNSUPPORTED', detail: { reason: expect.stringContaining('read-only') as string } }],
  });
  await expect(startUpload(registry, 'library/app')).rejects.toThrow(/405/);
  for (const reference of ['v1', digest]) {
    const path = `/v2/library/app/manifests/${reference}`;
    expect((await registry.fetch(path, { method: 'DELETE' })).status).toBe(405);
    expect((await registry.fetch(path)).status).toBe(200);
  }
});
