import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import type { Login } from './support/api-token.js';
import { run, tryRun, type Command } from './support/command.js';
import { contentOf, describeBytes, mediaTypes, parseManifest, readImage, type Descriptor } from './support/image.js';
import { describeWithPrograms, siteWithWeir, type Site } from './support/suite.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { RegistrySession, type RegistryAddress } from './support/upstreams/registry-session.js';
import { seedStorage } from './support/upstreams/seed-storage.js';
import { pushImage, pushReferrer } from './support/upstreams/seed.js';

const program = path.join(root, 'bin', 'weir.cjs');

const tagCount = 5000;
/** Written to the folder: 4,600 tags on 800 different images. */
const written = { repositories: 8, tagsPerRepository: 575, imagesPerRepository: 100 };
/**
 * Pushed: 200 indexes of two images, each with a signature, whose list takes another tag. One repository has no project in
 * its name.
 */
const pushed = { repositories: ['multi/app', 'multi/deep/er/app', 'docker/app', 'lone'], tagsPerRepository: 50 };
const repositoryCount = written.repositories + pushed.repositories.length;
const manifestCount =
  written.repositories * written.imagesPerRepository + 5 * pushed.repositories.length * pushed.tagsPerRepository;
const sampleCount = 200;
const requestsAtOnce = 16;

describeWithPrograms(`a registry of ${tagCount} tags`, ['registry'], () => {
  const byStorage = siteWithWeir();
  const byRegistry = siteWithWeir();
  let registry: RealRegistry;
  let source: Reader;
  let readers: readonly Reader[] = [];
  let weir: Command;

  beforeAll(async () => {
    const started = Date.now();
    const folder = byStorage.workspace.makeDirectory('other');
    await seedStorage(path.join(folder, 'data'), written);
    registry = await startRealRegistry({ kind: 'distribution', folder });
    await inLanes(pushed.repositories, (repository) => pushIndexes(registry, repository));
    source = new Reader(registry);
    readers = [source, ...[byStorage, byRegistry].map((site) => new Reader(site.weir, site.weir))];
    weir = await logIn(byRegistry);
    tell('made', started);
  });
  afterAll(async () => {
    await Promise.all(readers.map((reader) => reader.close()));
    await registry.stop();
  });

  const importStorage = () =>
    tryRun(process.execPath, [program, 'import-storage', registry.storage], {
      environment: { ...byStorage.workspace.environment, WEIR_DATA_DIR: byStorage.workspace.path('weir-data') },
    });
  /** With the requests to the source that it took. */
  const importRegistry = async () => {
    const before = registry.log().length;
    const outcome = await tryRun(process.execPath, [program, 'import-registry', registry.url], weir);
    return { ...outcome, requests: countRequests(registry.log().slice(before)) };
  };

  test('is taken over from its folder', async () => {
    const started = Date.now();
    const { exitCode, stdout, stderr } = await importStorage();
    tell('import-storage', started, stdout);
    expect(exitCode, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/^12 repositories, 5000 tags \(and 0 there already\), .*: 0 left out\n$/);
  });

  test('is copied by its API', async () => {
    const started = Date.now();
    const { exitCode, stdout, stderr, requests } = await importRegistry();
    tell('import-registry', started, stdout, JSON.stringify(requests));
    expect(exitCode, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/^Copied: 5000 tags, .*\nThere already: 0 tags\n.*\nNot copied: 0\n$/);
  });

  test('has the same repositories, tags and digests either way', async () => {
    const started = Date.now();
    const [catalog, ...catalogs] = await Promise.all(readers.map((reader) => reader.listRepositories()));
    expect(catalog).toHaveLength(repositoryCount);
    for (const each of catalogs) expect(each).toEqual(catalog);
    const [names, ...lists] = await Promise.all(readers.map(listNames));
    expect(names).toHaveLength(tagCount);
    for (const each of lists) expect(each).toEqual(names);
    const [tags, ...found] = await Promise.all(readers.map(readTags));
    for (const each of found) expect(each).toEqual(tags);
    tell(`${tagCount} tags looked at, three times`, started);
  });

  test('has the same manifests and blobs, byte for byte', async () => {
    const started = Date.now();
    const names = await listNames(source);
    const sample = names.filter((_, index) => index % (tagCount / sampleCount) === 0);
    expect(sample).toHaveLength(sampleCount);
    const seen = { manifests: 0, blobs: 0 };
    await inLanes(sample, async (name) => {
      const [expected, ...found] = await Promise.all(readers.map((reader) => reader.readImage(...splitName(name))));
      for (const image of found) expect(contentOf(image)).toEqual(contentOf(expected!));
      seen.manifests += expected!.manifests.size;
      seen.blobs += expected!.blobs.size;
    });
    tell(`${sampleCount} tags read whole, three times (${seen.manifests} manifests, ${seen.blobs} blobs)`, started);
  });

  test('has the same referrers', async () => {
    const started = Date.now();
    let count = 0;
    for (const repository of pushed.repositories) {
      const tags = await source.listTags(repository);
      const lists = tags.filter((tag) => tag.startsWith('sha256-'));
      expect(lists).toHaveLength(pushed.tagsPerRepository);
      await inLanes(lists, async (tag) => {
        const expected = parseManifest((await source.readManifest(repository, tag)).bytes).manifests!;
        const subject = tag.replace('-', ':');
        for (const reader of readers.slice(1))
          expect(await reader.listReferrers(repository, subject)).toEqual(expected);
        count += expected.length;
      });
    }
    tell(`${count} referrers listed, twice`, started);
  });

  test('is not linked anew', async () => {
    const started = Date.now();
    const { exitCode, stdout, stderr } = await importStorage();
    tell('import-storage again', started, stdout);
    expect(exitCode, stdout + stderr).toBe(0);
    expect(stdout).toContain(`${repositoryCount} repositories, 0 tags (and ${tagCount} there already), 0 images (and `);
    expect(stdout).toContain(' 0 blobs linked (0 bytes), 0 copied (0 bytes), ');
  });

  test('is not sent anew', async () => {
    const started = Date.now();
    const { exitCode, stdout, stderr, requests } = await importRegistry();
    tell('import-registry again', started, stdout, JSON.stringify(requests));
    expect(exitCode, stdout + stderr).toBe(0);
    expect(stdout).toMatch(
      /^Copied: 0 tags, 0 manifests .*, 0 blobs \(0B\), and 0 blobs that the server had elsewhere\n/,
    );
    expect(stdout).toContain(`There already: ${tagCount} tags\n`);
    // Nothing but lists, and where each tag is.
    const lists = { 'GET _catalog': 1, 'GET tags': repositoryCount, 'GET referrers': manifestCount };
    expect(requests).toEqual({ ...lists, 'HEAD manifests': tagCount });
  });
});

