import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  emptyJson,
  imageIndex,
  imageManifest,
  descriptor,
  pushBlob,
  pushImage,
  pushManifest,
  referrer,
  sha256,
  types,
  type Manifest,
  type ManifestFields,
} from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

interface Referrers {
  readonly schemaVersion: number;
  readonly mediaType: string;
  readonly manifests: readonly Readonly<Record<string, unknown>>[];
}

let registry: TestRegistry;
const sbom = 'application/vnd.example.sbom.v1';
const signature = 'application/vnd.example.signature.v1+json';

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

/** A repository with an image to refer to. */
async function withSubject(repository: string): Promise<Manifest> {
  await pushBlob(registry, repository, emptyJson.bytes);
  return pushImage(registry, repository, 'v1', repository);
}

/** A manifest that need not exist. */
function absentSubject(name: string): Manifest {
  return imageManifest(emptyJson, [], { annotations: { name } });
}

async function list(repository: string, digest: string, query = ''): Promise<Referrers> {
  const response = await registry.fetch(`/v2/${repository}/referrers/${digest}${query}`);
  expect(response.status).toBe(200);
  expect(response.headers.get('Content-Type')).toBe(types.index);
  const referrers = (await response.json()) as Referrers;
  expect(referrers).toMatchObject({ schemaVersion: 2, mediaType: types.index });
  return referrers;
}

async function digests(repository: string, digest: string, query = ''): Promise<unknown[]> {
  return (await list(repository, digest, query)).manifests.map((entry) => entry['digest']);
}

function push(repository: string, manifest: Manifest, reference?: string): Promise<Manifest> {
  return pushManifest(registry, repository, manifest, reference);
}

describe('the list', () => {
  test('has a descriptor for each image and index that names the subject', async () => {
    const repository = 'list/kinds';
    const subject = await withSubject(repository);
    const annotations = { 'org.example.format': 'json', empty: '' };
    const artifact = await push(repository, referrer(subject, sbom, { annotations }));
    const index = await push(
      repository,
      imageIndex([], { subject: descriptor(subject.mediaType, subject), artifactType: signature }),
    );
    const { manifests } = await list(repository, subject.digest);
    const expected = [
      {
        mediaType: types.manifest,
        digest: artifact.digest,
        size: artifact.bytes.length,
        artifactType: sbom,
        annotations,
      },
      { mediaType: types.index, digest: index.digest, size: index.bytes.length, artifactType: signature },
    ];
    expect(manifests).toEqual(expected.sort((a, b) => (a.digest < b.digest ? -1 : 1)));
  });

  const artifactTypes: readonly {
    readonly name: string;
    readonly fields: ManifestFields;
    readonly expected: string;
  }[] = [
    { name: 'of the manifest', fields: { artifactType: sbom }, expected: sbom },
    { name: 'of the config, when the manifest has none', fields: { artifactType: undefined }, expected: types.empty },
    { name: 'of the config, when it is empty', fields: { artifactType: '' }, expected: types.empty },
  ];
  test.each(artifactTypes)('gives the artifact type $name', async ({ fields, expected }) => {
    const repository = 'list/types';
    await withSubject(repository);
    const subject = absentSubject(expected + String(fields['artifactType']));
    await push(repository, referrer(subject, sbom, fields));
    const { manifests } = await list(repository, subject.digest);
    expect(manifests).toMatchObject([{ artifactType: expected }]);
  });

  test.each([undefined, ''])('leaves out the artifact type of an index with %j', async (artifactType) => {
    const repository = 'list/types';
    await withSubject(repository);
    const subject = absentSubject(`index ${artifactType}`);
    await push(repository, imageIndex([], { subject: descriptor(types.manifest, subject), artifactType }));
    const { manifests } = await list(repository, subject.digest);
    expect(manifests).toHaveLength(1);
    expect(manifests[0]).not.toHaveProperty('artifactType');
  });

  test('is empty for an image nothing refers to, and for a digest nobody knows', async () => {
    const subject = await withSubject('list/none');
    expect(await digests('list/none', subject.digest)).toEqual([]);
    expect(await digests('list/none', sha256('nobody knows'))).toEqual([]);
    expect(await digests('list/absent', sha256('nobody knows'))).toEqual([]);
  });

  test('has nothing from other repositories', async () => {
    const subject = await withSubject('list/here');
    await withSubject('list/there');
    await push('list/there', referrer(subject, sbom));
    expect(await digests('list/here', subject.digest)).toEqual([]);
  });

  test('names an image once, however often it is pushed', async () => {
    const subject = await withSubject('list/once');
    const artifact = referrer(subject, sbom);
    await push('list/once', artifact);
    await push('list/once', artifact, 'a-tag');
    expect(await digests('list/once', subject.digest)).toEqual([artifact.digest]);
  });

  test('of a malformed digest is refused', async () => {
    await expectFailure(await registry.fetch('/v2/list/none/referrers/sha256:0'), 400, 'DIGEST_INVALID');
  });
});

