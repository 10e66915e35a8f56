import { describe, expect, test } from 'vitest';
import { OciError } from '../../src/oci/errors.js';
import { maxManifestSize, parseManifest } from '../../src/oci/manifest.js';
import { emptyJson, imageIndex, imageManifest, referrer, sha256, types } from '../support/images.js';

const digest = sha256('layer');
const config = { mediaType: types.config, digest: emptyJson.digest, size: 2 };
const layer = { mediaType: types.layer, digest, size: 5 };
const image = { schemaVersion: 2, mediaType: types.manifest, config, layers: [layer] };
const child = { mediaType: types.manifest, digest, size: 5 };
const index = { schemaVersion: 2, mediaType: types.index, manifests: [child] };

function parse(fields: object, contentType?: string): ReturnType<typeof parseManifest> {
  return parseManifest(Buffer.from(JSON.stringify(fields)), contentType);
}

function many<Item>(item: Item, count: number): Item[] {
  return Array.from({ length: count }, () => item);
}

function manyMembers(value: unknown, count: number): Record<string, unknown> {
  return Object.fromEntries(many(value, count).map((each, position) => [`a${position}`, each]));
}

/** A text over and over, nearly as long as a manifest may be. */
function filled(text: string): string {
  return text.repeat(Math.floor((maxManifestSize - 1000) / text.length));
}

/** JSON of an object with one more member, which is JSON already. */
function withMember(object: object, name: string, json: string): string {
  const { [name]: _replaced, ...rest } = object as Record<string, unknown>;
  return `${JSON.stringify(rest).slice(0, -1)},${JSON.stringify(name)}:${json}}`;
}

/** How a body is refused. */
function refusalOf(body: string): OciError {
  try {
    parseManifest(Buffer.from(body), undefined);
  } catch (error) {
    if (error instanceof OciError) return error;
    throw error;
  }
  throw new Error('the manifest was taken');
}

/** The faults that are told of a body. */
function causesOf(body: string): unknown {
  const error = refusalOf(body);
  expect(error.code).toBe('MANIFEST_INVALID');
  return (error.detail as { readonly causes: unknown }).causes;
}

