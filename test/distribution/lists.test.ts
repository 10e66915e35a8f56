import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyJson, imageManifest, pushBlob, pushManifest, type Manifest } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
const manifest: Manifest = imageManifest(emptyJson);

beforeAll(async () => {
  registry = await startRegistry();
  await pushBlob(registry, 'source/of-blobs', emptyJson.bytes);
});
afterAll(() => registry.stop());

const inByteOrder = (names: Iterable<string>) =>
  [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

interface Page {
  readonly entries: readonly string[];
  readonly next: string | undefined;
}

async function readPage(path: string): Promise<Page> {
  const response = await registry.fetch(path);
  expect(response.status).toBe(200);
  const body = (await response.json()) as { readonly tags?: string[]; readonly repositories?: string[] };
  const next = /^<(.*)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
  return { entries: body.tags ?? body.repositories!, next };
}

/** Follows Link from page to page; none but the last may be short of `n`. */
async function readAll(path: string, n: number): Promise<string[]> {
  const entries: string[] = [];
  for (let next: string | undefined = `${path}?n=${n}`; next !== undefined;) {
    const page: Page = await readPage(next);
    expect(page.entries.length).toBeLessThanOrEqual(n);
    if (page.next !== undefined) expect(page.entries).toHaveLength(n);
    entries.push(...page.entries);
    next = page.next;
  }
  return entries;
}

/** As `readAll`, by a client that knows only `n` and `last`. */
async function readAllByLast(path: string, n: number): Promise<string[]> {
  const entries: string[] = [];
  for (;;) {
    const last = entries.at(-1);
    const page = await readPage(`${path}?n=${n}${last === undefined ? '' : `&last=${encodeURIComponent(last)}`}`);
    if (page.entries.length === 0) return entries;
    entries.push(...page.entries);
  }
}

async function makeRepository(name: string): Promise<void> {
  const path = `/v2/${name}/blobs/uploads/?mount=${emptyJson.digest}&from=source/of-blobs`;
  expect((await registry.fetch(path, { method: 'POST' })).status).toBe(201);
}

async function pushTags(repository: string, tags: readonly string[]): Promise<void> {
  await makeRepository(repository);
  for (let begin = 0; begin < tags.length; begin += 100) {
    const query = tags.slice(begin, begin + 100).map((tag) => `tag=${tag}`);
    await pushManifest(registry, repository, manifest, `${manifest.digest}?${query.join('&')}`);
  }
}

/** Few letters, so that names share beginnings and sort by what their separators are. */
const word = fc.string({ unit: fc.constantFrom('a', 'b', '0'), minLength: 1, maxLength: 2 });
const component = fc
  .array(fc.tuple(fc.constantFrom('-', '--', '.', '_'), word), { maxLength: 2 })
  .chain((rest) => word.map((first) => first + rest.map((pair) => pair.join('')).join('')));
const project = fc.constantFrom('a', 'a-a', 'a0', 'ab', 'b');
const repositoryName = fc
  .tuple(project, fc.array(component, { minLength: 1, maxLength: 3 }))
  .map(([first, path]) => [first, ...path].join('/'));
const tag = fc
  .tuple(
    fc.constantFrom('a', 'A', '0', '_'),
    fc.string({ unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_'), maxLength: 4 }),
  )
  .map((parts) => parts.join(''));

describe('any page size gives the same list in byte order', () => {
  let repositories = 0;

  test('of tags', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(tag, { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 1, max: 30 }),
        async (tags, n) => {
          repositories += 1;
          const repository = `lists/tags-${repositories}`;
          await pushTags(repository, tags);
          const path = `/v2/${repository}/tags/list`;
          expect(await readAll(path, n)).toEqual(inByteOrder(tags));
          expect(await readAllByLast(path, n)).toEqual(inByteOrder(tags));
        },
      ),
      { numRuns: 25 },
    );
  });

  test('of repositories', async () => {
    const { entries } = await readPage('/v2/_catalog');
    const known = new Set(entries);
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(repositoryName, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 50 }),
        async (names, n) => {
          for (const name of names) {
            await makeRepository(name);
            known.add(name);
          }
          expect(await readAll('/v2/_catalog', n)).toEqual(inByteOrder(known));
          expect(await readAllByLast('/v2/_catalog', n)).toEqual(inByteOrder(known));
        },
      ),
      { numRuns: 15 },
    );
  });

  test('of repositories whose names begin like one another', async () => {
    const names = ['p/a', 'p/a-b', 'p/a.b', 'p/a/b', 'p/a0', 'p/a_b', 'p/ab', 'p-q/x', 'p0/a'];
    for (const name of names) await makeRepository(name);
    const listed = (await readAll('/v2/_catalog', 3)).filter((name) => name.startsWith('p'));
    expect(listed).toEqual(['p-q/x', 'p/a', 'p/a-b', 'p/a.b', 'p/a/b', 'p/a0', 'p/a_b', 'p/ab', 'p0/a']);
  });
});

describe('a list', () => {
  beforeAll(() => pushTags('lists/three', ['b', 'a', 'c']));

  test.each([
    { query: '', tags: ['a', 'b', 'c'], next: undefined },
    { query: '?n=3', tags: ['a', 'b', 'c'], next: undefined },
    { query: '?n=2', tags: ['a', 'b'], next: '/v2/lists/three/tags/list?n=2&last=b' },
    { query: '?n=0', tags: [], next: undefined },
    { query: '?n=0&last=a', tags: [], next: undefined },
    { query: '?n=00002', tags: ['a', 'b'], next: '/v2/lists/three/tags/list?n=2&last=b' },
    { query: '?n=1000000', tags: ['a', 'b', 'c'], next: undefined },
    { query: '?last=a', tags: ['b', 'c'], next: undefined },
    { query: '?last=aa', tags: ['b', 'c'], next: undefined },
    { query: '?last=', tags: ['a', 'b', 'c'], next: undefined },
    { query: '?last=c', tags: [], next: undefined },
    { query: '?last=%00', tags: ['a', 'b', 'c'], next: undefined },
    { query: "?last=a'--", tags: ['b', 'c'], next: undefined },
    { query: '?n=1&last=B', tags: ['a'], next: '/v2/lists/three/tags/list?n=1&last=a' },
  ])('of tags with "$query"', async ({ query, tags, next }) => {
    const response = await registry.fetch(`/v2/lists/three/tags/list${query}`);
    expect(await response.json()).toEqual({ name: 'lists/three', tags });
    expect(response.headers.get('Link')).toBe(next === undefined ? null : `<${next}>; rel="next"`);
  });

  test('of the catalog with n=0 is empty and has no next page', async () => {
    const response = await registry.fetch('/v2/_catalog?n=0');
    expect(await response.json()).toEqual({ repositories: [] });
    expect(response.headers.get('Link')).toBeNull();
  });

  test('of a repository without tags is an empty array', async () => {
    await makeRepository('lists/untagged');
    const response = await registry.fetch('/v2/lists/untagged/tags/list');
    expect(await response.json()).toEqual({ name: 'lists/untagged', tags: [] });
  });

  test('has at most 1000 entries, whatever is asked for, and says that there are more', async () => {
    const tags = Array.from({ length: 1001 }, (_, number) => `t${number}`);
    await pushTags('lists/many', tags);
    for (const query of ['', '?n=5000']) {
      const { entries, next } = await readPage(`/v2/lists/many/tags/list${query}`);
      expect(entries).toHaveLength(1000);
      expect((await readPage(next!)).entries).toHaveLength(1);
    }
  });
});
