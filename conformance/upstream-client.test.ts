import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseDigest } from '../src/oci/digest.js';
import { parseReference } from '../src/oci/reference.js';
import { RegistryClient } from '../src/upstream/registry-client.js';
import type { UpstreamRegistry } from '../src/upstream/upstream-settings.js';
import { UpstreamError, type UpstreamAccess, type UpstreamRepository } from '../src/upstream/upstream.js';
import type { Login } from './support/api-token.js';
import { contentOf, mediaTypes, readImage, type Image } from './support/image.js';
import { describeWithPrograms } from './support/suite.js';
import { makeCertificate, type Certificate } from './support/upstreams/certificate.js';
import {
  programOf,
  startRealRegistry,
  type RealRegistry,
  type RegistryKind,
} from './support/upstreams/real-registry.js';
import { seedStorage } from './support/upstreams/seed-storage.js';
import { pushImage, pushReferrer, type Pushed } from './support/upstreams/seed.js';
import { TokenServer } from './support/upstreams/token-server.js';
import { makeWorkspace } from './support/workspace.js';

// Our client of other registries, and registries that others wrote.

const reader: Login = { username: 'reader', password: 'the password of reader' };
const publisher: Login = { username: 'publisher', password: 'the password of publisher' };
const wrong: Login = { ...reader, password: 'wrong' };

const setups = [
  { kind: 'distribution', auth: 'none', tls: false },
  { kind: 'distribution', auth: 'token', tls: true },
  { kind: 'docker-registry', auth: 'token', tls: true },
  { kind: 'docker-registry', auth: 'htpasswd', tls: true },
] as const satisfies readonly { kind: RegistryKind; auth: string; tls: boolean }[];