describe('parseManifest', () => {
  test('of an image says what it refers to, in order', () => {
    expect(parse(image)).toEqual({
      mediaType: types.manifest,
      isIndex: false,
      artifactType: types.config,
      annotations: undefined,
      subject: undefined,
      references: [
        { role: 'config', digest: emptyJson.digest, size: 2, mediaType: types.config, required: true },
        { role: 'layer', digest, size: 5, mediaType: types.layer, required: true },
      ],
    });
  });

  test('of an index says what it refers to', () => {
    expect(parse(index)).toEqual({
      mediaType: types.index,
      isIndex: true,
      artifactType: undefined,
      annotations: undefined,
      subject: undefined,
      references: [{ role: 'manifest', digest, size: 5, mediaType: types.manifest, required: true }],
    });
  });

  test('of an artifact has its subject, type and annotations', () => {
    const subject = imageManifest(emptyJson);
    const { bytes } = referrer(subject, 'application/vnd.example', { annotations: { a: 'b' } });
    expect(parseManifest(bytes, types.manifest)).toMatchObject({
      artifactType: 'application/vnd.example',
      annotations: { a: 'b' },
      subject: subject.digest,
    });
  });

  test.each([
    { name: 'the field', fields: image, contentType: undefined, mediaType: types.manifest },
    { name: 'the field and the same header', fields: image, contentType: types.manifest, mediaType: types.manifest },
    {
      name: 'the header, when there is no field',
      fields: { ...image, mediaType: undefined },
      contentType: types.dockerManifest,
      mediaType: types.dockerManifest,
    },
    {
      name: 'the shape of an image',
      fields: { ...image, mediaType: undefined },
      contentType: undefined,
      mediaType: types.manifest,
    },
    {
      name: 'the shape of an index',
      fields: { ...index, mediaType: undefined },
      contentType: 'application/json',
      mediaType: types.index,
    },
    {
      name: 'the field, when the header says only what any file is',
      fields: { ...index, mediaType: types.dockerList },
      contentType: 'application/octet-stream',
      mediaType: types.dockerList,
    },
  ])('takes the media type from $name', ({ fields, contentType, mediaType }) => {
    expect(parse(fields, contentType).mediaType).toBe(mediaType);
  });

  test.each([
    { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar', required: false },
    { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', required: false },
    { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', required: false },
    { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', required: false },
    { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', required: true },
    { mediaType: types.layer, required: true },
  ])('needs a layer of $mediaType: $required', ({ mediaType, required }) => {
    const { references } = parse({ ...image, layers: [{ ...layer, mediaType }] });
    expect(references[1]).toMatchObject({ role: 'layer', required });
  });

  test('needs a config, whatever it is called', () => {
    const foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const { references } = parse({ ...image, config: { ...config, mediaType: foreign } });
    expect(references[0]).toMatchObject({ role: 'config', required: true });
  });

  test.each([
    { name: 'layers null', fields: { ...image, layers: null } },
    { name: 'layers absent', fields: { ...image, layers: undefined } },
    { name: 'annotations null', fields: { ...image, annotations: null } },
    { name: 'subject null', fields: { ...image, subject: null } },
    { name: 'manifests null', fields: { ...index, manifests: null } },
    { name: 'annotations of a descriptor null', fields: { ...image, config: { ...config, annotations: null } } },
    { name: 'unknown fields', fields: { ...image, x: { y: [1] }, layers: [{ ...layer, platform: 7 }] } },
    { name: 'a size of 0', fields: { ...image, layers: [{ ...layer, size: 0 }] } },
    { name: 'the largest size', fields: { ...image, layers: [{ ...layer, size: Number.MAX_SAFE_INTEGER }] } },
    { name: 'embedded data', fields: { ...image, config: { ...config, data: 'e30=' } } },
    {
      name: 'embedded data of nothing',
      fields: { ...image, layers: [{ ...layer, digest: sha256(''), size: 0, data: '' }] },
    },
  ])('takes $name', ({ fields }) => {
    expect(() => parse(fields)).not.toThrow();
  });

  test.each([
    { name: 'a wrong config', fields: { ...image, config: { ...config, size: -1 } }, field: 'config.size' },
    {
      name: 'a wrong layer',
      fields: { ...image, layers: [layer, { ...layer, digest: 'x' }] },
      field: 'layers.1.digest',
    },
    { name: 'a wrong child', fields: { ...index, manifests: [{ ...child, size: 'x' }] }, field: 'manifests.0.size' },
    { name: 'a wrong subject', fields: { ...image, subject: { ...child, digest: 1 } }, field: 'subject.digest' },
  ])('names the field of $name', ({ fields, field }) => {
    expect(() => parse(fields)).toThrow(
      expect.objectContaining({
        code: 'MANIFEST_INVALID',
        status: 400,
        detail: { causes: [expect.objectContaining({ field }) as unknown] },
      }),
    );
  });

  test.each([
    { name: 'Content-Type differs from mediaType', fields: image, contentType: types.dockerManifest },
    { name: 'an image is called an index', fields: { ...image, mediaType: types.index }, contentType: undefined },
    { name: 'an index is called an image', fields: { ...index, mediaType: types.manifest }, contentType: undefined },
    { name: 'an image has manifests', fields: { ...image, manifests: [] }, contentType: undefined },
    { name: 'an index has a config', fields: { ...index, config }, contentType: undefined },
    { name: 'an index has layers', fields: { ...index, layers: [] }, contentType: undefined },
    { name: 'it is of schema 1', fields: { ...image, schemaVersion: 1 }, contentType: undefined },
    { name: 'the type is not known', fields: { ...image, mediaType: 'a/b' }, contentType: undefined },
    { name: 'the type is an inherited name', fields: { ...image, mediaType: 'constructor' }, contentType: undefined },
  ])('refuses when $name', ({ fields, contentType }) => {
    expect(() => parse(fields, contentType)).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID', status: 400 }),
    );
  });

  test.each([
    { name: 'layers', fields: { ...image, layers: many(layer, 10_001) }, limit: '10000 descriptors' },
    { name: 'manifests', fields: { ...index, manifests: many(child, 10_001) }, limit: '10000 descriptors' },
    { name: 'annotations', fields: { ...image, annotations: manyMembers('x', 1001) }, limit: '1000 annotations' },
    {
      name: 'layers.1.annotations',
      fields: { ...image, layers: [layer, { ...layer, annotations: manyMembers('x', 1001) }] },
      limit: '1000 annotations',
    },
  ])('refuses more $name than $limit', ({ name, fields, limit }) => {
    expect(causesOf(JSON.stringify(fields))).toEqual([{ field: name, reason: `expected at most ${limit}` }]);
  });

  test('takes as many descriptors and annotations as there may be', () => {
    const annotations = manyMembers('x', 1000);
    expect(parse({ ...image, annotations, layers: many(layer, 10_000) }).references).toHaveLength(10_001);
    expect(parse({ ...index, annotations, manifests: many(child, 10_000) }).references).toHaveLength(10_000);
  });

  test.each([
    { name: 'layers that are none', body: withMember(image, 'layers', `[${filled('0,')}0]`), causes: 1 },
    { name: 'children that are none', body: withMember(index, 'manifests', `[${filled('0,')}0]`), causes: 1 },
    { name: 'empty children', body: withMember(index, 'manifests', `[${filled('[],')}[]]`), causes: 1 },
    {
      name: 'as many layers as there may be, all of them none',
      body: withMember(image, 'layers', `[${'0,'.repeat(9_999)}0]`),
      causes: 20,
    },
    {
      name: 'annotations that are none',
      body: withMember(image, 'annotations', JSON.stringify(manyMembers(0, 300_000))),
      causes: 1,
    },
    {
      name: 'as many annotations as there may be, all of them none, in every layer',
      body: withMember(image, 'layers', JSON.stringify(many({ ...layer, annotations: manyMembers(0, 1000) }, 350))),
      causes: 20,
    },
    {
      name: 'annotations of the subject that are none',
      body: withMember(image, 'subject', JSON.stringify({ ...child, annotations: manyMembers(0, 300_000) })),
      causes: 1,
    },
  ])('tells few of the faults of a body full of $name', ({ body, causes }) => {
    expect(body.length).toBeLessThanOrEqual(maxManifestSize);
    expect(causesOf(body)).toHaveLength(causes);
  });

  test.each([
    { name: 'deeply nested', mediaType: `${'['.repeat(500_000)}${']'.repeat(500_000)}`, shown: undefined },
    { name: 'very long', mediaType: JSON.stringify('x'.repeat(4_000_000)), shown: 'x'.repeat(300) },
  ])('refuses a media type that is $name without repeating it', ({ mediaType, shown }) => {
    const error = refusalOf(withMember({ schemaVersion: 2 }, 'mediaType', mediaType));
    expect(error.detail).toMatchObject({ mediaType: shown });
    expect(JSON.stringify(error.detail).length).toBeLessThan(1000);
  });

  test('an empty artifact type is like none', () => {
    expect(parse({ ...image, artifactType: '' }).artifactType).toBe(types.config);
    expect(parseManifest(imageIndex([], { artifactType: '' }).bytes, types.index).artifactType).toBeUndefined();
  });
});

test('manifests may have 4 MiB, as the spec asks', () => {
  expect(maxManifestSize).toBeGreaterThanOrEqual(4_000_000);
  expect(maxManifestSize).toBe(4_194_304);
});
