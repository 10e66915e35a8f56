import { describe, expect, test } from 'vitest';
import { encodeProtobuf } from '../support/protobuf.js';
import { namesIn, startProjectApi, type ApiClient } from './project-api.js';

const accounts = '/api/v1/namespaces/library/serviceaccounts';
const secrets = '/api/v1/namespaces/library/secrets';

interface Account {
  readonly metadata: { readonly name: string; readonly uid: string; readonly annotations?: Record<string, string> };
  readonly secrets?: readonly { readonly name: string }[];
  readonly imagePullSecrets?: readonly { readonly name: string }[];
}

async function makeRobot(api: ApiClient): Promise<Account> {
  const sent = encodeProtobuf('ServiceAccount', 'v1', { metadata: { name: 'robot' } });
  const answer = await api.send('root', 'POST', `${accounts}?fieldManager=kubectl-create`, sent);
  expect(answer).toMatchObject({ status: 201, body: { kind: 'ServiceAccount', metadata: { name: 'robot' } } });
  return answer.body as unknown as Account;
}

describe('service accounts', () => {
  test('have nothing of the registry where its name is not known', async () => {
    const api = await startProjectApi();
    expect(Object.keys(await makeRobot(api)).sort()).toEqual(['apiVersion', 'kind', 'metadata']);
    expect(namesIn(await api.send('root', 'GET', secrets))).toEqual([]);
  });

  test('are linked to a secret as `oc secrets link` does it', async () => {
    const api = await startProjectApi();
    const { metadata } = await makeRobot(api);
    const linked = { metadata, secrets: [{ name: 'pull' }], imagePullSecrets: [{ name: 'pull' }] };
    const answer = await api.send('root', 'PUT', `${accounts}/robot`, encodeProtobuf('ServiceAccount', 'v1', linked));
    expect(answer).toMatchObject({
      status: 200,
      body: { secrets: [{ name: 'pull' }], imagePullSecrets: [{ name: 'pull' }] },
    });
    const strategic = { 'Content-Type': 'application/strategic-merge-patch+json' };
    const patch = { imagePullSecrets: [{ name: 'other' }], secrets: [{ $patch: 'delete', name: 'pull' }] };
    const patched = await api.send('root', 'PATCH', `${accounts}/robot`, patch, strategic);
    expect(patched.body).toMatchObject({ imagePullSecrets: [{ name: 'other' }], secrets: [] });
  });

  test('are printed with the number of their secrets', async () => {
    const api = await startProjectApi();
    const { body } = await api.send('root', 'GET', `${accounts}/builder`, undefined, {
      Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    expect(body).toMatchObject({
      columnDefinitions: [{ name: 'Name' }, { name: 'Secrets' }, { name: 'Age' }],
      rows: [{ cells: ['builder', 0, expect.any(String) as string] }],
    });
  });
});

describe('a token request', () => {
  const ask = (api: ApiClient, spec: object, path = `${accounts}/robot/token`) =>
    api.send('root', 'POST', path, encodeProtobuf('TokenRequest', 'authentication.k8s.io/v1', { spec }));

  test('is answered with a token of an hour', async () => {
    const api = await startProjectApi();
    const { metadata } = await makeRobot(api);
    const { status, body } = await ask(api, {});
    expect(status).toBe(201);
    expect(body).toMatchObject({
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name: 'robot', namespace: 'library' },
      spec: { audiences: [], expirationSeconds: 3600 },
    });
    const { token, expirationTimestamp } = body['status'] as { token: string; expirationTimestamp: string };
    const inSeconds = (Date.parse(expirationTimestamp) - Date.now()) / 1000;
    expect(inSeconds).toBeGreaterThan(3580);
    expect(inSeconds).toBeLessThan(3620);
    expect(await api.parts.tokens.verify(token)).toMatchObject({ name: 'robot', uid: metadata.uid });
  });

  test('names another time and audience, and is shortened to a year with a warning', async () => {
    const api = await startProjectApi();
    await makeRobot(api);
    const other = await ask(api, { audiences: ['vault'], expirationSeconds: 7200 });
    expect(other.body).toMatchObject({ spec: { audiences: ['vault'], expirationSeconds: 7200 } });
    expect(await api.parts.tokens.verify((other.body['status'] as { token: string }).token)).toBeUndefined();
    const long = await ask(api, { expirationSeconds: 400 * 24 * 3600 });
    expect(long.body).toMatchObject({ spec: { expirationSeconds: 31_536_000 } });
    expect(long.headers.get('Warning')).toContain('shortened to 31536000 seconds');
  });

  test('binds the token to a secret that is there', async () => {
    const api = await startProjectApi();
    await makeRobot(api);
    const { body: secret } = await api.send('root', 'POST', secrets, { metadata: { name: 's' } });
    const { uid } = secret['metadata'] as { uid: string };
    const reference = { kind: 'Secret', apiVersion: 'v1', name: 's' };
    const bound = await ask(api, { boundObjectRef: { ...reference, uid } });
    expect(bound.status).toBe(201);
    expect(await api.parts.tokens.verify((bound.body['status'] as { token: string }).token)).toMatchObject({
      secret: { name: 's', uid },
    });
    expect((await ask(api, { boundObjectRef: { ...reference, uid: 'x' } })).status).toBe(409);
    expect((await ask(api, { boundObjectRef: { ...reference, name: 'nope' } })).status).toBe(404);
  });

  test.each([
    ['spec.expirationSeconds', { expirationSeconds: 599 }],
    ['spec.boundObjectRef.kind', { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'p' } }],
  ])('is invalid because of %s', async (field, spec) => {
    const api = await startProjectApi();
    await makeRobot(api);
    expect(await ask(api, spec)).toMatchObject({
      status: 422,
      body: { details: { kind: 'TokenRequest', causes: [{ field }] } },
    });
  });

  test('is for an account that is there, from somebody who may', async () => {
    const api = await startProjectApi();
    await makeRobot(api);
    expect((await ask(api, {}, `${accounts}/nope/token`)).status).toBe(404);
    const body = { kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1', spec: {} };
    expect((await api.send('eve', 'POST', `${accounts}/robot/token`, body)).status).toBe(403);
    expect(await api.send('root', 'POST', `${accounts}/robot/token?dryRun=All`, body)).toMatchObject({
      status: 201,
      body: { status: { token: '' } },
    });
  });
});
