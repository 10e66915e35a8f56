import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { entryName, readArchive, type ArchiveLimits } from '../../src/distribution/archive-reader.js';
import { OciError } from '../../src/oci/errors.js';
import { content, imageIndex, imageManifest, type Manifest } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import {
  archiveOf,
  configOf,
  dockerEntries,
  layerOf,
  layoutEntries,
  refName,
  savedImage,
  type ArchiveEntry,
} from './archive-builders.js';

const mebibyte = 1024 * 1024;
let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
  await registry.addProject('shop');
});
afterAll(() => registry.stop());

async function files(folder: string): Promise<readonly string[]> {
  const found = await readdir(join(registry.dataDir, folder), { recursive: true });
  return found.filter((name) => name.length > 2);
}

// Whatever was refused: nothing of it is left, in any repository or on the disk.
afterEach(async () => {
  expect(await files('uploads')).toEqual([]);
  const catalog = await registry.fetch('/v2/_catalog');
  expect(await catalog.json()).toEqual({ repositories: [] });
  expect(await files('blobs')).toEqual([]);
});

async function refusal(body: Buffer, contentType = 'application/x-tar'): Promise<object> {
  const response = await registry.fetch('/extensions/weir/v1/projects/shop/archives', {
    method: 'POST',
    headers: { 'Content-Type': contentType },
    body,
  });
  const { errors } = (await response.json()) as { errors: { code: string; detail: unknown }[] };
  return { status: response.status, ...errors[0]! };
}

function listOf(entry: object): ArchiveEntry {
  return ['manifest.json', JSON.stringify([entry])];
}

describe('what is no archive is refused', () => {
  test.each([
    { name: 'nothing', body: Buffer.alloc(0), detail: 'the archive is empty' },
    { name: 'noise', body: randomBytes(100_000), detail: expect.stringContaining('no tar archive') as string },
    {
      name: 'noise in gzip',
      body: gzipSync(randomBytes(9000)),
      detail: expect.stringContaining('no tar archive') as string,
    },
    {
      name: 'what only begins like gzip',
      body: Buffer.from('1f8b0800ffffffffffffff', 'hex'),
      detail: expect.stringContaining('no tar archive') as string,
    },
    {
      name: 'zstd',
      body: Buffer.from('28b52ffd0458510000010203', 'hex'),
      detail: expect.objectContaining({ reason: 'the archive is compressed with zstd' }) as object,
    },
  ])('$name', async ({ body, detail }) => {
    expect(await refusal(body)).toMatchObject({ status: 400, code: 'BLOB_UPLOAD_INVALID', detail });
  });

  test('a body of a type that is none of those', async () => {
    expect(await refusal(await archiveOf([]), 'application/json')).toMatchObject({ status: 415, code: 'UNSUPPORTED' });
  });

  test('an archive of something else', async () => {
    expect(await refusal(await archiveOf([['readme', 'hello']]))).toMatchObject({
      status: 400,
      code: 'MANIFEST_INVALID',
    });
  });
});

test.each([
  { name: 'inside a layer', cut: (whole: Buffer) => whole.subarray(0, 150_000) },
  { name: 'inside a head', cut: (whole: Buffer) => whole.subarray(0, 700) },
  { name: 'before its list', cut: (whole: Buffer) => whole.subarray(0, whole.indexOf('manifest.json')) },
])('an archive that breaks off $name is refused, compressed or not', async ({ cut }) => {
  const layers = [await layerOf(randomBytes(300_000).toString('hex'))];
  const whole = await archiveOf(dockerEntries([{ layers, config: configOf(layers), repoTags: ['cut:v1'] }]));
  const expected = { status: 400, code: expect.stringMatching(/^(BLOB_UPLOAD|MANIFEST)_INVALID$/) as string };
  expect(await refusal(cut(whole))).toMatchObject(expected);
  expect(await refusal(gzipSync(cut(whole)))).toMatchObject(expected);
  expect(await refusal(gzipSync(whole).subarray(0, 5000))).toMatchObject({ status: 400, code: 'BLOB_UPLOAD_INVALID' });
});

