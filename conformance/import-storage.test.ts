import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import { tryRun, type Outcome } from './support/command.js';
import { contentOf, mediaTypes, parseManifest, type Image } from './support/image.js';
import {
  fetchImage,
  fetchManifest,
  fetchReferrers,
  fetchTags,
  pushImage as pushToWeir,
} from './support/registry-api.js';
import { describeWithPrograms, siteWithWeir, type Site } from './support/suite.js';
import {
  programOf,
  startRealRegistry,
  type RealRegistry,
  type RegistryKind,
} from './support/upstreams/real-registry.js';
import { RegistrySession } from './support/upstreams/registry-session.js';
import { sampleImage } from './support/upstreams/sample-image.js';
import { seedStorage } from './support/upstreams/seed-storage.js';
import { deleteManifest, pushImage, pushReferrer, type Pushed } from './support/upstreams/seed.js';

const weirProgram = path.join(root, 'bin', 'weir.cjs');

function environmentOf({ workspace }: Site, dataDirectory: string): Record<string, string> {
  return { ...workspace.environment, WEIR_DATA_DIR: dataDirectory };
}

function runWeir(site: Site, dataDirectory: string, ...args: readonly string[]): Promise<Outcome> {
  const environment = environmentOf(site, dataDirectory);
  return tryRun(process.execPath, [weirProgram, ...args], { environment, workingDirectory: site.workspace.directory });
}

function expectWell({ exitCode, stdout, stderr }: Outcome): void {
  expect(exitCode, stdout + stderr).toBe(0);
}

/** Every tag of a repository with the bytes of its manifest and their media type, as a client would be given them. */
async function readTags(registry: RealRegistry, repository: string): Promise<Record<string, readonly string[]>> {
  const session = new RegistrySession(registry);
  try {
    const scope = `repository:${repository}:pull`;
    const { body } = await session.call(`/v2/${repository}/tags/list`, scope);
    const { tags } = JSON.parse(body.toString('utf8')) as { tags: string[] };
    const headers = { accept: Object.values(mediaTypes).join(', ') };
    const read = tags.map(async (tag) => {
      const answer = await session.call(`/v2/${repository}/manifests/${tag}`, scope, { headers });
      const facts = [answer.headers['docker-content-digest'], answer.headers['content-type']].map(String);
      return [tag, [...facts, answer.body.toString('utf8')]] as const;
    });
    return Object.fromEntries(await Promise.all(read));
  } finally {
    await session.close();
  }
}

function describeImportFrom(kind: RegistryKind): void {
  describeWithPrograms(`the storage of ${kind}`, [programOf(kind)], () => {
    const site = siteWithWeir();

    test('is taken over beside a Weir at work, tag by tag and byte by byte, and serves its own registry still', async () => {
      const { weir, workspace } = site;
      const folder = workspace.makeDirectory('other');
      let registry = await startRealRegistry({ kind, folder });
      const multi = await pushImage(registry, 'team/multi', 'v1', { platforms: ['amd64', 'arm64'], layers: 3 });
      const docker = await pushImage(registry, 'plain', 'list', { platforms: ['amd64', 'arm64'], format: 'docker' });
      const single = await pushImage(registry, 'plain', 'v1', { format: 'docker', layers: 2 });
      const signature = await pushReferrer(registry, multi, { artifactType: 'application/x.sig', content: 'signed' });
      // The tag moves: what it was before stays there by digest.
      const earlier = await pushImage(registry, 'deep/er/app', 'latest', { layerSize: 2_000_000 });
      const now = await pushImage(registry, 'deep/er/app', 'latest', { layerSize: 3000 });
      const deleted = await pushImage(registry, 'deep/er/app', 'deleted');
      await deleteManifest(registry, 'deep/er/app', deleted.digest);
      const begun = new RegistrySession(registry);
      await begun.call('/v2/deep/er/app/blobs/uploads/', '', { method: 'POST', expected: [202] });
      await begun.close();
      await registry.stop();

      const imported = await runWeir(site, workspace.path('weir-data'), 'import-storage', registry.storage);
      expectWell(imported);
      expect(imported.stdout).toMatch(/^3 repositories, \d+ tags .* 0 left out\n$/);

      registry = await startRealRegistry({ kind, folder });
      try {
        for (const [there, here] of [
          ['team/multi', 'team/multi'],
          ['plain', 'library/plain'],
          ['deep/er/app', 'deep/er/app'],
        ] as const) {
          const expected = await readTags(registry, there);
          expect(await fetchTags(weir, here)).toEqual(Object.keys(expected).sort());
          for (const [tag, facts] of Object.entries(expected)) {
            const { digest, mediaType, bytes } = await fetchManifest(weir, here, tag);
            expect([digest, mediaType, bytes.toString('utf8')]).toEqual(facts);
          }
        }
      } finally {
        await registry.stop();
      }
      const same = async (repository: string, { digest, image }: Pushed): Promise<void> => {
        expect(contentOf(await fetchImage(weir, repository, digest))).toEqual(contentOf(image));
      };
      await same('team/multi', multi);
      await same('team/multi', signature);
      for (const each of [docker, single]) await same('library/plain', each);
      for (const each of [earlier, now]) await same('deep/er/app', each);
      await expect(fetchManifest(weir, 'deep/er/app', deleted.digest)).rejects.toThrow('404');
      const referrers = await fetchReferrers(weir, 'team/multi', multi.digest);
      expect(referrers?.map(({ digest }) => digest)).toEqual([signature.digest]);

      const again = await runWeir(site, workspace.path('weir-data'), 'import-storage', registry.storage);
      expectWell(again);
      expect(again.stdout).toMatch(/^3 repositories, 0 tags .* 0 images .* 0 blobs linked .* 0 copied /);
      expectWell(await runWeir(site, workspace.path('weir-data'), 'fsck'));
    });
  });
}

