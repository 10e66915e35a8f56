import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { accepted, StreamApi } from '../streams/stream-api.js';
import { basic, startFaultyRegistry, type FaultyRegistry } from '../support/faulty-registry.js';
import { content, descriptor, imageIndex, imageManifest, types } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { addIndex, addPullSecret, imageOf, ImportApi, insecure, type Imported } from './import-api.js';

const right = { username: 'reader', password: 'right' };
const wrong = { username: 'reader', password: 'wrong' };

let registry: TestRegistry;
let upstream: FaultyRegistry;
let mirror: FaultyRegistry;
/** With a certificate of an authority that is configured. */
let trusted: FaultyRegistry;
/** With a certificate of an authority that nobody knows. */
let untrusted: FaultyRegistry;
/** At an address that nobody allowed. */
let inside: FaultyRegistry;
let folder: string;
let opened: readonly FaultyRegistry[];
let team: StreamApi;
let imports: ImportApi;
beforeAll(async () => {
  opened = [
    (upstream = await startFaultyRegistry()),
    (mirror = await startFaultyRegistry()),
    (trusted = await startFaultyRegistry({ tls: true })),
    (untrusted = await startFaultyRegistry({ tls: true })),
    (inside = await startFaultyRegistry({ host: 'localhost' })),
  ];
  folder = await mkdtemp(join(tmpdir(), 'weir-imports-'));
  const caFile = join(folder, 'ca.pem');
  await writeFile(caFile, trusted.ca);
  registry = await startRegistry({
    WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
    WEIR_IMPORTS_MAX_TAGS_PER_REPOSITORY: '5',
    WEIR_UPSTREAMS_REGISTRIES: JSON.stringify([
      { registry: mirror.host, insecure: true },
      { registry: trusted.host, caFile },
      { registry: `${upstream.host}/mirrored`, mirrors: [`${mirror.host}/hub`] },
      { registry: `${upstream.host}/only`, mirrors: [`${mirror.host}/only`], neverSource: true },
      { registry: `${upstream.host}/twice`, mirrors: [`${mirror.host}/a`, `${mirror.host}/b`], neverSource: true },
      { registry: `${upstream.host}/blocked`, blocked: true },
    ]),
  });
  await registry.addProject('team');
  team = new StreamApi(registry, 'team');
  imports = new ImportApi(registry, 'team');
});
afterAll(async () => {
  await registry.stop();
  for (const each of opened) await each.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => {
  for (const each of opened) each.clearFaults();
});

test('62: of a repository as many tags are imported as are configured, and the others named', async () => {
  for (const tag of ['v1', 'v2', 'other', '3', '3.1', 'abc']) upstream.addImage('few', tag);
  const repository = { from: { kind: 'DockerImage', name: `${upstream.host}/few` }, ...insecure };
  const { status } = accepted(await imports.send('few', { repository }), 201);
  expect(status.repository?.images?.map(({ tag }) => tag)).toEqual(['3.1', '3', 'abc', 'other', 'v1']);
  expect(status.repository?.additionalTags).toEqual(['v2']);
});

describe('the credentials of a project', () => {
  let closed: FaultyRegistry;
  let project: string;
  let here: ImportApi;
  let count = 0;
  beforeAll(async () => {
    closed = await startFaultyRegistry({ auth: { kind: 'basic', ...right }, images: ['a/b/c:1', 'a/b:1', 'a:1'] });
  });
  afterAll(() => closed.close());
  beforeEach(async () => {
    count += 1;
    project = `secrets-${count}`;
    await registry.addProject(project);
    here = new ImportApi(registry, project);
    closed.requests.splice(0);
  });
  const look = () => here.image('app', imageOf(`${closed.host}/a/b:1`, 'v1', insecure));

  test.each([{ isLegacy: false }, { isLegacy: true }])('are shown, of a legacy secret: $isLegacy', async (options) => {
    await addPullSecret(registry, project, 'pull', { [closed.host]: right }, options);
    expect((await look()).status).toEqual({ metadata: {}, status: 'Success' });
    expect(closed.shown).toEqual([basic(right)]);
  });

  test('are those for the longest path, in whichever secret they are', async () => {
    await addPullSecret(registry, project, 'all', { [closed.host]: wrong, [`https://${closed.host}/v2/a`]: wrong });
    await addPullSecret(registry, project, 'part', { [`${closed.host}/a/b`]: right, [`${closed.host}/a/bc`]: wrong });
    expect((await look()).status.status).toBe('Success');
    expect(closed.shown).toEqual([basic(right)]);
  });

  test('that are wrong are named, and never told', async () => {
    await addPullSecret(registry, project, 'pull', { [closed.host]: { username: 'reader', password: 'hunter2' } });
    const { status } = await look();
    expect(status).toMatchObject({
      reason: 'Unauthorized',
      code: 401,
      message: expect.stringContaining(
        `incorrect username or password for image "${closed.host}/a/b:1" (credential shown: secret ${project}/pull`,
      ) as string,
    });
    expect(JSON.stringify(status)).not.toContain('hunter2');
  });

  test('125: are not those of a secret that says so', async () => {
    const annotations = { 'openshift.io/image.excludeSecret': 'true' };
    await addPullSecret(registry, project, 'pull', { [closed.host]: right }, { annotations });
    expect((await look()).status).toMatchObject({
      reason: 'Unauthorized',
      message: expect.stringContaining('did not have credentials to the repository') as string,
    });
    expect(closed.shown).toEqual([]);
  });

  test('are not those of another project', async () => {
    await registry.addProject(`${project}-other`);
    await addPullSecret(registry, `${project}-other`, 'pull', { [closed.host]: right });
    expect((await look()).status.reason).toBe('Unauthorized');
    expect(closed.shown).toEqual([]);
  });

  test('64: that are wrong do not stand before what everyone may have', async () => {
    // Who shows nothing gets a token; who shows something wrong gets none.
    const open = await startFaultyRegistry({ auth: { kind: 'bearer' }, images: ['app:1'] });
    try {
      await addPullSecret(registry, project, 'pull', { [open.host]: wrong });
      open.addFault({ kind: 'answer', path: /^\/token/, status: 401, times: 1 });
      const { status } = await here.image('app', imageOf(`${open.host}/app:1`, 'v1', insecure));
      expect(status.status).toBe('Success');
      const tokens = open.requests.filter(({ path }) => path.startsWith('/token'));
      expect(tokens.map(({ headers }) => headers.authorization)).toEqual([basic(wrong), undefined]);
      // Nor before a whole repository.
      open.revokeTokens();
      open.addFault({ kind: 'answer', path: /^\/token/, status: 401, times: 1 });
      const repository = { from: { kind: 'DockerImage', name: `${open.host}/app` }, ...insecure };
      const whole = accepted(await here.send('whole', { repository }), 201);
      expect(whole.status.repository?.images?.map(({ tag }) => tag)).toEqual(['1']);
    } finally {
      await open.close();
    }
  });
});

describe('65: mirrors', () => {
  test('are asked first, and the tag names the source', async () => {
    const a = mirror.addImage('hub/team/app', '1', 'of the mirror');
    upstream.requests.splice(0);
    const from = `${upstream.host}/mirrored/team/app:1`;
    expect((await imports.image('mirrored', imageOf(from, 'v1', insecure))).status.status).toBe('Success');
    expect(upstream.seen).toEqual([]);
    expect(await team.items('mirrored:v1')).toMatchObject([
      { image: a.digest, dockerImageReference: `${upstream.host}/mirrored/team/app@${a.digest}` },
    ]);
    expect(await team.wanted('mirrored:v1')).toMatchObject({ from: { name: from } });
  });

  test('that do not have it make room for the source', async () => {
    const a = upstream.addImage('mirrored/late', '1');
    const { status, image } = await imports.image('late', imageOf(`${upstream.host}/mirrored/late:1`, 'v1', insecure));
    expect(status.status).toBe('Success');
    expect(image?.metadata.name).toBe(a.digest);
  });

  test('may be all that is asked', async () => {
    upstream.addImage('only/app', '1');
    upstream.requests.splice(0);
    const { status } = await imports.image('only', imageOf(`${upstream.host}/only/app:1`, 'v1', insecure));
    expect(status).toMatchObject({ status: 'Failure', reason: 'NotFound' });
    expect(upstream.seen).toEqual([]);
  });

  test('that all fail are all told of', async () => {
    mirror.addFault({ kind: 'answer', path: /^\/v2\/a\//, status: 403, body: '{"errors":[{"code":"DENIED"}]}' });
    const { status } = await imports.image('twice', imageOf(`${upstream.host}/twice/app:1`, 'v1', insecure));
    expect(status.status).toBe('Failure');
    expect(status.message).toContain(`mirror ${mirror.host}/a/app`);
    expect(status.message).toContain(`mirror ${mirror.host}/b/app`);
  });

  test('do not help what is blocked', async () => {
    upstream.addImage('blocked/app', '1');
    upstream.requests.splice(0);
    const { status } = await imports.image('blocked', imageOf(`${upstream.host}/blocked/app:1`, 'v1', insecure));
    expect(status).toMatchObject({
      reason: 'Forbidden',
      code: 403,
      message: expect.stringContaining(`registry ${upstream.host} blocked`) as string,
    });
    expect(upstream.seen).toEqual([]);
  });
});

describe('an index', () => {
  const preserve = { importPolicy: { insecure: true, importMode: 'PreserveOriginal' } };

  test('is imported as it is, with all that it lists', async () => {
    const { index, children } = addIndex(upstream, 'multi', '1', ['linux/amd64', 'linux/arm64', 'windows/amd64']);
    const of = await imports.image('multi', imageOf(`${upstream.host}/multi:1`, 'v1', preserve));
    expect(of.image?.metadata.name).toBe(index.digest);
    expect(of.image?.dockerImageManifests?.map(({ digest }) => digest)).toEqual(children.map(({ digest }) => digest));
    expect(of.manifests?.map(({ metadata }) => metadata.name)).toEqual(children.map(({ digest }) => digest));
    expect(of.manifests?.[1]).toMatchObject({
      dockerImageReference: `${upstream.host}/multi@${children[1]!.digest}`,
      dockerImageMetadata: { Architecture: 'arm64' },
    });
    expect(await team.images('multi:v1')).toEqual([index.digest]);
    for (const { digest } of [index, ...children]) {
      expect(await team.pull('multi', digest)).toBe(digest);
      expect((await team.send('GET', `imagestreamimages/multi@${digest}`)).status).toBe(200);
    }
    const layers = accepted(await team.send<{ images: object }>('GET', 'imagestreams/multi/layers'), 200);
    expect(Object.keys(layers.images).sort()).toEqual([index, ...children].map(({ digest }) => digest).sort());
  });

  test('shows the configs of what it lists to those who want them', async () => {
    addIndex(upstream, 'shown', '1', ['linux/amd64', 'linux/arm64']);
    const { manifests } = await imports.image('shown', {
      ...imageOf(`${upstream.host}/shown:1`, '', preserve),
      includeManifest: true,
    });
    expect(manifests?.map(({ dockerImageConfig }) => JSON.parse(dockerImageConfig!) as unknown)).toMatchObject([
      { architecture: 'amd64' },
      { architecture: 'arm64' },
    ]);
  });

  test.each([
    { name: 'that of this machine', platforms: ['linux/s390x', 'linux/amd64', 'linux/arm64'], taken: own() },
    { name: 'that for linux/amd64', platforms: ['plan9/mips', 'linux/amd64'], taken: 'linux/amd64' },
    { name: 'the first', platforms: ['plan9/mips', 'linux/s390x'], taken: 'plan9/mips' },
  ])('gives a tag $name', async ({ name, platforms, taken }) => {
    const repository = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
    const { children } = addIndex(upstream, repository, '1', platforms);
    const chosen = children[platforms.indexOf(taken)]!.digest;
    const { image, manifests } = await imports.image(
      repository,
      imageOf(`${upstream.host}/${repository}:1`, 'v1', insecure),
    );
    expect(image?.metadata.name).toBe(chosen);
    expect(manifests).toBeUndefined();
    expect(await team.items(`${repository}:v1`)).toMatchObject([
      { image: chosen, dockerImageReference: `${upstream.host}/${repository}@${chosen}` },
    ]);
  });

  test('gives a tag the image for the platform that the tag says', async () => {
    const platforms = ['linux/amd64', 'linux/arm64', 'windows/amd64', 'windows/arm64'];
    const { children } = addIndex(upstream, 'preferred', '1', platforms);
    const from = `${upstream.host}/preferred:1`;
    const wish = (kind: 'os' | 'arch', value: string) => ({ [`importer.image.openshift.io/prefer-${kind}`]: value });
    await team.create('preferred', {
      tags: [
        { name: 'arm', from: { kind: 'DockerImage', name: from }, annotations: wish('arch', 'arm64') },
        { name: 'win', from: { kind: 'DockerImage', name: from }, annotations: wish('os', 'windows') },
        {
          name: 'both',
          from: { kind: 'DockerImage', name: from },
          annotations: { ...wish('os', 'windows'), ...wish('arch', 'arm64') },
        },
        { name: 'none', from: { kind: 'DockerImage', name: from }, annotations: wish('arch', 'mips') },
      ],
    });
    const results = await imports.images('preferred', [
      ...['arm', 'win', 'both', 'none', 'new'].map((tag) => imageOf(from, tag, insecure)),
    ]);
    const expected = ['linux/arm64', own().replace('linux', 'windows'), 'windows/arm64', 'linux/amd64', own()];
    expect(results.map(({ image }) => image?.metadata.name)).toEqual(
      expected.map((platform) => children[platforms.indexOf(platform)]!.digest),
    );
    expect((await team.wanted('preferred:arm'))?.annotations).toEqual(wish('arch', 'arm64'));
  });

  test('without images has none for a tag', async () => {
    upstream.addManifest('empty', imageIndex([]), '1');
    const { status } = await imports.image('empty', imageOf(`${upstream.host}/empty:1`, 'v1', insecure));
    expect(status).toMatchObject({
      reason: 'InternalError',
      message: expect.stringContaining('no manifests in manifest list') as string,
    });
    const whole = await imports.image('empty', imageOf(`${upstream.host}/empty:1`, 'v2', preserve));
    expect(whole.status.status).toBe('Success');
  });
});

describe('a registry', () => {
  test('that speaks HTTP only is not spoken to unless somebody says so', async () => {
    upstream.addImage('plain', '1');
    const { status } = await imports.image('plain', imageOf(`${upstream.host}/plain:1`));
    expect(status).toMatchObject({
      reason: 'BadRequest',
      code: 400,
      message: `the repository ${upstream.host}/plain:1 is HTTP only and requires the insecure flag to import`,
    });
    await team.edit('plain', ({ metadata }) => ({
      metadata: { ...metadata, annotations: { 'openshift.io/image.insecureRepository': 'true' } },
    }));
    expect((await imports.image('plain', imageOf(`${upstream.host}/plain:1`))).status.status).toBe('Success');
  });

  test('whose authority nobody knows is not trusted unless somebody says so', async () => {
    untrusted.addImage('app', '1');
    const from = `${untrusted.host}/app:1`;
    const { status } = await imports.image('untrusted', imageOf(from));
    expect(status).toMatchObject({ reason: 'InternalError', message: expect.stringMatching(/certificate/i) as string });
    expect((await imports.image('untrusted', imageOf(from, 'v1', insecure))).status.status).toBe('Success');
  });

  test('whose authority is configured is trusted', async () => {
    trusted.addImage('app', '1');
    expect((await imports.image('trusted', imageOf(`${trusted.host}/app:1`))).status.status).toBe('Success');
  });

  test('at a private address is not spoken to, and it is said what would allow it', async () => {
    inside.addImage('app', '1');
    inside.requests.splice(0);
    const { status } = await imports.image('inside', imageOf(`${inside.host}/app:1`, 'v1', insecure));
    expect(status).toMatchObject({
      reason: 'Forbidden',
      message: expect.stringContaining('upstreams.allowPrivate') as string,
    });
    expect(inside.seen).toEqual([]);
  });

  test('that has enough of us is told of as that, and left alone as long as it says', async () => {
    const busy = await startFaultyRegistry({ images: ['app:1'] });
    try {
      busy.addFault({ kind: 'answer', status: 429, headers: { 'Retry-After': '3600' }, times: 1 });
      for (const tag of ['v1', 'v2']) {
        const { status } = await imports.image('busy', imageOf(`${busy.host}/app:1`, tag, insecure));
        expect(status).toMatchObject({ reason: 'TooManyRequests', code: 429 });
      }
      expect(busy.requests).toHaveLength(1);
      const { status: now } = await team.read('busy');
      expect(now.tags?.[0]?.conditions).toMatchObject([{ reason: 'TooManyRequests' }]);
    } finally {
      await busy.close();
    }
  });

  test('that sends other bytes than were named is not believed', async () => {
    const a = upstream.addImage('spoilt', '1');
    upstream.addFault({ kind: 'body', path: /spoilt\/manifests/, body: a.bytes.toString().replace('{', '{ ') });
    const { status } = await imports.image('spoilt', imageOf(`${upstream.host}/spoilt@${a.digest}`, 'v1', insecure));
    expect(status).toMatchObject({
      reason: 'InternalError',
      code: 500,
      message: expect.stringContaining('content integrity error: ') as string,
    });
  });
});

describe('an image', () => {
  test('without a tag is only looked at', async () => {
    const a = upstream.addImage('seen', '1');
    const { image, ...rest } = await imports.image('seen', imageOf(`${upstream.host}/seen:1`, '', insecure));
    expect(image?.metadata.name).toBe(a.digest);
    expect(rest).not.toHaveProperty('tag');
    const { spec, status } = await team.read('seen');
    expect([spec.tags ?? [], status.tags ?? []]).toEqual([[], []]);
    const answer = await registry.api(`/apis/image.openshift.io/v1/images/${a.digest}`);
    expect(answer.status).toBe(404);
  });

  test('that is wanted twice is asked for once', async () => {
    upstream.addImage('twin', '1');
    upstream.requests.splice(0);
    const from = `${upstream.host}/twin:1`;
    await imports.images('twin', [imageOf(from, 'a', insecure), imageOf(from, 'b', insecure)]);
    expect(upstream.seen.filter((seen) => seen.includes('/manifests/'))).toEqual(['GET /v2/twin/manifests/1']);
    expect((await team.read('twin')).status.tags?.map(({ tag }) => tag)).toEqual(['a', 'b']);
  });

  test('is named by its digest, also beside a tag', async () => {
    const a = upstream.addImage('named', '1');
    upstream.addImage('named', '1', 'another by now');
    const from = `${upstream.host}/named:1@${a.digest}`;
    expect((await imports.image('named', imageOf(from, 'v1', insecure))).image?.metadata.name).toBe(a.digest);
    expect(await team.items('named:v1')).toMatchObject([
      { dockerImageReference: `${upstream.host}/named@${a.digest}` },
    ]);
    expect(await team.wanted('named:v1')).toMatchObject({ from: { name: from } });
  });

  test('whose config is no JSON is none', async () => {
    const config = content('this is no JSON');
    upstream.addBlob('odd', config);
    upstream.addManifest('odd', imageManifest(config), '1');
    const { status } = await imports.image('odd', imageOf(`${upstream.host}/odd:1`, 'v1', insecure));
    expect(status).toMatchObject({
      reason: 'InternalError',
      message: expect.stringContaining('the config of the image cannot be read') as string,
    });
  });

  test('may be an artifact, whose config is not looked at', async () => {
    const config = content('name: chart');
    const chart = imageManifest(config, [], {
      config: descriptor('application/vnd.cncf.helm.config.v1+json', config),
      layers: [descriptor('application/vnd.cncf.helm.chart.content.v1.tar+gzip', content('a chart'))],
    });
    upstream.addManifest('chart', chart, '1');
    upstream.requests.splice(0);
    const { status, image } = await imports.image('chart', imageOf(`${upstream.host}/chart:1`, 'v1', insecure));
    expect(status.status).toBe('Success');
    expect(image?.metadata.name).toBe(chart.digest);
    expect(upstream.seen.filter((seen) => seen.includes('/blobs/'))).toEqual([]);
    expect(await team.pull('chart', 'v1')).toBe(chart.digest);
  });

  test('may be of the types of Docker', async () => {
    const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }));
    const image = imageManifest(config, [], {
      mediaType: types.dockerManifest,
      config: descriptor('application/vnd.docker.container.image.v1+json', config),
    });
    upstream.addBlob('docker', config);
    upstream.addManifest('docker', image, '1');
    const found = await imports.image('docker', imageOf(`${upstream.host}/docker:1`, 'v1', insecure));
    expect(found.image).toMatchObject({
      dockerImageManifestMediaType: types.dockerManifest,
      dockerImageMetadata: { Architecture: 'amd64' },
    });
  });
});

test('one of several images that fails leaves the others alone', async () => {
  const a = upstream.addImage('mixed', '1');
  const results: Imported['status']['images'] = await imports.images('mixed', [
    imageOf(`${upstream.host}/mixed:1`, 'good', insecure),
    imageOf(`${upstream.host}/mixed:none`, 'bad', insecure),
  ]);
  expect(results.map(({ status }) => status.reason ?? status.status)).toEqual(['Success', 'NotFound']);
  expect(await team.images('mixed:good')).toEqual([a.digest]);
});

function own(): string {
  return `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
}
