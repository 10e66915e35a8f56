import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.js';
import type { RepositoryName } from '../../src/oci/repository-name.js';
import { CacheRetention } from '../../src/pullthrough/cache-retention.js';
import type { CachedManifests } from '../../src/pullthrough/cached-manifests.js';
import { PullRecorder } from '../../src/pullthrough/pull-recorder.js';
import { imagePush } from '../contracts/pushes.js';
import { content, imageIndex, imageManifest } from '../support/images.js';
import { alpine, CacheSetup, createCache, hubAlpine } from './cache-setup.js';

const day = 86_400;
const running = new AbortController().signal;
const image = (name: string) => imageManifest(content(name), []);
const [popular, lonely] = [image('popular'), image('lonely')];

let setup: CacheSetup;
let recorder: PullRecorder;
let service: CachedManifests;
beforeEach(async () => {
  setup = await CacheSetup.open();
  recorder = new PullRecorder(setup.pulls, () => setup.now);
  service = setup.service({ recorder });
  setup.upstream.put(hubAlpine, popular, 'popular');
  setup.upstream.put(hubAlpine, lonely, 'lonely');
});

const retention = () =>
  new CacheRetention({
    caches: setup.caches,
    recorder,
    pulls: setup.pulls,
    repositories: setup.repositories,
    findRules: setup.policies.find,
    graceMs: 1000,
    now: () => setup.now,
  });
const cache = (spec: Record<string, string> = {}) => createCache(setup.objects, { registry: 'docker.io', ...spec });
const tags = () => setup.repositories.listTags(alpine, { last: undefined, limit: 10 });
const isHere = async (digest: string, repository: RepositoryName = alpine) =>
  (await setup.repositories.findManifest(repository, { kind: 'digest', digest: digest as Digest })) !== undefined;

describe('an image of a cache', () => {
  test('goes with its tag when nobody pulled it for as long as it is kept, and no other', async () => {
    await cache({ keepUnpulled: '30d' });
    await setup.pull(service, 'popular');
    await setup.pull(service, 'lonely');
    setup.after(20 * day);
    await setup.pull(service, 'popular');
    setup.after(11 * day);
    expect(await retention().run(running)).toBe(1);
    expect(await tags()).toEqual(['popular']);
    expect(await isHere(lonely.digest)).toBe(false);
    expect(await setup.events('lonely')).toMatchObject([
      { cause: 'delete', actor: { name: 'system:upstream-cache', kind: 'system' } },
      { cause: 'import', image: lonely.digest },
    ]);
    expect(await retention().run(running)).toBe(0);
  });

  test('comes back when it is pulled again', async () => {
    await cache({ keepUnpulled: '1d' });
    await setup.pull(service, 'lonely');
    setup.after(2 * day);
    await retention().run(running);
    expect((await setup.pull(service, 'lonely')).digest).toBe(lonely.digest);
    expect(await retention().run(running)).toBe(0);
  });

  test('that was pulled a moment ago stays, though it is not written yet', async () => {
    await cache({ keepUnpulled: '1d' });
    await setup.pull(service, 'lonely');
    await recorder.flush();
    setup.after(2 * day);
    await setup.pull(service, 'lonely');
    expect(await retention().run(running)).toBe(0);
  });

  test('stays for ever when nothing else is said', async () => {
    await cache();
    await setup.pull(service, 'lonely');
    setup.after(4000 * day);
    expect(await retention().run(running)).toBe(0);
  });

  test('stays while a policy protects a tag on it', async () => {
    await cache({ keepUnpulled: '1d' });
    await setup.pull(service, 'lonely');
    await setup.pull(service, 'popular');
    await setup.protect(['lonely']);
    setup.after(2 * day);
    expect(await retention().run(running)).toBe(1);
    expect(await tags()).toEqual(['lonely']);
  });

  test('of an index goes by itself, and is fetched again when somebody wants it', async () => {
    await cache({ keepUnpulled: '1d' });
    setup.upstream.put(hubAlpine, imageIndex([popular, lonely]), 'multi');
    await setup.pull(service, 'multi');
    await setup.pull(service, popular.digest);
    await setup.pull(service, lonely.digest);
    for (let hours = 0; hours < 48; hours += 6) {
      setup.after(6 * 3600);
      await setup.pull(service, 'multi');
      await setup.pull(service, popular.digest);
    }
    expect(await retention().run(running)).toBe(1);
    expect(await isHere(lonely.digest)).toBe(false);
    expect((await setup.pull(service, lonely.digest)).digest).toBe(lonely.digest);
  });

  test('goes one after the other, and a run ends when the process does', async () => {
    await cache({ keepUnpulled: '1d' });
    await setup.pull(service, 'lonely');
    setup.after(2 * day);
    expect(await retention().run(AbortSignal.abort())).toBe(0);
    expect(await isHere(lonely.digest)).toBe(true);
  });
});

test('images of projects that are no caches stay', async () => {
  await cache({ keepUnpulled: '1d' });
  const pushed = imagePush({ tags: ['v1'] });
  await setup.repositories.putManifest(pushed);
  setup.after(100 * day);
  expect(await retention().run(running)).toBe(0);
  expect(await isHere(pushed.digest, pushed.repository)).toBe(true);
});

describe('pulls', () => {
  const digest = lonely.digest as Digest;

  test('of one image are written once an hour', async () => {
    const written: number[] = [];
    const counting = new PullRecorder(
      { record: (pulls) => Promise.resolve(written.push(pulls.length)).then(() => undefined) },
      () => setup.now,
    );
    for (let minutes = 0; minutes < 120; minutes += 1) {
      counting.note(alpine, digest);
      counting.note(alpine, popular.digest as Digest);
      await counting.flush();
      setup.after(60);
    }
    expect(written).toEqual([2, 2]);
  });

  test('that could not be written are noted with the next pull', async () => {
    let isBroken = true;
    const written: unknown[] = [];
    const failing = new PullRecorder(
      {
        record: (pulls) => {
          if (isBroken) return Promise.reject(new Error('the disk is full'));
          written.push(...pulls);
          return Promise.resolve();
        },
      },
      () => setup.now,
    );
    failing.note(alpine, digest);
    await expect(failing.flush()).rejects.toThrow('the disk is full');
    isBroken = false;
    await failing.flush();
    expect(written).toEqual([]);
    failing.note(alpine, digest);
    await failing.flush();
    expect(written).toEqual([{ repository: alpine, image: digest, at: setup.now }]);
  });
});
