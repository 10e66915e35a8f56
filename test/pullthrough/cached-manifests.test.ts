import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.js';
import { parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import type { CachedManifests } from '../../src/pullthrough/cached-manifests.js';
import { content, imageIndex, imageManifest, manifestOf } from '../support/images.js';
import { by, imagePush } from '../contracts/pushes.js';
import { alpine, CacheSetup, createCache, hubAlpine } from './cache-setup.js';

const configOf = (name: string) => content(JSON.stringify({ architecture: 'amd64', os: 'linux', name }));
const config = configOf('old');
const layer = content('layer');
const old = imageManifest(config, [layer]);
const young = imageManifest(configOf('young'), [layer]);
const tag = parseTag('3');
const ada = { name: 'ada', kind: 'user' } as const;

let setup: CacheSetup;
let service: CachedManifests;
beforeEach(async () => {
  setup = await CacheSetup.open();
  service = setup.service();
  setup.upstream.put(hubAlpine, old, '3');
});

const cache = (spec: Record<string, unknown> = {}) => createCache(setup.objects, { registry: 'docker.io', ...spec });
const pull = (reference = '3', by = service) => setup.pull(by, reference);

test('a project that is no cache asks nobody', async () => {
  expect(await setup.pull(service, '3')).toEqual({ digest: undefined, warning: undefined });
  expect(await service.cacheSourceOf(alpine)).toBeUndefined();
  expect(await service.refusePush(alpine)).toBeUndefined();
  expect(setup.upstream.asked).toEqual([]);
});

describe('a tag of a cache', () => {
  beforeEach(() => cache());

  test('is fetched when it is first pulled, with one question', async () => {
    expect(await pull()).toEqual({ digest: old.digest, warning: undefined });
    expect(setup.upstream.takeAsked()).toEqual([`GET ${hubAlpine}:3`, `BLOB ${hubAlpine}@${config.digest}`]);
    expect(setup.upstream.lastAccess).toMatchObject({ isInsecure: false });
    expect(setup.upstream.lastAccess?.credentials({ registry: 'docker.io', path: 'x' })?.origin).toBe(
      'secret hub/pull',
    );
  });

  test('says where it is from and who brought it', async () => {
    await pull();
    expect(await setup.events('3')).toMatchObject([
      {
        image: old.digest,
        cause: 'import',
        actor: { name: 'system:upstream-cache', kind: 'system' },
        reference: `${hubAlpine}@${old.digest}`,
        source: `DockerImage ${hubAlpine}:3`,
      },
    ]);
  });

  test('has what its config says, when that can be had', async () => {
    setup.upstream.putBlob(hubAlpine, config);
    await pull();
    const facts = await setup.streams.factsOf([old.digest as Digest]);
    expect(facts.get(old.digest as Digest)).toMatchObject({ platforms: ['linux/amd64'] });
  });

  test('is asked for once in a window, and by one HEAD', async () => {
    await pull();
    setup.upstream.takeAsked();
    setup.after(299);
    for (let count = 0; count < 5; count += 1) expect(await pull()).toEqual({ digest: old.digest, warning: undefined });
    expect(setup.upstream.takeAsked()).toEqual([]);
    setup.after(1);
    for (let count = 0; count < 5; count += 1) await pull();
    expect(setup.upstream.takeAsked()).toEqual([`HEAD ${hubAlpine}:3`]);
  });

  test('moves when it has moved there, and its history stays', async () => {
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    expect((await pull()).digest).toBe(old.digest);
    setup.after(300);
    expect(await pull()).toEqual({ digest: young.digest, warning: undefined });
    expect((await setup.events('3')).map(({ image }) => image)).toEqual([young.digest, old.digest]);
    setup.upstream.takeAsked();
    expect((await pull(old.digest)).digest).toBe(old.digest);
    expect(setup.upstream.takeAsked()).toEqual([]);
  });

  test('is not fetched again when it moves to an image that is here', async () => {
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    await pull();
    setup.upstream.put(hubAlpine, old, '3');
    setup.upstream.takeAsked();
    setup.after(300);
    expect((await pull()).digest).toBe(old.digest);
    expect(setup.upstream.takeAsked()).toEqual([`HEAD ${hubAlpine}:3`]);
    expect((await setup.events('3')).map(({ image }) => image)).toEqual([old.digest, young.digest, old.digest]);
  });

  test('is fetched again when it was deleted here a moment ago', async () => {
    await pull();
    await setup.repositories.deleteManifest(alpine, old.digest as Digest, by('ada'), setup.now);
    expect((await pull()).digest).toBe(old.digest);
  });

  test('is asked for by each process of its own', async () => {
    await pull();
    setup.upstream.takeAsked();
    const other = setup.service();
    expect((await pull('3', other)).digest).toBe(old.digest);
    await pull('3', other);
    expect(setup.upstream.takeAsked()).toEqual([`HEAD ${hubAlpine}:3`]);
  });

  test('is fetched once by two hundred at the same time', async () => {
    const pulled = await Promise.all(Array.from({ length: 200 }, () => pull()));
    expect(new Set(pulled.map(({ digest }) => digest))).toEqual(new Set([old.digest]));
    expect(setup.upstream.asked.filter((line) => line.startsWith('GET'))).toHaveLength(1);
    expect(await setup.events('3')).toHaveLength(1);
  });

  test('of two processes that fetch it at the same time has one event', async () => {
    const others = [setup.service(), setup.service(), setup.service()];
    const pulled = await Promise.all(others.map((each) => pull('3', each)));
    expect(pulled.map(({ digest }) => digest)).toEqual([old.digest, old.digest, old.digest]);
    expect(await setup.events('3')).toHaveLength(1);
  });

  test('with a window of nothing is asked for with every pull', async () => {
    await setup.objects.commit([
      { kind: 'remove', resource: 'upstreamcaches.weir.dev', namespace: 'hub', name: 'upstream' },
    ]);
    await cache({ freshSeconds: 0 });
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    expect((await pull()).digest).toBe(young.digest);
  });
});

describe('an index', () => {
  const index = imageIndex([old, young]);

  test('is kept as it is, and what it lists is fetched when it is asked for', async () => {
    await cache();
    setup.upstream.put(hubAlpine, index, 'multi');
    expect((await pull('multi')).digest).toBe(index.digest);
    expect(setup.upstream.takeAsked()).toEqual([`GET ${hubAlpine}:multi`]);
    expect((await pull(old.digest)).digest).toBe(old.digest);
    expect(setup.upstream.takeAsked()[0]).toBe(`GET ${hubAlpine}@${old.digest}`);
    expect(await setup.repositories.findManifest(alpine, { kind: 'digest', digest: young.digest as Digest })).toBe(
      undefined,
    );
    expect(await setup.repositories.listTags(alpine, { last: undefined, limit: 10 })).toEqual(['multi']);
  });
});

describe('when the other registry fails', () => {
  beforeEach(() => cache());

  test.each([
    { problem: 'unavailable', words: 'docker.io does not answer' },
    { problem: 'rate-limited', words: 'docker.io lets nothing more be pulled for now' },
    { problem: 'budget', words: 'docker.io may not be asked more often for now' },
    { problem: 'unauthorized', words: 'docker.io wants another credential than it was shown' },
    { problem: 'not-found', words: 'docker.io does not have it' },
    { problem: 'invalid-answer', words: 'docker.io sent something that is not understood' },
  ] as const)('($problem) what is here is served, with a warning', async ({ problem, words }) => {
    await pull();
    setup.after(300);
    setup.upstream.failure = { problem };
    expect(await pull()).toEqual({
      digest: old.digest,
      warning: `299 - "${words}; this is what docker.io had before"`,
    });
  });

  test('it is left alone for a while, and then what it has is served without a warning', async () => {
    await pull();
    setup.after(300);
    setup.upstream.failure = { problem: 'unavailable' };
    await pull();
    setup.upstream.failure = undefined;
    setup.upstream.put(hubAlpine, young, '3');
    setup.upstream.takeAsked();
    expect((await pull()).warning).toBeDefined();
    expect(setup.upstream.takeAsked()).toEqual([]);
    setup.after(15);
    expect(await pull()).toEqual({ digest: young.digest, warning: undefined });
  });

  test.each([
    { problem: 'not-found', status: 404, code: 'MANIFEST_UNKNOWN', retry: undefined },
    { problem: 'rate-limited', status: 429, code: 'TOOMANYREQUESTS', retry: '15' },
    { problem: 'budget', status: 429, code: 'TOOMANYREQUESTS', retry: '15' },
    { problem: 'unavailable', status: 503, code: 'UNSUPPORTED', retry: '15' },
    { problem: 'certificate', status: 503, code: 'UNSUPPORTED', retry: '15' },
    { problem: 'integrity', status: 503, code: 'UNSUPPORTED', retry: '15' },
    { problem: 'denied', status: 403, code: 'DENIED', retry: undefined },
    { problem: 'blocked', status: 403, code: 'DENIED', retry: undefined },
  ] as const)(
    '($problem) and nothing is here, the answer is $status $code',
    async ({ problem, status, code, retry }) => {
      setup.upstream.failure = { problem };
      const refused = { status, code, headers: retry === undefined ? {} : { 'Retry-After': retry } };
      await expect(pull()).rejects.toMatchObject(refused);
      await expect(pull(young.digest)).rejects.toMatchObject(refused);
    },
  );

  test('the message names it, because clients show nothing else', async () => {
    setup.upstream.failure = { problem: 'unavailable' };
    await expect(pull()).rejects.toThrow('docker.io does not answer');
    setup.after(60);
    setup.upstream.failure = { problem: 'rate-limited', retryAfterMs: 90_500 };
    await expect(pull()).rejects.toMatchObject({
      message: 'too many requests: docker.io lets nothing more be pulled for now',
      headers: { 'Retry-After': '91' },
    });
  });

  test('nobody waits longer than is decent for news of what is here, and the news comes all the same', async () => {
    await pull();
    const hasty = setup.service({ patienceMs: 30 });
    let answer: () => void = () => undefined;
    setup.upstream.pause = new Promise<void>((resolve) => {
      answer = resolve;
    });
    setup.upstream.put(hubAlpine, young, '3');
    expect(await pull('3', hasty)).toEqual({
      digest: old.digest,
      warning: '299 - "docker.io has not answered yet; this is what docker.io had before"',
    });
    setup.upstream.pause = undefined;
    answer();
    await expect.poll(async () => (await pull('3', hasty)).digest).toBe(young.digest);
    expect(setup.upstream.asked.filter((line) => line.startsWith('HEAD'))).toHaveLength(1);
  });

  test('an error of our own is told to the log, and what is here is served', async () => {
    await pull();
    setup.after(300);
    setup.upstream.put(hubAlpine, young, '3');
    const broken = new Error('the disk is full');
    setup.limits = {
      refuseSize: () => {
        throw broken;
      },
    };
    expect(await pull()).toMatchObject({
      digest: old.digest,
      warning: expect.stringContaining('could not be stored') as string,
    });
    expect(setup.errors).toEqual([broken]);
    setup.limits = { refuseSize: () => undefined };
    expect((await pull()).digest).toBe(young.digest);
  });

  test('what is no manifest is not kept', async () => {
    setup.upstream.put(hubAlpine, manifestOf({ schemaVersion: 2, layers: 'none' }), 'odd');
    await expect(pull('odd')).rejects.toMatchObject({ status: 503 });
    expect(await setup.repositories.repositoryExists(alpine)).toBe(false);
  });
});

describe('what the other registry does not have', () => {
  test('is not asked for again until a while is over', async () => {
    await cache({ missingSeconds: 60 });
    await expect(pull('none')).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' });
    setup.upstream.put(hubAlpine, young, 'none');
    setup.upstream.takeAsked();
    setup.after(59);
    await expect(pull('none')).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' });
    expect(setup.upstream.takeAsked()).toEqual([]);
    setup.after(1);
    expect((await pull('none')).digest).toBe(young.digest);
  });

  test('leaves no repository behind', async () => {
    await cache();
    await expect(pull('none')).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' });
    expect(await setup.repositories.repositoryExists(alpine)).toBe(false);
  });

  test('and is here stays, and the registry is asked once in that while', async () => {
    await cache({ missingSeconds: 60 });
    await pull();
    setup.upstream.remove(hubAlpine, '3');
    setup.after(300);
    setup.upstream.takeAsked();
    for (let count = 0; count < 3; count += 1) expect((await pull()).digest).toBe(old.digest);
    expect(setup.upstream.takeAsked()).toEqual([`HEAD ${hubAlpine}:3`]);
  });
});

describe('what people decide', () => {
  beforeEach(() => cache());

  /** Makes the tag point at the older image again, as a rollback does. */
  const rollBack = () =>
    setup.streams.edit(async (edit) => {
      await edit.addEvent(alpine, '3', {
        image: old.digest as Digest,
        reference: `${hubAlpine}@${old.digest}`,
        generation: 0,
        cause: 'rollback',
        actor: ada,
        returnedTo: 1,
      });
    });

  test('stays: a tag that was rolled back is not asked for', async () => {
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    await pull();
    await rollBack();
    setup.after(300);
    setup.upstream.takeAsked();
    expect(await pull()).toEqual({ digest: old.digest, warning: undefined });
    expect(setup.upstream.takeAsked()).toEqual([]);
  });

  test('ends with the deletion of the tag', async () => {
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    await pull();
    await rollBack();
    await setup.repositories.deleteTag(alpine, tag, by('ada'));
    expect((await pull()).digest).toBe(young.digest);
  });

  test('stays: a tag with a spec of its own is not asked for', async () => {
    await pull();
    await setup.streams.edit((edit) =>
      edit.putSpecTag(alpine, '3', { generation: 1, body: { from: { kind: 'DockerImage' } }, scheduled: false }),
    );
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    expect((await pull()).digest).toBe(old.digest);
  });

  test('stays: a tag that was pushed before the project was a cache', async () => {
    const pushed = imagePush({ repository: alpine, tags: ['3'] });
    await setup.repositories.putManifest(pushed);
    expect((await pull()).digest).toBe(pushed.digest);
    expect(setup.upstream.takeAsked()).toEqual([]);
  });

  test('stays: a protected tag is fetched and then not asked for', async () => {
    await setup.protect(['3']);
    expect((await pull()).digest).toBe(old.digest);
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    setup.upstream.takeAsked();
    expect(await pull()).toEqual({ digest: old.digest, warning: undefined });
    expect(setup.upstream.takeAsked()).toEqual([]);
  });
});

describe('the limits of the project', () => {
  beforeEach(() => cache());

  test('hold for the size of an image', async () => {
    setup.limits = { refuseSize: () => 'requested usage of storage exceeds the maximum' };
    await expect(pull()).rejects.toThrow('requested usage of storage exceeds the maximum');
    expect(await setup.repositories.repositoryExists(alpine)).toBe(false);
  });

  test('hold for the number of images, and leave what is here', async () => {
    setup.limits = {
      refuseSize: () => undefined,
      refuseImages: (count) => (count > 1 ? 'too many images' : undefined),
    };
    await pull();
    setup.upstream.put(hubAlpine, young, '3');
    setup.after(300);
    expect(await pull()).toEqual({
      digest: old.digest,
      warning: '299 - "too many images; this is what docker.io had before"',
    });
    expect(await setup.events('3')).toHaveLength(1);
  });

  test('hold for the number of repositories, and nobody is asked for what could not be kept', async () => {
    setup.repositoryRefusal = 'exceeded quota: streams';
    await expect(pull()).rejects.toThrow('exceeded quota: streams');
    expect(setup.upstream.takeAsked()).toEqual([]);
  });
});

test('tags that are not pulled through are served when they are here, and nobody is asked', async () => {
  await cache({ tags: ['3*', '!*-rc*'] });
  setup.upstream.put(hubAlpine, young, '4', '3-rc1');
  expect((await pull('3')).digest).toBe(old.digest);
  setup.upstream.takeAsked();
  for (const reference of ['4', '3-rc1']) {
    expect(await pull(reference)).toEqual({ digest: undefined, warning: undefined });
  }
  expect(setup.upstream.takeAsked()).toEqual([]);
});

test('a registry that is no longer allowed is not asked, and what is here is served', async () => {
  const allowed: { refusal?: string } = {};
  setup = await CacheSetup.open({ refuse: () => allowed.refusal, ownHost: undefined });
  service = setup.service();
  setup.upstream.put(hubAlpine, old, '3');
  await cache();
  await pull();
  allowed.refusal = 'registry "docker.io" not allowed by whitelist';
  setup.after(300);
  // The caches are read again, as after a start with another configuration.
  await createCache(setup.objects, { registry: 'quay.io' }, { namespace: 'team' });
  setup.upstream.takeAsked();
  expect(await pull()).toMatchObject({
    digest: old.digest,
    warning: expect.stringContaining('may not be pulled from') as string,
  });
  await expect(pull('4')).rejects.toMatchObject({ code: 'DENIED' });
  expect(await service.cacheSourceOf(alpine)).toBeUndefined();
  expect(setup.upstream.takeAsked()).toEqual([]);
});

describe('the repository there', () => {
  test.each([
    { name: 'hub/library/alpine', spec: {}, place: 'docker.io/library/alpine' },
    { name: 'hub/alpine', spec: {}, place: 'docker.io/library/alpine' },
    { name: 'hub/alpine', spec: { path: 'library' }, place: 'docker.io/library/alpine' },
    { name: 'hub/a/b', spec: { registry: 'quay.io', path: 'team/x' }, place: 'quay.io/team/x/a/b' },
    { name: 'hub/app', spec: { registry: 'registry.example:5000' }, place: 'registry.example:5000/app' },
    { name: 'hub/library/alpine', spec: { registry: 'registry-1.docker.io' }, place: 'docker.io/library/alpine' },
  ])('of $name with $spec is $place', async ({ name, spec, place }) => {
    await cache(spec);
    setup.upstream.put(place, young, 'x');
    const repository = parseRepositoryName(name);
    expect((await setup.pull(service, 'x', repository)).digest).toBe(young.digest);
    const source = await service.cacheSourceOf(repository);
    expect(`${source!.registry}/${source!.path}`).toBe(place);
  });
});

test('a push is refused in words that name the other registry', async () => {
  await cache();
  expect(await service.refusePush(alpine)).toMatchObject({
    status: 405,
    code: 'UNSUPPORTED',
    message: 'project hub is a cache of docker.io, and takes no pushes',
  });
});

test('what is served is noted, by tag and by digest', async () => {
  await cache();
  const noted: string[] = [];
  const noting = setup.service({ recorder: { note: (repository, image) => noted.push(`${repository}@${image}`) } });
  await pull('3', noting);
  await pull(old.digest, noting);
  expect(noted).toEqual([`${alpine}@${old.digest}`, `${alpine}@${old.digest}`]);
});
