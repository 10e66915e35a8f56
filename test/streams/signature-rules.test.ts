import { describe, expect, test } from 'vitest';
import { signatureFaults, signatureLimits, splitSignatureName } from '../../src/metadata/image-signatures.js';
import { digestOf } from '../../src/oci/digest.js';
import { newSignatures, signatureCauses, updateSignatures } from '../../src/streams/signature-rules.js';

const now = new Date('2026-01-01T00:00:00Z');
const image = digestOf('image');
const name = `${image}@first`;
const sent = { metadata: { name }, type: 'atomic', content: 'c2lnbmF0dXJl' };
const stored = {
  metadata: { name, uid: 'uid of first', creationTimestamp: '2025-01-01T00:00:00Z' },
  type: 'atomic',
  content: 'c2lnbmF0dXJl',
};

describe('the name of a signature', () => {
  test('is that of its image and one of its own', () => {
    expect(splitSignatureName(name)).toEqual({ image, own: 'first' });
  });

  test.each([
    '',
    'first',
    '@first',
    `${image}@`,
    `${name}@more`,
    `${image}@a/b`,
    `${image}@a%2fb`,
    `${image}@..`,
    `${image}@a\n`,
  ])('is not %j', (text) => {
    expect(splitSignatureName(text)).toBeUndefined();
    expect(signatureFaults({ ...sent, name: text })).toMatchObject([{ kind: 'invalid', field: 'metadata.name' }]);
  });
});

describe('a signature that is sent', () => {
  test('is taken with a name, a type and a content', () => {
    expect(signatureCauses(sent)).toEqual([]);
  });

  test.each([
    { what: 'no type', fields: { type: '' }, field: 'type', reason: 'FieldValueRequired' },
    { what: 'an endless type', fields: { type: 'x'.repeat(254) }, field: 'type', reason: 'FieldValueTooLong' },
    { what: 'no content', fields: { content: '' }, field: 'content', reason: 'FieldValueRequired' },
    {
      what: 'content that is not base64',
      fields: { content: 'c2lnb?' },
      field: 'content',
      reason: 'FieldValueInvalid',
    },
    { what: 'base64 without padding', fields: { content: 'c2lnbg' }, field: 'content', reason: 'FieldValueInvalid' },
    {
      what: 'too much content',
      fields: { content: Buffer.alloc(signatureLimits.contentBytes + 1).toString('base64') },
      field: 'content',
      reason: 'FieldValueTooLong',
    },
    {
      what: 'labels',
      fields: { metadata: { name, labels: { a: 'b' } } },
      field: 'metadata.labels',
      reason: 'FieldValueForbidden',
    },
    {
      what: 'annotations',
      fields: { metadata: { name, annotations: { a: 'b' } } },
      field: 'metadata.annotations',
      reason: 'FieldValueForbidden',
    },
  ])('is not taken with $what', ({ fields, field, reason }) => {
    expect(signatureCauses({ ...sent, ...fields })).toMatchObject([{ field, reason }]);
  });

  test('may have as much content as there may be', () => {
    const content = Buffer.alloc(signatureLimits.contentBytes).toString('base64');
    expect(signatureCauses({ ...sent, content })).toEqual([]);
  });
});

describe('the signatures of a new image', () => {
  test('have no verdict that their maker gives', () => {
    const conditions = [
      { type: 'Trusted', status: 'True' },
      { type: 'ForImage', status: 'True' },
    ];
    expect(
      newSignatures([{ ...sent, conditions, imageIdentity: 'weir.example/team/app', created: 'now' }], now),
    ).toEqual({
      kind: 'taken',
      signatures: [
        {
          metadata: { name, uid: expect.any(String) as string, creationTimestamp: '2026-01-01T00:00:00Z' },
          type: 'atomic',
          content: 'c2lnbmF0dXJl',
        },
      ],
    });
  });

  test('are named by the place of what is wrong with them', () => {
    expect(newSignatures([sent, { metadata: { name: `${image}@second` }, type: 'atomic' }], now)).toMatchObject({
      kind: 'refused',
      causes: [{ field: 'signatures[1].content' }],
    });
  });
});

