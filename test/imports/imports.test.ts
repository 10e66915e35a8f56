import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { accepted, from, StreamApi, type Answer } from '../streams/stream-api.js';
import type { Imported } from './import-api.js';

const checked = 'openshift.io/image.dockerRepositoryCheck';

let registry: TestRegistry;
let upstream: FaultyRegistry;
let team: StreamApi;
beforeAll(async () => {
  upstream = await startFaultyRegistry();
  registry = await startRegistry({ WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1' });
  await registry.addProject('team');
  team = new StreamApi(registry, 'team');
});
afterAll(async () => {
  await registry.stop();
  await upstream.close();
});
afterEach(() => {
  upstream.clearFaults();
});

/** A source of the upstream, which speaks plain HTTP. */
function source(name: string, tag: string, policy: object = {}, reference = 'Source') {
  return {
    from: { kind: 'DockerImage', name: `${upstream.host}/${name}` },
    to: { name: tag },
    importPolicy: { insecure: true, ...policy },
    referencePolicy: { type: reference },
  };
}

function send(stream: string, spec: object, metadata: object = {}): Promise<Answer<Imported>> {
  return team.send('POST', 'imagestreamimports', {
    body: { metadata: { name: stream, ...metadata }, spec: { import: true, ...spec } },
  });
}

async function importImages(stream: string, ...images: readonly object[]): Promise<Imported> {
  return accepted(await send(stream, { images }), 201);
}

describe('importing images', () => {
  test('56: an image is imported, and its tag is where it came from', async () => {
    const a = upstream.addImage('busybox', '1', 'busybox A');
    const { status } = await importImages('first', source('busybox:1', '1'));
    expect(status.images).toMatchObject([
      { status: { status: 'Success' }, tag: '1', image: { metadata: { name: a.digest } } },
    ]);
    expect(status.images?.[0]?.image).not.toHaveProperty('dockerImageManifest');
    expect(status.images?.[0]?.image).not.toHaveProperty('dockerImageConfig');
    const { metadata, spec, status: now } = await team.read('first');
    expect(status.import).toMatchObject({
      kind: 'ImageStream',
      metadata: { resourceVersion: metadata.resourceVersion },
    });
    expect(metadata.annotations).toHaveProperty([checked]);
    expect(metadata.generation).toBe(1);
    expect(spec.tags).toEqual([
      {
        name: '1',
        ...from.docker(`${upstream.host}/busybox:1`),
        generation: 1,
        importPolicy: { insecure: true, importMode: 'Legacy' },
        referencePolicy: { type: 'Source' },
      },
    ]);
    expect(now.tags).toMatchObject([
      {
        tag: '1',
        items: [{ image: a.digest, dockerImageReference: `${upstream.host}/busybox@${a.digest}`, generation: 1 }],
      },
    ]);
    expect(await team.pull('first', '1')).toBe(a.digest);
  });

  test('57: the same image again changes nothing', async () => {
    upstream.addImage('again', '1');
    await importImages('again', source('again:1', '1'));
    const before = await team.read('again');
    await importImages('again', source('again:1', '1'));
    expect(await team.read('again')).toEqual(before);
  });

  test('58: what may not be had is a condition, and the tag keeps what it is', async () => {
    const a = upstream.addImage('private', '1');
    await importImages('kept', source('private:1', '1'));
    upstream.addFault({
      kind: 'answer',
      path: /private/,
      status: 401,
      body: '{"errors":[{"code":"UNAUTHORIZED","message":"log in first"}]}',
    });
    const { status } = await importImages('kept', source('private:1', '1'), source('private:2', '2'));
    for (const [position, tag] of ['1', '2'].entries()) {
      expect(status.images?.[position]).toMatchObject({
        status: { status: 'Failure', reason: 'Unauthorized', code: 401 },
        tag,
      });
      expect(status.images?.[position]).not.toHaveProperty('image');
      // Which credential was shown, and what the registry said.
      expect(status.images?.[position]?.status.message).toMatch(
        /you may not have access to the container image .*credential shown: none.*log in first/,
      );
    }
    const { spec, status: now, metadata } = await team.read('kept');
    expect(metadata.generation).toBe(2);
    expect(spec.tags?.map(({ name, generation }) => [name, generation])).toEqual([
      ['1', 2],
      ['2', 2],
    ]);
    expect(now.tags?.map(({ conditions }) => conditions)).toMatchObject([
      [{ type: 'ImportSuccess', status: 'False', reason: 'Unauthorized', generation: 2 }],
      [{ type: 'ImportSuccess', status: 'False', reason: 'Unauthorized', generation: 2 }],
    ]);
    expect(await team.images('kept:1')).toEqual([a.digest]);
    // The same failure is told once.
    await importImages('kept', source('private:1', '1'));
    expect((await team.read('kept')).metadata.resourceVersion).toBe(metadata.resourceVersion);
    // And goes when the import succeeds.
    upstream.clearFaults();
    await importImages('kept', source('private:1', '1'));
    expect((await team.read('kept')).status.tags?.[0]).not.toHaveProperty('conditions');
  });

  test('60: the reference policy of a tag stays, its import policy becomes that of the import', async () => {
    upstream.addImage('policies', '1');
    await importImages('policies', source('policies:1', '1', {}, 'Local'));
    await importImages('policies', source('policies:1', '1', { scheduled: true }, 'Source'));
    expect((await team.read('policies')).spec.tags).toMatchObject([
      { importPolicy: { insecure: true, scheduled: true }, referencePolicy: { type: 'Local' } },
    ]);
    expect((await team.read('policies')).metadata.generation).toBe(2);
  });

  test('61: of a repository 50 tags are imported, those that are wanted most first, and the others named', async () => {
    for (let minor = 1; minor <= 60; minor += 1) upstream.addImage('many', `1.${minor}`, 'the same');
    const repository = {
      from: { kind: 'DockerImage', name: `${upstream.host}/many` },
      importPolicy: { insecure: true },
    };
    const { status } = accepted(await send('many', { repository }), 201);
    expect(status.repository?.status).toMatchObject({ status: 'Success' });
    expect(status.repository?.images?.map(({ tag }) => tag)).toEqual(
      Array.from({ length: 50 }, (_, i) => `1.${60 - i}`),
    );
    expect(status.repository?.additionalTags).toEqual(Array.from({ length: 10 }, (_, i) => `1.${10 - i}`));
    const { spec } = await team.read('many');
    expect(spec.tags).toHaveLength(50);
    expect(spec.tags?.find(({ name }) => name === '1.60')).toMatchObject(from.docker(`${upstream.host}/many:1.60`));
  });

  test('a tag of a repository that cannot be had is told, and is none', async () => {
    upstream.addImage('partly', 'good');
    upstream.setTag('partly', 'bad', `sha256:${'0'.repeat(64)}`);
    const repository = {
      from: { kind: 'DockerImage', name: `${upstream.host}/partly` },
      importPolicy: { insecure: true },
    };
    const { status } = accepted(await send('partly', { repository }), 201);
    expect(status.repository?.status).toMatchObject({
      status: 'Failure',
      reason: 'ImportFailed',
      message: 'one of the images from this repository failed to import',
    });
    const { spec, status: now } = await team.read('partly');
    expect(spec.tags?.map(({ name }) => name)).toEqual(['good']);
    expect(now.tags?.find(({ tag }) => tag === 'bad')).toMatchObject({
      items: null,
      conditions: [{ reason: 'NotFound' }],
    });
  });

  test('a repository that is not there imports nothing', async () => {
    const repository = {
      from: { kind: 'DockerImage', name: `${upstream.host}/absent` },
      importPolicy: { insecure: true },
    };
    const { status } = accepted(await send('absent', { repository }), 201);
    expect(status.repository).toMatchObject({ status: { status: 'Failure', reason: 'NotFound' } });
    expect(status.repository).not.toHaveProperty('images');
  });

  test('66: only looking changes nothing', async () => {
    const a = upstream.addImage('look', '1');
    const looked = accepted(
      await send('look', { import: false, images: [{ ...source('look:1', '1'), includeManifest: true }] }),
      201,
    );
    expect(looked.status.images).toMatchObject([
      {
        status: { status: 'Success' },
        image: { metadata: { name: a.digest }, dockerImageManifest: a.bytes.toString() },
      },
    ]);
    expect(looked.status.images?.[0]?.image?.dockerImageConfig).toBe(a.config.bytes.toString());
    expect(looked.status).not.toHaveProperty('import');
    expect((await team.send('GET', 'imagestreams/look')).status).toBe(404);
  });

  test('121: a stream whose first import fails is there, with what is wanted and why it is not', async () => {
    await importImages('failed', source('nowhere:1', 'v1'));
    const { spec, status } = await team.read('failed');
    expect(spec.tags).toMatchObject([{ name: 'v1', generation: 1 }]);
    expect(status.tags).toMatchObject([
      { tag: 'v1', items: null, conditions: [{ reason: 'NotFound', generation: 1 }] },
    ]);
    expect((await team.send('GET', 'imagestreamtags/failed:v1')).status).toBe(404);
    expect((await team.send('GET', 'imagetags/failed:v1')).status).toBe(200);
  });

  test('a stream that moved meanwhile is a conflict', async () => {
    upstream.addImage('moved', '1');
    await importImages('moved', source('moved:1', '1'));
    const { metadata } = await team.read('moved');
    upstream.addImage('moved', '1', 'another');
    await importImages('moved', source('moved:1', '1'));
    const { status, body } = await send(
      'moved',
      { images: [source('moved:1', '1')] },
      { resourceVersion: metadata.resourceVersion },
    );
    expect(status).toBe(409);
    const now = (await team.read('moved')).metadata.resourceVersion!;
    expect(body.message).toContain(`the image stream was updated from "${metadata.resourceVersion}" to "${now}"`);
  });

  test('an import takes the place of what a tag came from', async () => {
    const a = upstream.addImage('over', '1');
    await team.create('over', {});
    const pushed = await team.push('over:base', 'base');
    accepted(await team.putTag('over:v1', from.tag('over:base')), 201);
    await importImages('over', source('over:1', 'v1'));
    expect(await team.wanted('over:v1')).toMatchObject(from.docker(`${upstream.host}/over:1`));
    expect(await team.images('over:v1')).toEqual([a.digest, pushed.digest]);
  });

  test('bad requests name what is wrong', async () => {
    const wrong = async (spec: object) => {
      const { status, body } = await send('wrong', spec);
      expect(status).toBe(422);
      return body.details.causes?.map(({ field, message }) => `${field}: ${message}`);
    };
    expect(await wrong({})).toEqual([
      'spec: Invalid value: "": you must specify at least one image or a repository import',
    ]);
    expect(await wrong({ images: [{ from: { kind: 'ImageStreamTag', name: 'a:b' } }] })).toEqual([
      'spec.images[0].from.kind: Invalid value: "ImageStreamTag": only DockerImage is supported',
    ]);
    expect(await wrong({ images: [{ from: { kind: 'DockerImage', name: 'a b' }, to: {} }] })).toEqual([
      'spec.images[0].from.name: Invalid value: "a b": invalid reference format',
      'spec.images[0].to.name: Required value: the name of the target tag must be specified',
    ]);
    expect(await wrong({ repository: { from: { kind: 'DockerImage', name: 'quay.io/a/b:c' } } })).toEqual([
      'spec.repository.from.name: Invalid value: "quay.io/a/b:c": you must specify an image repository, not a tag or ID',
    ]);
  });
});