describe('the order of pushes and deletions', () => {
  test('the subject may come later', async () => {
    const repository = 'order/later';
    await withSubject(repository);
    const subject = absentSubject('later');
    const artifact = await push(repository, referrer(subject, sbom));
    expect(await digests(repository, subject.digest)).toEqual([artifact.digest]);
    await push(repository, subject);
    expect(await digests(repository, subject.digest)).toEqual([artifact.digest]);
  });

  test('a referrer that is deleted leaves the list', async () => {
    const repository = 'order/deleted';
    const subject = await withSubject(repository);
    const kept = await push(repository, referrer(subject, sbom));
    const deleted = await push(repository, referrer(subject, signature));
    await registry.fetch(`/v2/${repository}/manifests/${deleted.digest}`, { method: 'DELETE' });
    expect(await digests(repository, subject.digest)).toEqual([kept.digest]);
  });

  test('a referrer whose tag is deleted stays', async () => {
    const repository = 'order/untagged';
    const subject = await withSubject(repository);
    const artifact = await push(repository, referrer(subject, sbom), 'a-tag');
    await registry.fetch(`/v2/${repository}/manifests/a-tag`, { method: 'DELETE' });
    expect(await digests(repository, subject.digest)).toEqual([artifact.digest]);
  });

  test('referrers outlive their subject, and find it again', async () => {
    const repository = 'order/subject';
    const subject = await withSubject(repository);
    const artifact = await push(repository, referrer(subject, sbom));
    await registry.fetch(`/v2/${repository}/manifests/${subject.digest}`, { method: 'DELETE' });
    expect(await digests(repository, subject.digest)).toEqual([artifact.digest]);
    await push(repository, subject);
    expect(await digests(repository, subject.digest)).toEqual([artifact.digest]);
  });

  test('a referrer may be referred to', async () => {
    const repository = 'order/chain';
    const subject = await withSubject(repository);
    const first = await push(repository, referrer(subject, sbom));
    const second = await push(repository, referrer(first, signature));
    expect(await digests(repository, subject.digest)).toEqual([first.digest]);
    expect(await digests(repository, first.digest)).toEqual([second.digest]);
  });
});

describe('the filter', () => {
  test('keeps the artifact type asked for, and the answer says that it was applied', async () => {
    const repository = 'filter/type';
    const subject = await withSubject(repository);
    const wanted = await push(repository, referrer(subject, signature));
    await push(repository, referrer(subject, sbom));
    const path = `/v2/${repository}/referrers/${subject.digest}`;
    const query = `?artifactType=${encodeURIComponent(signature)}`;
    const response = await registry.fetch(path + query);
    expect(response.headers.get('OCI-Filters-Applied')).toBe('artifactType');
    expect(await digests(repository, subject.digest, query)).toEqual([wanted.digest]);
    expect((await registry.fetch(path)).headers.get('OCI-Filters-Applied')).toBeNull();
    expect(await digests(repository, subject.digest, '?artifactType=application%2Fother')).toEqual([]);
  });
});

describe('pages', () => {
  const repository = 'pages/many';
  let subject: Manifest;
  let all: string[];
  let signatures: string[];

  beforeAll(async () => {
    subject = await withSubject(repository);
    const manifests = Array.from({ length: 13 }, (_, number) =>
      referrer(subject, number % 3 === 0 ? signature : sbom, { annotations: { number: String(number) } }),
    );
    for (const manifest of manifests) await push(repository, manifest);
    all = manifests.map((manifest) => manifest.digest).sort();
    signatures = manifests
      .filter((_, number) => number % 3 === 0)
      .map((manifest) => manifest.digest)
      .sort();
  });

  /** Follows Link to the end. */
  async function follow(query: string): Promise<{ readonly entries: unknown[]; readonly sizes: number[] }> {
    const entries: unknown[] = [];
    const sizes: number[] = [];
    let path: string | undefined = `/v2/${repository}/referrers/${subject.digest}${query}`;
    while (path !== undefined) {
      const response = await registry.fetch(path);
      const { manifests } = (await response.json()) as Referrers;
      entries.push(...manifests.map((entry) => entry['digest']));
      sizes.push(manifests.length);
      path = /^<(.*)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
    }
    return { entries, sizes };
  }

  test.each([1, 2, 5, 12, 13, 14, 1000])('of %i make up the whole list', async (n) => {
    const { entries, sizes } = await follow(`?n=${n}`);
    expect(entries).toEqual(all);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(n);
  });

  test('carry the filter on', async () => {
    const { entries, sizes } = await follow(`?n=2&artifactType=${encodeURIComponent(signature)}`);
    expect(entries).toEqual(signatures);
    expect(sizes).toEqual([2, 2, 1]);
  });

  test('end before their descriptors grow over 4 MiB', async () => {
    const large = 'pages/large';
    const big = await withSubject(large);
    const manifests = ['a', 'b', 'c', 'd', 'e'].map((letter) =>
      referrer(big, sbom, { annotations: { large: letter.repeat(1024 * 1024) } }),
    );
    for (const manifest of manifests) await push(large, manifest);
    const found: unknown[] = [];
    let path: string | undefined = `/v2/${large}/referrers/${big.digest}`;
    while (path !== undefined) {
      const response = await registry.fetch(path);
      const text = await response.text();
      expect(text.length).toBeLessThan(4 * 1024 * 1024);
      found.push(...(JSON.parse(text) as Referrers).manifests.map((entry) => entry['digest']));
      path = /^<(.*)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
    }
    expect(found).toEqual(manifests.map((manifest) => manifest.digest).sort());
  });
});