describe('an archive is refused', () => {
  test.each<{ name: string; entries: (image: readonly ArchiveEntry[]) => readonly ArchiveEntry[]; answer: object }>([
    {
      name: 'that has a name twice',
      entries: (image) => [...image, ['./manifest.json', '[]']],
      answer: { status: 400, code: 'BLOB_UPLOAD_INVALID', detail: { entry: 'manifest.json' } },
    },
    {
      name: 'with a name that leads out of it',
      entries: (image) => [['../../etc/passwd', 'x'], ...image],
      answer: { status: 400, code: 'BLOB_UPLOAD_INVALID', detail: { entry: '../../etc/passwd' } },
    },
    {
      name: 'with a link that leads out of it',
      entries: (image) => [['a', { link: '../etc/passwd' }], ...image],
      answer: { status: 400, code: 'BLOB_UPLOAD_INVALID' },
    },
    {
      name: 'that lacks a layer',
      entries: (image) => image.filter(([name]) => !name.endsWith('layer.tar')),
      answer: { status: 400, code: 'MANIFEST_BLOB_UNKNOWN' },
    },
    {
      name: 'with links in a circle',
      entries: () => [
        ['c.json', configOf([]).bytes],
        ['a', { link: 'b' }],
        ['b', { link: 'a' }],
        listOf({ Config: 'c.json', RepoTags: ['a:v1'], Layers: ['a'] }),
      ],
      answer: { status: 400, code: 'MANIFEST_BLOB_UNKNOWN', detail: { missing: ['a'] } },
    },
    {
      name: 'whose config is about other layers',
      entries: (image) => image.map(([name, bytes]) => [name, name.endsWith('layer.tar') ? randomBytes(1024) : bytes]),
      answer: { status: 400, code: 'DIGEST_INVALID' },
    },
    {
      name: 'whose config is none',
      entries: () => [['c.json', '{}'], listOf({ Config: 'c.json', RepoTags: ['a:v1'], Layers: [] })],
      answer: { status: 400, code: 'MANIFEST_INVALID' },
    },
    {
      name: 'with a list that is none',
      entries: () => [['manifest.json', '{"a":1}']],
      answer: { status: 400, code: 'MANIFEST_INVALID', detail: { entry: 'manifest.json' } },
    },
    {
      name: 'with a list that is no JSON',
      entries: () => [['index.json', '{']],
      answer: { status: 400, code: 'MANIFEST_INVALID', detail: { entry: 'index.json', reason: 'it is not JSON' } },
    },
    {
      name: 'with a list of more than a manifest has',
      entries: () => [['index.json', Buffer.alloc(4 * mebibyte + 1, ' ')]],
      answer: { status: 413, code: 'SIZE_INVALID' },
    },
    {
      name: 'whose list asks for a file of this machine',
      entries: () => [['c.json', '{}'], listOf({ Config: '/etc/hostname', RepoTags: ['a:v1'], Layers: [] })],
      answer: { status: 400, code: 'MANIFEST_BLOB_UNKNOWN', detail: { missing: ['/etc/hostname'] } },
    },
  ])('$name', async ({ entries, answer }) => {
    const image = dockerEntries([await savedImage('hostile', ['hostile:v1'])]);
    expect(await refusal(await archiveOf(entries(image)))).toMatchObject(answer);
  });

  test('whose layout has something else under a digest', async () => {
    const config = content('{}');
    const manifest = imageManifest(config);
    const entries = layoutEntries([{ manifest, annotations: { [refName]: 'a:v1' } }], [config]).map(
      ([name, bytes]): ArchiveEntry => [name, name.endsWith(config.digest.slice(7)) ? 'else' : bytes],
    );
    expect(await refusal(await archiveOf(entries))).toMatchObject({
      status: 400,
      code: 'DIGEST_INVALID',
      detail: { expected: config.digest },
    });
  });

  test('whose index lists what is not there', async () => {
    const [one, two] = [imageManifest(content('{"a":1}')), imageManifest(content('{"a":2}'))];
    const index = imageIndex([one, two]);
    const entries = layoutEntries([{ manifest: index, annotations: { [refName]: 'a:v1' } }], []);
    expect(await refusal(await archiveOf(entries))).toMatchObject({
      status: 400,
      code: 'MANIFEST_BLOB_UNKNOWN',
      detail: { missing: [one.digest, two.digest] },
    });
  });

  test('whose indexes are nested without end', async () => {
    const config = content('{}');
    const chain: Manifest[] = [imageManifest(config)];
    for (let depth = 0; depth < 12; depth += 1) chain.push(imageIndex([chain.at(-1)!]));
    const entries = layoutEntries(
      [{ manifest: chain.at(-1)!, annotations: { [refName]: 'a:v1' } }],
      [config, ...chain],
    );
    expect(await refusal(await archiveOf(entries))).toMatchObject({ status: 400, code: 'MANIFEST_INVALID' });
  });

  test('that has more manifests than are kept in memory', async () => {
    const padding = 'x'.repeat(3.9 * mebibyte);
    const entries = Array.from({ length: 10 }, (_entry, index): ArchiveEntry => [
      `${index}`,
      JSON.stringify({ schemaVersion: 2, config: {}, index, padding }),
    ]);
    expect(await refusal(await archiveOf(entries))).toMatchObject({ status: 413, code: 'SIZE_INVALID' });
  });
});

