import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { importStorageCommand } from '../../src/cli/import-storage-command.js';
import { UsageError } from '../../src/cli/usage-error.js';
import { checkRegistry } from '../../src/distribution/fsck.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { namespaceKey } from '../../src/projects/namespace-object.js';
import {
  content,
  descriptor,
  expectStatus,
  imageIndex,
  imageManifest,
  manifestOf,
  pushImage,
  referrer,
  sha512,
  types,
  type Content,
} from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { StorageFolder } from './storage-folder.js';

const accept = [types.manifest, types.index, types.dockerManifest, types.dockerList].join(', ');

describe('a registry takes over the storage of another and', () => {
  let registry: TestRegistry;
  let folder: StorageFolder;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.stop());
  beforeEach(async () => {
    folder = await StorageFolder.make();
    vi.stubEnv('WEIR_DATA_DIR', registry.dataDir);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** Runs the command in this process. */
  async function importStorage(...args: readonly string[]): Promise<{ printed: string; exitCode: unknown }> {
    let printed = '';
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      printed += chunk.toString();
      return true;
    });
    const program = new Command('weir').option('--config <file>').addCommand(importStorageCommand());
    try {
      await program.parseAsync(['import-storage', folder.root, ...args], { from: 'user' });
      return { printed, exitCode: process.exitCode };
    } finally {
      stdout.mockRestore();
      process.exitCode = undefined;
    }
  }

  /** As `importStorage`, with what was left out, in order. */
  async function leftOut(...args: readonly string[]): Promise<string[]> {
    const report = join(await temporaryFolder(), 'report');
    const { printed, exitCode } = await importStorage('--report', report, ...args);
    const items = (await readFile(report, 'utf8')).split('\n').filter(Boolean);
    expect(exitCode).toBe(items.length > 0 ? 1 : 0);
    expect(printed).toContain(`: ${items.length} left out\n`);
    return items
      .map((line) => JSON.parse(line) as Record<string, string>)
      .map(({ kind, repository = '', tag, digest, why }) => {
        const name = tag === undefined ? (digest?.slice(0, 15) ?? '') : `:${tag}`;
        return `${kind!} ${repository}${name}: ${why!.replaceAll(/(sha256:[0-9a-f]{8})[0-9a-f]{56}/g, '$1')}`;
      })
      .sort();
  }

  const short = ({ digest }: { readonly digest: string }) => digest.slice(0, 15);

  async function manifestAt(repository: string, reference: string): Promise<Response> {
    return registry.fetch(`/v2/${repository}/manifests/${reference}`, { headers: { Accept: accept } });
  }

  async function tagsOf(repository: string): Promise<Record<string, string>> {
    const listed = await registry.fetch(`/v2/${repository}/tags/list`);
    if (listed.status === 404) return {};
    const { tags } = (await listed.json()) as { tags: string[] };
    const digests = await Promise.all(
      tags.map(async (tag) => (await manifestAt(repository, tag)).headers.get('Docker-Content-Digest')!),
    );
    return Object.fromEntries(tags.map((tag, index) => [tag, digests[index]!]));
  }

  async function expectManifest(repository: string, { digest, bytes }: Content, mediaType: string): Promise<void> {
    const response = await expectStatus(await manifestAt(repository, digest), 200);
    expect(response.headers.get('Content-Type')).toBe(mediaType);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
  }

  async function expectBlob(repository: string, { digest, bytes }: Content): Promise<void> {
    const response = await expectStatus(await registry.fetch(`/v2/${repository}/blobs/${digest}`), 200);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
  }

  async function locationOf({ digest }: { readonly digest: string }): Promise<string> {
    const db = await registry.openDatabase();
    const { location } = await db
      .selectFrom('blob')
      .select('location')
      .where('digest', '=', digest as never)
      .executeTakeFirstOrThrow();
    return join(registry.dataDir, 'blobs', location);
  }

  async function findings(): Promise<string[]> {
    const found: string[] = [];
    await checkRegistry(new KyselyInspection(await registry.openDatabase()), await registry.openBlobStore(), {
      readBlobs: true,
      onFinding: ({ severity, problem }) => found.push(`${severity}: ${problem}`),
    });
    return found;
  }

  test('has all of it: images, indexes, referrers, earlier images of a tag, in projects of their own', async () => {
    const earlier = await folder.addImage('app', 'earlier', 'v1');
    const now = await folder.addImage('app', 'now', 'v1', 'latest');
    const untagged = await folder.addImage('app', 'untagged');
    const arm = await folder.addImage('team-1/deep/app', 'arm');
    const amd = await folder.addImage('team-1/deep/app', 'amd');
    const index = await folder.addManifest('team-1/deep/app', imageIndex([amd, arm]), 'multi');
    const nested = await folder.addManifest('team-1/deep/app', imageIndex([index]), 'nested');
    const signed = await folder.addManifest(
      'team-1/deep/app',
      referrer(amd, 'application/vnd.example.signature'),
      `sha256-${amd.digest.slice(7)}.sig`,
    );
    await folder.addLayer('team-1/deep/app', content('{}'));
    const schema2 = {
      mediaType: types.dockerManifest,
      config: descriptor('application/vnd.docker.container.image.v1+json', now.config),
    };
    const docker = await folder.addManifest('app', imageManifest(now.config, [now.layer], schema2), 'docker');
    const list = await folder.addManifest('app', imageIndex([docker], { mediaType: types.dockerList }), 'list');
    const bare = manifestOf({ schemaVersion: 2, config: descriptor(types.config, now.config), layers: [] });
    await folder.addManifest('app', bare, 'bare');

    const { printed, exitCode } = await importStorage();
    expect(exitCode).toBe(0);
    expect(printed).toBe(
      `2 repositories, 8 tags (and 0 there already), 11 images (and 0), 11 blobs linked (330 bytes), ` +
        '0 copied (0 bytes), 0 there already (0 bytes): 0 left out\n',
    );
    expect(await tagsOf('app')).toEqual({
      v1: now.digest,
      latest: now.digest,
      docker: docker.digest,
      list: list.digest,
      bare: bare.digest,
    });
    expect(await tagsOf('team-1/deep/app')).toEqual({
      multi: index.digest,
      nested: nested.digest,
      [`sha256-${amd.digest.slice(7)}.sig`]: signed.digest,
    });
    for (const image of [earlier, now, untagged]) await expectManifest('library/app', image, types.manifest);
    await expectManifest('library/app', docker, types.dockerManifest);
    await expectManifest('library/app', list, types.dockerList);
    await expectManifest('library/app', bare, types.manifest);
    for (const image of [index, nested]) await expectManifest('team-1/deep/app', image, types.index);
    for (const { config, layer } of [earlier, now, untagged]) {
      await expectBlob('library/app', config);
      await expectBlob('library/app', layer);
    }
    const referrers = await registry.fetch(`/v2/team-1/deep/app/referrers/${amd.digest}`);
    expect(await referrers.json()).toMatchObject({ manifests: [{ digest: signed.digest }] });
    expect(await findings()).toEqual([]);
  });

  test('tells in the history who it was, and has the project with all that is in one', async () => {
    const first = await folder.addImage('made-here/app', 'first', 'v1');
    const second = await folder.addImage('made-here/app', 'second', 'v1');
    expect(await leftOut()).toEqual([]);
    const stream = await registry.api('/apis/image.openshift.io/v1/namespaces/made-here/imagestreams/app');
    const { status } = (await stream.json()) as { status: { tags: { tag: string; items: { image: string }[] }[] } };
    expect(status.tags).toMatchObject([{ tag: 'v1', items: [{ image: second.digest }] }]);
    expect(status.tags[0]!.items).toHaveLength(1);
    await expectManifest('made-here/app', first, types.manifest);
    const db = await registry.openDatabase();
    const events = await db.selectFrom('tag_event').selectAll().where('project', '=', 'made-here').execute();
    expect(events).toMatchObject([
      { principal: 'system:import-storage', principal_kind: 'system', cause: 'push', image: second.digest },
    ]);
    for (const [path, names] of [
      ['/api/v1/namespaces/made-here/serviceaccounts', ['builder', 'default', 'deployer']],
      [
        '/apis/rbac.authorization.k8s.io/v1/namespaces/made-here/rolebindings',
        ['system:deployers', 'system:image-builders', 'system:image-pullers'],
      ],
    ] as const) {
      const { items } = (await (await registry.api(path)).json()) as { items: { metadata: { name: string } }[] };
      expect(items.map(({ metadata }) => metadata.name)).toEqual(names);
    }
  });

  test('shares the files of blobs, and copies them when told to', async () => {
    const shared = await folder.addImage('files/shared', 'shared', 'v1');
    const copied = await folder.addImage('files/copied', 'copied', 'v1');
    const first = await importStorage('--repositories', '*shared');
    expect(first.printed).toContain('2 blobs linked');
    const second = await importStorage('--copy');
    expect(second.printed).toContain('2 copied');
    expect(second.printed).toContain('2 there already');
    const inode = async (path: string) => (await stat(path)).ino;
    expect(await inode(await locationOf(shared.layer))).toBe(await inode(folder.data(shared.layer)));
    expect(await inode(await locationOf(copied.layer))).not.toBe(await inode(folder.data(copied.layer)));
    expect((await stat(await locationOf(copied.layer))).mode & 0o777).toBe(0o600);
    await rm(folder.root, { recursive: true });
    await expectBlob('files/shared', shared.layer);
    await expectBlob('files/copied', copied.layer);
  });

  test('takes a blob of many repositories once', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `common/app-${index}`);
    for (const name of names) await folder.addImage(name, 'common', 'v1');
    expect((await importStorage()).printed).toContain(
      '20 tags (and 0 there already), 20 images (and 0), 2 blobs linked',
    );
    for (const name of names) await expectBlob(name, content('layer of common'));
    expect(await findings()).toEqual([]);
  });

  test('reads nothing again of what is there', async () => {
    const image = await folder.addImage('again/app', 'again', 'v1');
    await folder.addManifest('again/app', imageIndex([image]), 'index');
    expect(await leftOut()).toEqual([]);
    await rm(folder.path('blobs'), { recursive: true });
    const { printed, exitCode } = await importStorage();
    expect(exitCode).toBe(0);
    expect(printed).toBe(
      '1 repositories, 0 tags (and 2 there already), 0 images (and 2), 0 blobs linked (0 bytes), ' +
        `0 copied (0 bytes), 2 there already (${image.config.bytes.length + image.layer.bytes.length} bytes): 0 left out\n`,
    );
  });

  test('goes on with what has come since', async () => {
    await folder.addImage('grows/app', 'first', 'v1');
    await leftOut();
    const second = await folder.addImage('grows/app', 'second', 'v1', 'v2');
    expect((await importStorage()).printed).toContain('2 tags (and 0 there already), 1 images (and 1)');
    expect(await tagsOf('grows/app')).toEqual({ v1: second.digest, v2: second.digest });
  });

  describe('leaves out and tells', () => {
    test('a damaged blob, and all that needs it, and no project is made for that alone', async () => {
      const bad = await folder.addImage('damaged/app', 'bad', 'v1', 'v2');
      const good = await folder.addImage('damaged-but/app', 'good', 'v1');
      const alsoBad = await folder.addImage('damaged-but/app', 'bad', 'v2');
      const index = await folder.addManifest('damaged-but/app', imageIndex([good, alsoBad]), 'index');
      await folder.damage(bad.layer, 'x'.repeat(bad.layer.bytes.length));
      const why = `${short(bad.layer)} is damaged`;
      expect(await leftOut()).toEqual(
        [
          expect.stringMatching(`^blob ${short(bad.layer)}: its bytes are those of sha256:`) as string,
          `image damaged-but/app${short(bad)}: ${why}`,
          `image damaged-but/app${short(index)}: image ${short(bad)}, which it lists, was left out`,
          `image damaged/app${short(bad)}: ${why}`,
          `tag damaged-but/app:index: its image was left out`,
          `tag damaged-but/app:v2: its image was left out`,
          `tag damaged/app:v1: its image was left out`,
          `tag damaged/app:v2: its image was left out`,
        ].sort((a, b) => (a < b ? -1 : 1)),
      );
      expect(await tagsOf('damaged-but/app')).toEqual({ v1: good.digest });
      const objects = new KyselyObjectStore(await registry.openDatabase());
      expect(await objects.find(namespaceKey('damaged'))).toBeUndefined();
      expect(await findings()).toEqual([]);
    });

    test('what is not whole', async () => {
      const damaged = await folder.addImage('broken/damaged', '1', 'v1');
      await folder.damage(damaged, '{}');
      const gone = await folder.addImage('broken/gone', '2', 'v1');
      await rm(folder.data(gone));
      const unlinked = await folder.addImage('broken/unlinked', '3', 'v1');
      await rm(folder.layerLink('broken/unlinked', unlinked.layer));
      const deleted = await folder.addImage('broken/deleted', '4', 'v1');
      await rm(folder.revisionLink('broken/deleted', deleted));
      await folder.addImage('broken/nowhere', '5', 'v1', 'v2');
      await writeFile(folder.tagLink('broken/nowhere', 'v2'), '');
      const config = await folder.addLayer('broken/lies', content('{"a": 1}'));
      const lying = { config: { ...descriptor(types.config, config), size: 7 } };
      const lies = await folder.addManifest('broken/lies', imageManifest(config, [], lying), 'v1');
      const half = await folder.addManifest('broken/half', imageIndex([gone]), 'v1');
      expect(await leftOut()).toEqual([
        `image broken/damaged${short(damaged)}: its manifest is damaged: the bytes are those of sha256:44136fa3`,
        `image broken/gone${short(gone)}: its manifest is gone`,
        `image broken/half${short(half)}: image ${short(gone)}, which it lists, is not there`,
        `image broken/lies${short(lies)}: ${short(config)} has 8 bytes, and 7 by its descriptor`,
        `image broken/unlinked${short(unlinked)}: ${short(unlinked.layer)} is not there`,
        'tag broken/damaged:v1: its image was left out',
        'tag broken/deleted:v1: its image was deleted',
        'tag broken/gone:v1: its image was left out',
        'tag broken/half:v1: its image was left out',
        'tag broken/lies:v1: its image was left out',
        'tag broken/nowhere:v2: it points nowhere',
        'tag broken/unlinked:v1: its image was left out',
      ]);
      expect(Object.keys(await tagsOf('broken/nowhere'))).toEqual(['v1']);
    });

    test('schema 1', async () => {
      const old = manifestOf({ schemaVersion: 1, name: 'old/app', tag: 'v1', fsLayers: [], history: [] });
      await folder.addManifest('old/app', old, 'v1');
      expect(await leftOut()).toEqual([
        `image old/app${short(old)}: its manifest is not valid: Docker image manifest schema 1 is not supported; push schema 2 or an OCI image manifest`,
        'tag old/app:v1: its image was left out',
      ]);
    });

    test('names that cannot be, and a second repository of the same name', async () => {
      const kept = await folder.addImage('same', 'kept', 'v1');
      await folder.addImage('library/same', 'second', 'v1');
      await folder.addImage('under_score/app', 'x', 'v1');
      await folder.addImage('twice/a__b', 'x', 'v1');
      await folder.addImage('twice/a/b', 'y', 'v1');
      expect(await leftOut()).toEqual([
        'repository same: it would be library/same, as library/same is',
        'repository twice/a__b: it would be twice/a/b, as twice/a/b is',
        'repository under_score/app: its name is not valid here: expected a first component (the project) of at most 63 characters a-z, 0-9 and -',
      ]);
      expect(await leftOut('--project', 'renamed', '--repositories', '*same')).toEqual([]);
      expect(await leftOut('--project', 'renamed', '--repositories', 'under_score/???')).toEqual([]);
      expect(await tagsOf('renamed/same')).toEqual({ v1: kept.digest });
      expect(Object.keys(await tagsOf('renamed/library/same'))).toEqual(['v1']);
      expect(Object.keys(await tagsOf('renamed/under_score/app'))).toEqual(['v1']);
    });

    test('no more than fifty on the terminal', async () => {
      for (let index = 0; index < 60; index += 1) await folder.addImage(`bad_${index}/app`, 'x');
      const { printed } = await importStorage();
      expect(printed.match(/^left out: repository/gm)).toHaveLength(50);
      expect(printed).toContain('left out: 10 more; --report FILE writes all of them\n');
    });

    test('a project that is going away', async () => {
      await registry.addProject('leaving');
      const objects = new KyselyObjectStore(await registry.openDatabase());
      const found = (await objects.find(namespaceKey('leaving')))!;
      const deletionTimestamp = '2026-01-01T00:00:00Z';
      const object = { ...found, metadata: { ...found.metadata, deletionTimestamp } };
      await objects.commit([{ kind: 'replace', resource: 'namespaces', object }]);
      for (const name of ['1', '2', '3']) await folder.addImage('leaving/app', name, `v${name}`);
      expect(await leftOut()).toEqual(['repository leaving/app: project leaving is terminating']);
    });
  });

  describe('leaves tags that are no longer those of the import', () => {
    test('as they were pushed, also before it', async () => {
      await folder.addImage('ours/app', 'theirs', 'v1', 'v2');
      await registry.addProject('ours');
      const before = await pushImage(registry, 'ours/app', 'v1', 'before');
      const refused = 'tag ours/app:v1: it was changed here by admin';
      expect(await leftOut()).toEqual([refused]);
      const after = await pushImage(registry, 'ours/app', 'v2', 'after');
      expect(await leftOut()).toEqual([refused, 'tag ours/app:v2: it was changed here by admin']);
      expect(await tagsOf('ours/app')).toEqual({ v1: before.digest, v2: after.digest });
    });

    test('deleted', async () => {
      await folder.addImage('deleted/app', 'one', 'v1', 'v2');
      expect(await leftOut()).toEqual([]);
      await expectStatus(await registry.fetch('/v2/deleted/app/manifests/v1', { method: 'DELETE' }), 202);
      expect(await leftOut()).toEqual(['tag deleted/app:v1: it was deleted here by admin']);
      expect(Object.keys(await tagsOf('deleted/app'))).toEqual(['v2']);
    });

    test('where a rule of the project keeps them, and takes their images and the other tags', async () => {
      const first = await folder.addImage('kept/app', 'first', 'v1', 'latest');
      expect(await leftOut()).toEqual([]);
      const policy = { metadata: { name: 'releases' }, spec: { protect: [{ tags: ['v*'] }] } };
      await expectStatus(
        await registry.api('/apis/weir.dev/v1/namespaces/kept/tagpolicies', { method: 'POST', body: policy }),
        201,
      );
      const second = await folder.addImage('kept/app', 'second', 'v1', 'latest');
      expect(await leftOut()).toEqual([
        expect.stringMatching(/^tag kept\/app:v1: tag v1 of kept\/app is protected by .*releases/) as string,
      ]);
      expect(await tagsOf('kept/app')).toEqual({ v1: first.digest, latest: second.digest });
      await expectManifest('kept/app', second, types.manifest);
    });
  });

  test('takes an index without all of its images where policy allows that', async () => {
    const there = await folder.addImage('sparse/app', 'there');
    const gone = await folder.addImage('sparse/other', 'gone');
    const index = await folder.addManifest('sparse/app', imageIndex([there, gone]), 'v1');
    expect(await leftOut('--repositories', 'sparse/app')).toHaveLength(2);
    vi.stubEnv('WEIR_POLICY_SPARSE', 'indexes');
    expect(await leftOut('--repositories', 'sparse/app')).toEqual([]);
    expect(await tagsOf('sparse/app')).toEqual({ v1: index.digest });
  });

  test('takes an index of layers, as build caches are, and a layer that is hashed by another algorithm', async () => {
    const layer = await folder.addLayer('odd/app', content('a cached layer'));
    const cache = manifestOf(
      { schemaVersion: 2, mediaType: types.index, manifests: [descriptor(types.layer, layer)] },
      types.index,
    );
    await folder.addManifest('odd/app', cache, 'cache');
    const other = { ...layer, digest: sha512(layer.bytes) };
    await mkdir(dirname(folder.layerLink('odd/app', other)), { recursive: true });
    await writeFile(folder.layerLink('odd/app', other), layer.digest);
    const config = await folder.addLayer('odd/app', content('{}'));
    await folder.addManifest('odd/app', imageManifest(config, [other]), 'other');
    expect(await leftOut()).toEqual([]);
    expect(Object.keys(await tagsOf('odd/app'))).toEqual(['cache', 'other']);
    await expectBlob('odd/app', other);
  });

  test('needs no layer that is not distributed', async () => {
    const config = await folder.addLayer('foreign/app', content('{"foreign": true}'));
    const elsewhere = {
      ...descriptor('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', content('elsewhere')),
      urls: ['https://example.org/layer'],
    };
    await folder.addManifest('foreign/app', imageManifest(config, [], { layers: [elsewhere] }), 'v1');
    expect(await leftOut()).toEqual([]);
    expect(Object.keys(await tagsOf('foreign/app'))).toEqual(['v1']);
  });

  test('gives back bytes that the registry has lost', async () => {
    const image = await folder.addImage('healed/app', 'healed', 'v1');
    expect(await leftOut()).toEqual([]);
    await rm(await locationOf(image.layer));
    await folder.addImage('healed/other', 'healed', 'v1');
    expect(await leftOut()).toEqual([]);
    await expectBlob('healed/app', image.layer);
    expect(await findings()).toEqual([]);
  });

  test('gives nobody a blob of its own that the storage does not link', async () => {
    const secret = await pushImage(registry, 'library/secret', 'v1', 'secret');
    const config = await folder.addLayer('thief/app', content('{"thief": true}'));
    const manifest = await folder.addManifest('thief/app', imageManifest(config, [secret.layer]), 'v1');
    expect(await leftOut()).toContain(`image thief/app${short(manifest)}: ${short(secret.layer)} is not there`);
    expect(await tagsOf('thief/app')).toEqual({});
  });

  test('refuses a folder that is none, and a project that cannot be', async () => {
    await expect(importStorage('--project', 'Not-A-Label')).rejects.toThrow(UsageError);
    await rm(folder.path('repositories'), { recursive: true });
    await expect(importStorage()).rejects.toThrow(UsageError);
  });
});
