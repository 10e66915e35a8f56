import { describe, expect, test } from 'vitest';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { sealSecret } from '../../src/projects/secret-object.js';
import { resealSecrets } from '../../src/projects/secret-rotation.js';
import { secretCauses } from '../../src/projects/secret-rules.js';
import { SecretReader } from '../../src/projects/secrets.js';
import { encodeProtobuf } from '../support/protobuf.js';
import { namesIn, startProjectApi, type ApiClient } from './project-api.js';

const secrets = '/api/v1/namespaces/library/secrets';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const merge = { 'Content-Type': 'application/merge-patch+json' };

async function put(api: ApiClient, body: object | Buffer) {
  return api.send('root', 'POST', secrets, body);
}

describe('secrets', () => {
  test('are Opaque when their type is empty, as client-go sends it', async () => {
    const api = await startProjectApi();
    const sent = encodeProtobuf('Secret', 'v1', { metadata: { name: 'g' }, data: { a: base64('b') } });
    const answer = await api.send(
      'root',
      'POST',
      `${secrets}?fieldManager=kubectl-create&fieldValidation=Ignore`,
      sent,
    );
    expect(answer).toMatchObject({
      status: 201,
      body: { kind: 'Secret', apiVersion: 'v1', type: 'Opaque', data: { a: base64('b') } },
    });
    expect(Object.keys(answer.body).sort()).toEqual(['apiVersion', 'data', 'kind', 'metadata', 'type']);
  });

  test('take text, which goes among the data and wins', async () => {
    const api = await startProjectApi();
    const { body } = await put(api, {
      metadata: { name: 's' },
      data: { a: base64('1'), b: base64('2') },
      stringData: { b: 'zwölf' },
    });
    expect(body['data']).toEqual({ a: base64('1'), b: base64('zwölf') });
    expect(body).not.toHaveProperty('stringData');
    const patched = await api.send('root', 'PATCH', `${secrets}/s`, { stringData: { a: 'new' } }, merge);
    expect(patched.body['data']).toEqual({ a: base64('new'), b: base64('zwölf') });
  });

  test('of dockerconfigjson are kept as `oc create secret docker-registry` makes them', async () => {
    const api = await startProjectApi();
    const config = { auths: { 'reg.example': { username: 'u', password: 'p', email: 'e', auth: base64('u:p') } } };
    const data = { '.dockerconfigjson': base64(JSON.stringify(config)) };
    const sent = encodeProtobuf('Secret', 'v1', {
      metadata: { name: 'pull' },
      type: 'kubernetes.io/dockerconfigjson',
      data,
    });
    expect((await put(api, sent)).status).toBe(201);
    const { body } = await api.send('root', 'GET', `${secrets}/pull`);
    expect(body).toMatchObject({ type: 'kubernetes.io/dockerconfigjson', data });
    expect(namesIn(await api.send('root', 'GET', `${secrets}?fieldSelector=type%3DOpaque`))).not.toContain('pull');
    const byType = `${secrets}?fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson`;
    expect(namesIn(await api.send('root', 'GET', byType))).toEqual(['pull']);
    const table = await api.send('root', 'GET', byType, undefined, {
      Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    expect(table.body).toMatchObject({
      columnDefinitions: [{ name: 'Name' }, { name: 'Type' }, { name: 'Data' }, { name: 'Age' }],
      rows: [{ cells: ['pull', 'kubernetes.io/dockerconfigjson', 1, expect.any(String) as string] }],
    });
  });

  test('lie encrypted in the table of objects and in the change log, and are watched in clear', async () => {
    const api = await startProjectApi();
    const { body: list } = await api.send('root', 'GET', secrets);
    await put(api, { metadata: { name: 's' }, stringData: { password: 'hunter2' } });
    await api.send('root', 'PATCH', `${secrets}/s`, { stringData: { password: 'hunter3' } }, merge);
    const { db } = api.parts;
    const rows = [
      ...(await db.selectFrom('object').selectAll().where('resource', '=', 'secrets').execute()),
      ...(await db.selectFrom('change').selectAll().where('resource', '=', 'secrets').execute()),
    ];
    expect(rows.length).toBeGreaterThan(2);
    for (const row of rows) {
      for (const text of ['hunter', base64('hunter2'), base64('hunter3'), '"data"']) {
        expect(JSON.stringify(row)).not.toContain(text);
      }
    }
    const { resourceVersion } = list['metadata'] as { resourceVersion: string };
    const watch = await fetch(`${api.url}${secrets}?watch=true&timeoutSeconds=1&resourceVersion=${resourceVersion}`, {
      headers: { Authorization: 'Bearer root' },
    });
    const lines = (await watch.text()).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { object: { data: object } }).object.data)).toEqual([
      { password: base64('hunter2') },
      { password: base64('hunter3') },
    ]);
    const { store, box } = api.parts;
    const reader = new SecretReader(store, box);
    expect(await reader.find('library', 's')).toMatchObject({ data: { password: base64('hunter3') } });
    expect(await reader.find('library', 'nope')).toBeUndefined();
    const all = [];
    for await (const secret of reader.list('library')) all.push(secret.metadata.name);
    expect(all).toEqual(['s']);
  });

  test('keep their type, and all of it when they are immutable', async () => {
    const api = await startProjectApi();
    await put(api, { metadata: { name: 's' }, stringData: { a: '1' } });
    const patch = (body: object) => api.send('root', 'PATCH', `${secrets}/s`, body, merge);
    expect(await patch({ type: 'other' })).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field: 'type' }] } },
    });
    expect((await patch({ immutable: true })).status).toBe(200);
    expect(await patch({ stringData: { a: '2' } })).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field: 'data', reason: 'FieldValueForbidden' }] } },
    });
    expect(await patch({ immutable: false })).toMatchObject({
      body: { details: { causes: [{ field: 'immutable' }] } },
    });
    expect((await patch({ metadata: { labels: { a: 'b' } } })).status).toBe(200);
  });

  test('for a service account get its token, which goes with them', async () => {
    const api = await startProjectApi();
    const answer = await put(api, {
      metadata: {
        generateName: 'builder-token-',
        annotations: { 'kubernetes.io/service-account.name': 'builder' },
      },
      type: 'kubernetes.io/service-account-token',
    });
    expect(answer.status).toBe(201);
    const { metadata, data } = answer.body as unknown as {
      metadata: { name: string; uid: string; annotations: Record<string, string> };
      data: Record<string, string>;
    };
    expect(metadata.name).toMatch(/^builder-token-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    expect(data['namespace']).toBe(base64('library'));
    const token = Buffer.from(data['token']!, 'base64').toString();
    const account = await api.send('root', 'GET', '/api/v1/namespaces/library/serviceaccounts/builder');
    const { uid } = account.body['metadata'] as { uid: string };
    expect(metadata.annotations['kubernetes.io/service-account.uid']).toBe(uid);
    expect(await api.parts.tokens.verify(token)).toEqual({
      kind: 'service-account',
      namespace: 'library',
      name: 'builder',
      uid,
      secret: { name: metadata.name, uid: metadata.uid },
    });
    const path = `${secrets}/${metadata.name}`;
    const robbed = { metadata: { annotations: { 'kubernetes.io/service-account.name': 'default' } }, data: null };
    const patched = await api.send('root', 'PATCH', path, robbed, merge);
    expect(patched.body).toMatchObject({ metadata: { annotations: metadata.annotations }, data });
    await api.send('root', 'DELETE', '/api/v1/namespaces/library/serviceaccounts/builder');
    expect((await api.send('root', 'GET', path)).status).toBe(404);
  });

  test.each([
    ['kubernetes.io/service-account.name', { 'kubernetes.io/service-account.name': 'nobody' }],
    [
      'kubernetes.io/service-account.uid',
      { 'kubernetes.io/service-account.name': 'builder', 'kubernetes.io/service-account.uid': 'other' },
    ],
    ['kubernetes.io/service-account.name', {}],
  ])('for no service account are refused because of %s', async (annotation, annotations) => {
    const api = await startProjectApi();
    const type = 'kubernetes.io/service-account-token';
    expect(await put(api, { metadata: { name: 's', annotations }, type })).toMatchObject({
      status: 422,
      body: { details: { kind: 'Secret', causes: [{ field: `metadata.annotations[${annotation}]` }] } },
    });
  });
});

