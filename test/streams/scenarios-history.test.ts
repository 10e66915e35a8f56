import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { accepted, from, imageNamed, StreamApi } from './stream-api.js';

let registry: TestRegistry;
let team: StreamApi;
beforeAll(async () => {
  registry = await startRegistry();
  await registry.addProject('team');
  team = new StreamApi(registry, 'team');
});
afterAll(() => registry.stop());

test('34: a push goes before what was there, and so does one that returns to an earlier image', async () => {
  const a = (await team.push('app:v1', 'a')).digest;
  const b = (await team.push('app:v1', 'b')).digest;
  expect(await team.images('app:v1')).toEqual([b, a]);
  await team.push('app:v1', 'a');
  expect(await team.images('app:v1')).toEqual([a, b, a]);
  await team.push('app:v1', 'a');
  expect(await team.images('app:v1')).toEqual([a, b, a]);
});

test('36: another image under the pull spec of the head takes its place', async () => {
  await team.create('mapped');
  const reference = 'quay.io/example/app:prod';
  const map = async (name: string) => {
    const { digest, bytes, mediaType } = imageNamed(name);
    const image = {
      metadata: { name: digest },
      dockerImageReference: reference,
      dockerImageManifest: bytes.toString(),
      dockerImageManifestMediaType: mediaType,
    };
    accepted(
      await team.send('POST', 'imagestreammappings', { body: { metadata: { name: 'mapped' }, tag: 'v1', image } }),
      201,
    );
    return digest;
  };
  const a = await map('36 a');
  const [before] = await team.items('mapped:v1');
  expect(before).toMatchObject({ image: a, dockerImageReference: reference });
  const b = await map('36 b');
  expect(await team.items('mapped:v1')).toEqual([{ ...before, image: b }]);
});

test('37: an event clears what was said of failures', async () => {
  await team.push('failed:v1', '37 a');
  const condition = {
    type: 'ImportSuccess',
    status: 'False',
    lastTransitionTime: '2026-01-02T03:04:05Z',
    reason: 'Unauthorized',
    message: 'you may not have access to the container image',
    generation: 1,
  };
  const withCondition = (await team.read('failed')).status.tags!.map((tag) => ({ ...tag, conditions: [condition] }));
  accepted(await team.edit('failed', () => ({ status: { tags: withCondition } }), { path: '/status' }), 200);
  const conditions = async () => (await team.read('failed')).status.tags![0]!.conditions;
  expect(await conditions()).toEqual([condition]);
  await team.push('failed:v1', '37 b');
  expect(await conditions()).toBeUndefined();
});

test('38: a tag that is no longer wanted keeps its history, and is pulled as before', async () => {
  const a = (await team.push('source:v1', '38 a')).digest;
  await team.create('unwanted', { tags: [{ name: 'v1', ...from.tag('source:v1') }] });
  const b = (await team.push('unwanted:v1', '38 b')).digest;
  const edited = accepted(await team.editTags('unwanted', () => []), 200);
  expect(edited.metadata.generation).toBe(2);
  expect(edited.spec.tags).toBeUndefined();
  expect(await team.images('unwanted:v1')).toEqual([b, a]);
  expect(await team.pull('unwanted', 'v1')).toBe(b);
  expect(await team.pull('unwanted', a)).toBe(a);
});

test('40: wanting again what was wanted already does not take back a push', async () => {
  const a = (await team.push('pinned:source', '40 a')).digest;
  const wish = from.image(`pinned@${a}`);
  accepted(await team.putTag('pinned:v1', wish), 201);
  expect(await team.images('pinned:v1')).toEqual([a]);
  const b = (await team.push('pinned:v1', '40 b')).digest;
  accepted(await team.putTag('pinned:v1', wish), 200);
  expect(await team.images('pinned:v1')).toEqual([b, a]);
});