describe.each(setups)('$kind, authentication: $auth, TLS: $tls', ({ kind, auth, tls: hasTls }) => {
  describeWithPrograms('is read', [programOf(kind)], () => {
    const workspace = makeWorkspace();
    const seededTags = 1200;
    let tls: Certificate;
    let tokens: TokenServer;
    let registry: RealRegistry;
    let client: RegistryClient;
    let index: Pushed;
    let list: Pushed;
    let referrer: Pushed;
    let secret: Pushed;

    /** The client with what an administrator might say of the registry beside its authority. */
    const clientWith = (settings: Partial<UpstreamRegistry> = {}): RegistryClient =>
      new RegistryClient({
        registries: [{ registry: registry.host, ca: registry.caCertificate, tokenHosts: ['localhost'], ...settings }],
        allowPrivate: ['127.0.0.1:*', 'localhost:*'],
        timeoutMs: 10_000,
        userAgent: 'tests',
        environment: {},
        random: () => 0,
      });
    const access = (as: Login | undefined): UpstreamAccess => ({
      credentials: () => as && { ...as, origin: `secret of ${as.username}` },
      isInsecure: !hasTls,
    });
    const as = access(auth === 'none' ? undefined : reader);
    const repository = (name: string): UpstreamRepository => ({ registry: registry.host, path: name });
    const read = (name: string, reference: string, by = as) =>
      client.readManifest(repository(name), parseReference(reference), by);

    beforeAll(async () => {
      tls = await makeCertificate(workspace.makeDirectory('tls'));
      tokens = await TokenServer.start({
        folder: workspace.makeDirectory('tokens'),
        tls,
        users: [
          { ...reader, pull: ['team/*', 'seeded/*'], catalog: true },
          { ...publisher, push: ['*'] },
        ],
        publicRepositories: ['public/app'],
      });
      const folder = workspace.makeDirectory('registry');
      await seedStorage(path.join(folder, 'data'), { repositories: 1, tagsPerRepository: seededTags });
      registry = await startRealRegistry({
        kind,
        folder,
        ...(hasTls && { tls }),
        auth:
          auth === 'htpasswd'
            ? { kind: 'htpasswd', users: [reader, publisher] }
            : auth === 'token'
              ? { kind: 'token', server: tokens }
              : { kind: 'none' },
      });
      client = clientWith();
      const pusher = auth === 'none' ? {} : { as: publisher };
      index = await pushImage(registry, 'team/app', 'v1', { ...pusher, layers: 2, platforms: ['amd64', 'arm64'] });
      list = await pushImage(registry, 'team/app', 'v2', { ...pusher, format: 'docker', platforms: ['amd64', 'arm'] });
      referrer = await pushReferrer(registry, index, { ...pusher, artifactType: 'application/x-sbom', content: 'it' });
      secret = await pushImage(registry, 'other/app', 'v1', pusher);
      await pushImage(registry, 'public/app', 'v1', pusher);
    });
    beforeEach(() => tokens.requests.splice(0));
    afterAll(async () => {
      await client.close();
      await registry.stop();
      await tokens.stop();
      await workspace.remove();
    });

    const readWhole = (pushed: Pushed): Promise<Image> =>
      readImage(
        pushed.image.descriptor,
        async ({ digest }) => (await read(pushed.repository, digest)).bytes,
        async ({ digest }) => {
          const blob = await client.openBlob(repository(pushed.repository), parseDigest(digest), as);
          const chunks: Buffer[] = [];
          for await (const chunk of blob.body) chunks.push(chunk);
          expect(Buffer.concat(chunks)).toHaveLength(blob.size);
          return Buffer.concat(chunks);
        },
      );

    test('by tag and by digest, whole and bit for bit', async () => {
      const { digest } = index;
      expect(await read('team/app', 'v1')).toMatchObject({ digest, mediaType: mediaTypes.index });
      const head = await client.headManifest(repository('team/app'), parseReference('v1'), as);
      expect(head).toEqual({ digest, mediaType: mediaTypes.index });
      expect(contentOf(await readWhole(index))).toEqual(contentOf(index.image));
    });

    test('with the types of Docker', async () => {
      expect(await read('team/app', 'v2')).toMatchObject({ digest: list.digest, mediaType: mediaTypes.dockerIndex });
      const arm = await read('team/app', list.platforms['arm']!);
      expect(arm.mediaType).toBe(mediaTypes.dockerManifest);
      expect(contentOf(await readWhole(list))).toEqual(contentOf(list.image));
    });

    test('blob by blob, with their sizes', async () => {
      for (const [digest, bytes] of index.image.blobs) {
        expect(await client.headBlob(repository('team/app'), parseDigest(digest), as)).toBe(bytes.length);
      }
    });

    test('with more tags than fit on a page', async () => {
      const tags = await gather(client.listTags(repository('seeded/app-0001'), as));
      expect(tags).toHaveLength(seededTags);
      expect(new Set(tags).size).toBe(seededTags);
      expect(tags).toContain('v01200');
      expect((await read('seeded/app-0001', 'v01200')).mediaType).toBe(mediaTypes.manifest);
    });

    test('with its repositories', async () => {
      const repositories = await gather(client.listRepositories(registry.host, as));
      expect(repositories.sort()).toEqual(['other/app', 'public/app', 'seeded/app-0001', 'team/app']);
    });

    test('with the referrers of a manifest', async () => {
      const listed = await client.listReferrers(repository('team/app'), parseDigest(index.digest), as);
      expect(listed).toMatchObject([{ digest: referrer.digest, artifactType: 'application/x-sbom' }]);
      expect(contentOf(await readWhole(referrer))).toEqual(contentOf(referrer.image));
      expect(await client.listReferrers(repository('team/app'), parseDigest(list.digest), as)).toEqual([]);
    });

    test.each([
      { name: 'a tag', get: () => read('team/app', 'none') },
      { name: 'a manifest', get: () => read('team/app', `sha256:${'0'.repeat(64)}`) },
      { name: 'a repository', get: () => read('team/none', 'v1') },
      { name: 'tags of a repository', get: () => gather(client.listTags(repository('team/none'), as)) },
      {
        name: 'a blob',
        get: () => client.openBlob(repository('team/app'), parseDigest(`sha256:${'0'.repeat(64)}`), as),
      },
      {
        name: 'a manifest of another repository',
        get: () => read('team/app', secret.digest),
      },
    ])('and says that $name is not there', async ({ get }) => {
      expect(await failureOf(get())).toMatchObject({ problem: 'not-found', status: 404 });
    });

    if (auth !== 'none') {
      test.each([
        { name: 'no credential', by: undefined, shown: 'none' },
        { name: 'a wrong password', by: wrong, shown: 'secret of reader' },
      ])('not with $name', async ({ by, shown }) => {
        const failure = await failureOf(read('team/app', 'v1', access(by)));
        expect(failure).toMatchObject({ problem: 'unauthorized', status: 401, credential: shown });
        expect(failure.message + failure.stack!).not.toContain('the password of');
      });
    }

    if (auth === 'token') {
      test('anonymously where that may be', async () => {
        expect((await read('public/app', 'v1', access(undefined))).mediaType).toBe(mediaTypes.manifest);
        expect(tokens.requests).toMatchObject([{ shown: undefined, scopes: ['repository:public/app:pull'] }]);
      });

      test('not without the right for it', async () => {
        const failure = await failureOf(read('other/app', 'v1'));
        expect(failure).toMatchObject({ problem: 'denied', status: 401, credential: 'secret of reader' });
        expect(failure.message).not.toContain('password');
      });

      test('with one token for all of a repository', async () => {
        const fresh = clientWith();
        await fresh.readManifest(repository('team/app'), parseReference('v1'), as);
        await fresh.headManifest(repository('team/app'), parseReference('v2'), as);
        await gather(fresh.listTags(repository('team/app'), as));
        expect(tokens.requests).toMatchObject([{ shown: { by: 'basic', username: 'reader' }, status: 200 }]);
        await fresh.close();
      });

      test('without showing the password to a host that nobody named', async () => {
        const careful = clientWith({ tokenHosts: [] });
        const failure = await failureOf(careful.readManifest(repository('team/app'), parseReference('v1'), as));
        expect(failure).toMatchObject({ problem: 'unauthorized', credential: 'none' });
        expect(tokens.requests).toEqual([]);
        await careful.close();
      });
    }

    if (hasTls) {
      test('not when its authority is unknown', async () => {
        const distrustful = clientWith({ ca: undefined });
        const failure = await failureOf(distrustful.readManifest(repository('public/app'), parseReference('v1'), as));
        expect(failure.problem).toBe('certificate');
        await distrustful.close();
      });
    } else {
      test('not when plain HTTP is not allowed', async () => {
        const secure = { ...as, isInsecure: false };
        expect((await failureOf(read('team/app', 'v1', secure))).problem).toBe('http-only');
      });
    }
  });
});

