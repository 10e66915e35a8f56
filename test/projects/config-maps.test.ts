import { describe, expect, test } from 'vitest';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { configMapCauses } from '../../src/projects/config-maps.js';
import { encodeProtobuf } from '../support/protobuf.js';
import { startProjectApi } from './project-api.js';

const path = '/api/v1/namespaces/library/configmaps';

test('a config map is kept with text and bytes, and printed', async () => {
  const { send } = await startProjectApi();
  const sent = { metadata: { name: 'c' }, data: { a: '1', b: '' }, binaryData: { x: 'AAE=' } };
  expect(await send('root', 'POST', path, encodeProtobuf('ConfigMap', 'v1', sent))).toMatchObject({
    status: 201,
    body: { kind: 'ConfigMap', apiVersion: 'v1', data: { a: '1', b: '' }, binaryData: { x: 'AAE=' } },
  });
  const table = await send('root', 'GET', path, undefined, { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
  expect(table.body).toMatchObject({
    columnDefinitions: [{ name: 'Name' }, { name: 'Data' }, { name: 'Age' }],
    rows: [{ cells: ['c', 3, expect.any(String) as string] }],
  });
});

describe('a config map is valid or not', () => {
  const object = (fields: object): ApiObject => ({
    metadata: { name: 'c', namespace: 'n', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' },
    ...fields,
  });
  const frozen = { data: { a: '1' }, immutable: true };

  test.each([
    { name: 'empty', fields: {}, wrong: [] },
    { name: 'a wrong key', fields: { data: { 'a b': '' } }, wrong: ['data[a b]'] },
    { name: 'a key in both', fields: { data: { a: '' }, binaryData: { a: '' } }, wrong: ['data[a]'] },
    { name: 'no base64', fields: { binaryData: { a: '?' } }, wrong: ['binaryData[a]'] },
    { name: 'too much', fields: { data: { a: 'x'.repeat(1024 * 1024), b: 'x' } }, wrong: [''] },
    { name: 'frozen, the same', fields: frozen, old: frozen, wrong: [] },
    { name: 'frozen, other data', fields: { ...frozen, data: { a: '2' } }, old: frozen, wrong: ['data'] },
    { name: 'frozen, more data', fields: { ...frozen, binaryData: { b: '' } }, old: frozen, wrong: ['binaryData'] },
    { name: 'thawed', fields: { data: frozen.data }, old: frozen, wrong: ['immutable'] },
  ])('$name', ({ fields, old, wrong }) => {
    expect(configMapCauses(object(fields), old && object(old)).map(({ field }) => field)).toEqual(wrong);
  });
});