describeImportFrom('distribution');
describeImportFrom('docker-registry');

describe('import-storage', () => {
  const site = siteWithWeir();

  test('can be killed at any time and run again', async () => {
    const { workspace } = site;
    const folder = workspace.makeDirectory('seeded');
    const seeded = await seedStorage(folder, { repositories: 4, tagsPerRepository: 300, imagesPerRepository: 300 });
    const dataDirectory = workspace.makeDirectory('killed');
    for (const blobs of [1, 300, 700]) {
      await killAfter(site, dataDirectory, folder, blobs);
      expectWell(await runWeir(site, dataDirectory, 'fsck'));
    }
    const last = await runWeir(site, dataDirectory, 'import-storage', folder);
    expectWell(last);
    expect(last.stdout).toMatch(/^4 repositories, .*: 0 left out\n$/);
    const again = await runWeir(site, dataDirectory, 'import-storage', folder);
    const tags = [...seeded.values()].reduce((sum, each) => sum + each.size, 0);
    expect(again.stdout).toContain(`0 tags (and ${tags} there already), 0 images (and 1200)`);
    const checked = await runWeir(site, dataDirectory, 'fsck');
    expectWell(checked);
    expect(checked.stdout).toContain(`checked ${tags} tags, 1200 images, 1204 blobs`);
  });

  test('lets a registry at work go on taking pushes', async () => {
    const { weir, workspace } = site;
    const folder = workspace.makeDirectory('beside');
    await seedStorage(folder, { repositories: 3, tagsPerRepository: 500, imagesPerRepository: 500, prefix: 'beside/' });
    const progress = { isOver: false };
    const importing = runWeir(site, workspace.path('weir-data'), 'import-storage', folder).finally(() => {
      progress.isOver = true;
    });
    const pushed: Image[] = [];
    while (!progress.isOver || pushed.length < 5) {
      const image = sampleImage(`pushed ${pushed.length}`);
      await pushToWeir(weir, 'library/pushed', `v${pushed.length}`, image);
      pushed.push(image);
    }
    expectWell(await importing);
    for (const [index, image] of pushed.entries()) {
      expect(contentOf(await fetchImage(weir, 'library/pushed', `v${index}`))).toEqual(contentOf(image));
    }
    const { bytes } = await fetchManifest(weir, 'beside/0003', 'v00500');
    expect(parseManifest(bytes).layers).toHaveLength(1);
  });
});

/** Starts an import, and kills it once it has so many blobs. */
async function killAfter(site: Site, dataDirectory: string, folder: string, blobs: number): Promise<void> {
  const child = spawn(process.execPath, [weirProgram, 'import-storage', folder], {
    env: environmentOf(site, dataDirectory),
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  while (child.exitCode === null && (await countFiles(path.join(dataDirectory, 'blobs'))) < blobs) await delay(5);
  child.kill('SIGKILL');
  const [exitCode, signal] = (await exited) as [number | null, string | null];
  // It would have come to its end, and nothing would be shown.
  expect([exitCode, signal]).toEqual([null, 'SIGKILL']);
}

async function countFiles(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).length;
}