describe('an update of the signatures of an image', () => {
  const trusted = [
    { type: 'Trusted', status: 'True' },
    { type: 'ForImage', status: 'True' },
  ];

  test('keeps them when it does not speak of them', () => {
    expect(updateSignatures(undefined, [stored], now)).toEqual({ kind: 'taken', signatures: [stored] });
  });

  test('removes those that it leaves out', () => {
    expect(updateSignatures([], [stored], now)).toEqual({ kind: 'taken', signatures: [] });
  });

  test('takes the verdict of a verifier, and keeps who the signature is', () => {
    const verdict = {
      conditions: trusted,
      imageIdentity: 'weir.example/team/app:v1',
      signedClaims: { a: 'b' },
      created: '2025-12-31T00:00:00Z',
      issuedBy: { commonName: 'Ada' },
      issuedTo: { publicKeyID: '0123' },
    };
    expect(updateSignatures([{ ...sent, ...verdict }], [stored], now)).toEqual({
      kind: 'taken',
      signatures: [{ ...stored, ...verdict }],
    });
  });

  test('puts them into the order of their names', () => {
    const second = { metadata: { name: `${image}@a` }, type: 'atomic', content: 'YQ==' };
    const update = updateSignatures([sent, second], [stored], now);
    expect(update).toMatchObject({ signatures: [{ metadata: second.metadata }, { metadata: { name } }] });
  });

  test.each([
    { what: 'another type', fields: { type: 'other' }, causes: [{ field: 'signatures[0].type' }] },
    { what: 'another content', fields: { content: 'b3RoZXI=' }, causes: [{ field: 'signatures[0].content' }] },
    {
      what: 'a verdict of trust without one of the image',
      fields: { conditions: [{ type: 'Trusted', status: 'True' }] },
      causes: [{ field: 'signatures[0].conditions', message: 'Invalid value: missing "ForImage" condition type' }],
    },
    {
      what: 'a verdict of the image without one of trust',
      fields: { conditions: [{ type: 'ForImage', status: 'True' }] },
      causes: [{ field: 'signatures[0].conditions', message: 'Invalid value: missing "Trusted" condition type' }],
    },
    {
      what: 'claims without a verdict',
      fields: { imageIdentity: 'weir.example/team/app', signedClaims: { a: 'b' } },
      causes: [
        { field: 'signatures[0].imageIdentity', message: 'Invalid value: must be unset for unknown signature state' },
        { field: 'signatures[0].signedClaims' },
      ],
    },
    {
      what: 'claims with a verdict that says nothing',
      fields: {
        conditions: [
          { type: 'Trusted', status: 'Unknown' },
          { type: 'ForImage', status: 'True' },
        ],
        issuedTo: { commonName: 'Ada' },
      },
      causes: [{ field: 'signatures[0].issuedTo' }],
    },
  ])('does not take $what', ({ fields, causes }) => {
    const update = updateSignatures([{ ...sent, ...fields }], [stored], now);
    expect(update).toMatchObject({ kind: 'refused', causes });
    expect((update as { readonly causes: readonly unknown[] }).causes).toHaveLength(causes.length);
  });

  test('takes none twice', () => {
    for (const again of [sent, { ...sent, metadata: { name: `${image}@again` } }]) {
      const update = updateSignatures([sent, again], [stored], now);
      expect(update).toMatchObject({ kind: 'refused', causes: [{ field: 'signatures[1]' }] });
    }
  });

  test('takes no more than there may be', () => {
    const many = Array.from({ length: signatureLimits.perImage + 1 }, (_, index) => ({
      metadata: { name: `${image}@${index}` },
      type: 'atomic',
      content: Buffer.from(String(index)).toString('base64'),
    }));
    expect(updateSignatures(many.slice(1), [], now).kind).toBe('taken');
    expect(updateSignatures(many, [], now)).toMatchObject({ kind: 'refused', causes: [{ field: 'signatures' }] });
  });
});