describe('the reader', () => {
  const limits: ArchiveLimits = { entries: 10, unpackedBytes: mebibyte, unpackedRatio: 10 };

  async function read(body: Buffer): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const { name } of readArchive(Readable.from([body], { objectMode: false }), limits)) names.push(name);
    return names;
  }

  test('skips what nobody reads, and folders', async () => {
    const body = await archiveOf([
      ['a', randomBytes(5000)],
      ['b/', ''],
      ['b/c', randomBytes(300_000)],
      ['d', ''],
    ]);
    expect(await read(body)).toEqual(['a', 'b/c', 'd']);
    expect(await read(gzipSync(body))).toEqual(['a', 'b/c', 'd']);
  });

  test('stops at what unpacks to far more than it is', async () => {
    const body = gzipSync(await archiveOf([['zeros', Buffer.alloc(20 * mebibyte)]]));
    await expect(read(body)).rejects.toMatchObject({ code: 'SIZE_INVALID', status: 413 });
  });

  test('stops at too many entries', async () => {
    const entries = Array.from({ length: 11 }, (_entry, index): ArchiveEntry => [`${index}`, 'x']);
    await expect(read(await archiveOf(entries))).rejects.toMatchObject({ code: 'SIZE_INVALID', status: 413 });
  });

  test.each([
    { name: 'has enough', bytes: () => archiveOf([['a', randomBytes(mebibyte)]]) },
    {
      name: 'has enough of what is compressed',
      bytes: async () => gzipSync(await archiveOf([['a', randomBytes(9000)]])),
    },
    { name: 'was told that it is zstd', bytes: () => Promise.resolve(Buffer.from('28b52ffd0458510000010203', 'hex')) },
    { name: 'was told that it is noise', bytes: () => Promise.resolve(randomBytes(9000)) },
  ])('lets go of its source when whoever reads $name', async ({ bytes }) => {
    const source = Readable.from([await bytes(), Buffer.alloc(9000), Buffer.alloc(9000)], { objectMode: false });
    const reading = (async () => {
      for await (const { name } of readArchive(source)) return name;
      return 'nothing';
    })();
    expect(await reading.catch(() => 'a')).toBe('a');
    source.on('data', () => undefined);
    await once(source, 'end');
  });

  test.each([
    { text: './a//b/', folder: [], name: 'a/b' },
    { text: '../b', folder: ['a'], name: 'b' },
    { text: '/x/y', folder: ['a'], name: 'x/y' },
    { text: 'a/./c/../b', folder: [], name: 'a/b' },
  ])('spells $text as $name', ({ text, folder, name }) => {
    expect(entryName(text, folder)).toBe(name);
  });

  test.each(['..', 'a/../../b', 'a\0b', 'x'.repeat(1025)])('refuses the name %j', (text) => {
    expect(() => entryName(text)).toThrow(OciError);
  });
});