test('after a rotation of keys every secret is encrypted with the new one, once', async () => {
  const api = await startProjectApi();
  const { store } = api.parts;
  const [old, next] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const [before, rotated, after] = [new SecretBox([old]), new SecretBox([next, old]), new SecretBox([next])];
  const metadata = { namespace: 'library', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' };
  for (let index = 0; index < 120; index += 1) {
    const secret = { metadata: { ...metadata, name: `s${index}` }, type: 'Opaque', data: { a: base64(`${index}`) } };
    await store.commit([{ kind: 'create', resource: 'secrets', object: sealSecret(before, secret) }]);
  }
  const { signal } = new AbortController();
  expect(await resealSecrets(store, rotated, signal)).toBe(120);
  expect(await new SecretReader(store, after).find('library', 's7')).toMatchObject({ data: { a: base64('7') } });
  expect(await resealSecrets(store, rotated, signal)).toBe(0);
});

describe('a secret is valid or not', () => {
  const secret = (fields: object): ApiObject => ({
    metadata: { name: 's', namespace: 'n', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' },
    type: 'Opaque',
    ...fields,
  });

  test.each([
    { name: 'nothing in it', fields: {}, wrong: [] },
    { name: 'usual keys', fields: { data: { 'a.b-C_1': base64('x'), '.dockercfg': '' } }, wrong: [] },
    { name: 'a key with a slash', fields: { data: { 'a/b': '' } }, wrong: ['data[a/b]'] },
    { name: 'a key of dots', fields: { data: { '..': '' } }, wrong: ['data[..]'] },
    {
      name: 'no base64',
      fields: { data: { a: 'x', b: 'eA=', c: 'eA==', d: 'e A=' } },
      wrong: ['data[a]', 'data[b]', 'data[d]'],
    },
    { name: '1 MiB', fields: { data: { a: base64('x'.repeat(1024 * 1024)) } }, wrong: [] },
    { name: 'more than 1 MiB', fields: { data: { a: base64('x'.repeat(1024 * 1024)), b: 'eA==' } }, wrong: ['data'] },
    { name: 'dockercfg', fields: { type: 'kubernetes.io/dockercfg', data: { '.dockercfg': base64('{}') } }, wrong: [] },
    { name: 'dockercfg without', fields: { type: 'kubernetes.io/dockercfg' }, wrong: ['data[.dockercfg]'] },
    {
      name: 'dockerconfigjson that is no object',
      fields: { type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': base64('[]') } },
      wrong: ['data[.dockerconfigjson]'],
    },
    {
      name: 'dockerconfigjson that is no JSON',
      fields: { type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': base64('{') } },
      wrong: ['data[.dockerconfigjson]'],
    },
    {
      name: 'basic-auth of nothing',
      fields: { type: 'kubernetes.io/basic-auth' },
      wrong: ['data[username]', 'data[password]'],
    },
    { name: 'basic-auth', fields: { type: 'kubernetes.io/basic-auth', data: { password: 'eA==' } }, wrong: [] },
    {
      name: 'ssh-auth that is empty',
      fields: { type: 'kubernetes.io/ssh-auth', data: { 'ssh-privatekey': '' } },
      wrong: ['data[ssh-privatekey]'],
    },
    {
      name: 'tls without key',
      fields: { type: 'kubernetes.io/tls', data: { 'tls.crt': '' } },
      wrong: ['data[tls.key]'],
    },
    { name: 'a type of their own', fields: { type: 'example.com/mine', data: { a: '' } }, wrong: [] },
  ])('$name', ({ fields, wrong }) => {
    expect(secretCauses(secret(fields), undefined).map(({ field }) => field)).toEqual(wrong);
  });

  test('and its values are never told', () => {
    const causes = secretCauses(
      secret({ type: 'kubernetes.io/dockercfg', data: { '.dockercfg': 'hunter2' } }),
      undefined,
    );
    expect(causes).not.toEqual([]);
    expect(JSON.stringify(causes)).not.toContain('hunter2');
  });
});