/** Small, and every other one of Docker's formats. */
async function pushIndexes(registry: RealRegistry, repository: string): Promise<void> {
  for (let number = 1; number <= pushed.tagsPerRepository; number += 1) {
    const format = number % 2 === 0 ? 'oci' : 'docker';
    const index = await pushImage(registry, repository, `v${number}`, { platforms: ['amd64', 'arm64'], format });
    await pushReferrer(registry, index, {
      artifactType: 'application/x.signature',
      content: `${repository} ${number}`,
    });
  }
}

/** A registry as its clients see it, by the names that the source has. */
class Reader {
  readonly #session: RegistrySession;
  readonly #defaultProject: string;

  constructor(address: RegistryAddress, login?: Login) {
    this.#session = new RegistrySession(address, login);
    this.#defaultProject = login === undefined ? '' : 'library/';
  }

  async listRepositories(): Promise<readonly string[]> {
    const listed = await this.#list('/v2/_catalog', 'registry:catalog:*', 'repositories');
    return listed.map((name) => (name === `${this.#defaultProject}lone` ? 'lone' : name)).sort();
  }

  listTags(repository: string): Promise<readonly string[]> {
    return this.#list(this.#target(repository, 'tags/list'), this.#scope(repository), 'tags');
  }

  /** Digest and media type. */
  async look(repository: string, tag: string): Promise<string> {
    const target = this.#target(repository, `manifests/${tag}`);
    const { headers } = await this.#session.call(target, this.#scope(repository), { method: 'HEAD', headers: accept });
    return `${String(headers['docker-content-digest'])} ${String(headers['content-type'])}`;
  }