describeWithPrograms('a registry whose tokens are had by POST only', ['registry'], () => {
  const workspace = makeWorkspace();
  let tokens: TokenServer;
  let registry: RealRegistry;

  beforeAll(async () => {
    tokens = await TokenServer.start({
      folder: workspace.makeDirectory('tokens'),
      users: [{ ...reader, pull: ['*'] }],
      methods: ['POST'],
    });
    const folder = workspace.makeDirectory('registry');
    await seedStorage(path.join(folder, 'data'), { repositories: 1, tagsPerRepository: 1 });
    registry = await startRealRegistry({ kind: 'distribution', folder, auth: { kind: 'token', server: tokens } });
  });
  afterAll(async () => {
    await registry.stop();
    await tokens.stop();
    await workspace.remove();
  });

  test('is read all the same', async () => {
    const client = new RegistryClient({
      registries: [{ registry: registry.host, tokenHosts: ['localhost'] }],
      allowPrivate: ['127.0.0.1:*', 'localhost:*'],
      timeoutMs: 10_000,
      userAgent: 'tests',
      environment: {},
    });
    const of = { registry: registry.host, path: 'seeded/app-0001' };
    const access = { credentials: () => ({ ...reader, origin: 'secret of reader' }), isInsecure: true };
    const { mediaType } = await client.readManifest(of, parseReference('v00001'), access);
    expect(mediaType).toBe(mediaTypes.manifest);
    expect(tokens.requests).toMatchObject([
      { method: 'GET', status: 405 },
      { method: 'POST', status: 200, shown: { by: 'password', username: 'reader' } },
    ]);
    await client.close();
  });
});

describeWithPrograms('a registry that tells of few repositories at once', ['registry'], () => {
  const workspace = makeWorkspace();
  let registry: RealRegistry;

  beforeAll(async () => {
    const folder = workspace.makeDirectory('registry');
    await seedStorage(path.join(folder, 'data'), { repositories: 25, tagsPerRepository: 1 });
    registry = await startRealRegistry({ kind: 'distribution', folder, maxCatalogEntries: 10 });
  });
  afterAll(async () => {
    await registry.stop();
    await workspace.remove();
  });

  test('is asked until there are no more', async () => {
    const client = new RegistryClient({
      registries: [],
      allowPrivate: ['127.0.0.1:*'],
      timeoutMs: 10_000,
      userAgent: 'tests',
      environment: {},
    });
    const access = { credentials: () => undefined, isInsecure: true };
    expect(await gather(client.listRepositories(registry.host, access))).toHaveLength(25);
    await client.close();
  });
});

async function gather(list: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const entry of list) all.push(entry);
  return all;
}

async function failureOf(promise: Promise<unknown>): Promise<UpstreamError> {
  const failure: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof UpstreamError) return failure;
  throw new Error('not refused by an UpstreamError', { cause: failure });
}