  async readManifest(repository: string, reference: string): Promise<Descriptor & { readonly bytes: Buffer }> {
    const target = this.#target(repository, `manifests/${reference}`);
    const { headers, body } = await this.#session.call(target, this.#scope(repository), { headers: accept });
    return { ...describeBytes(body, String(headers['content-type'])), bytes: body };
  }

  /** Every piece is checked against its digest. */
  async readImage(repository: string, tag: string) {
    const { bytes, ...descriptor } = await this.readManifest(repository, tag);
    return readImage(
      descriptor,
      async ({ digest }) =>
        digest === descriptor.digest ? bytes : (await this.readManifest(repository, digest)).bytes,
      async ({ digest }) => {
        const target = this.#target(repository, `blobs/${digest}`);
        return (await this.#session.call(target, this.#scope(repository))).body;
      },
    );
  }

  async listReferrers(repository: string, digest: string): Promise<readonly Descriptor[]> {
    const { body } = await this.#session.call(this.#target(repository, `referrers/${digest}`), this.#scope(repository));
    return parseManifest(body).manifests ?? [];
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /** All pages of a list. */
  async #list(target: string, scope: string, field: string): Promise<string[]> {
    const names: string[] = [];
    for (let page: string | undefined = target; page !== undefined;) {
      const { headers, body } = await this.#session.call(page, scope);
      names.push(...(JSON.parse(body.toString('utf8')) as Record<string, string[]>)[field]!);
      page = /^<([^>]+)>/.exec(String(headers['link'] ?? ''))?.[1];
    }
    return names;
  }

  #target(repository: string, rest: string): string {
    return `/v2/${this.#name(repository)}/${rest}`;
  }

  #scope(repository: string): string {
    return `repository:${this.#name(repository)}:pull`;
  }

  #name(repository: string): string {
    return repository.includes('/') ? repository : this.#defaultProject + repository;
  }
}

const accept = { accept: Object.values(mediaTypes).join(', ') };

/** Every tag of every repository, as `<repository>:<tag>`, in the order of the lists. */
async function listNames(reader: Reader): Promise<readonly string[]> {
  const names: string[] = [];
  for (const repository of await reader.listRepositories()) {
    const tags = await reader.listTags(repository);
    names.push(...tags.map((tag) => `${repository}:${tag}`));
  }
  return names;
}

/** Digest and media type of every tag of every repository, by `<repository>:<tag>`. */
async function readTags(reader: Reader): Promise<Record<string, string>> {
  const found = new Map((await listNames(reader)).map((name) => [name, '']));
  await inLanes([...found.keys()], async (name) => {
    found.set(name, await reader.look(...splitName(name)));
  });
  return Object.fromEntries(found);
}

/** Repository and tag. */
function splitName(name: string): readonly [string, string] {
  const [repository = '', tag = ''] = name.split(':');
  return [repository, tag];
}

async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const lane = async (): Promise<void> => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: requestsAtOnce }, lane));
}

/** How many requests of each kind a log of distribution tells of, as in `HEAD manifests`. */
function countRequests(log: string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const line of log.split('\n').filter((each) => each.includes('msg="response completed'))) {
    const [, method = '', target = ''] = /http\.request\.method=(\w+).*http\.request\.uri="?([^" ]+)/.exec(line) ?? [];
    const [, what = target] = /\/(_catalog|tags|manifests|blobs|referrers)\b(?:\/|\?|$)/.exec(target) ?? [];
    // As it has no API for referrers, each list of them is a tag.
    const kind = /^GET .*\/manifests\/sha256-/.test(`${method} ${target}`) ? 'GET referrers' : `${method} ${what}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

function tell(what: string, started: number, ...more: readonly string[]): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log([`moving in: ${what}: ${seconds} s`, ...more.map((each) => each.trim())].join('\n'));
}

/** The administrator, logged in to Weir, with a home of their own. */
async function logIn({ weir, workspace }: Site): Promise<Command> {
  const command = { environment: { ...workspace.environment, HOME: workspace.makeDirectory('home') } };
  const login = [program, 'login', weir.host, '-u', weir.username, '--ca', weir.caFile, '--password-stdin'];
  await run(process.execPath, login, { ...command, input: weir.password });
  return command;
}
