import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessTokenName } from '../../src/auth/access-tokens.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { IdentityServer, OAU, USR } from './identity-server.js';

let server: IdentityServer;
let root: string;
let dev: string;
let eve: string;
beforeAll(async () => {
  server = await IdentityServer.start();
  await server.addUser('eve', 'user');
  root = await server.login('root');
  dev = await server.login('dev');
  eve = await server.login('eve');
});
afterAll(() => server.stop());

const nameOf = (token: string) => accessTokenName(token)!;
const absent = nameOf(`sha256~${'x'.repeat(43)}`);

describe('oauthaccesstokens', () => {
  test('are for administrators to see', async () => {
    const { status, body } = await server.api('GET', `${OAU}/oauthaccesstokens`, { token: root });
    expect(status).toBe(200);
    expect((body['items'] as ApiObject[]).map(({ userName }) => userName).sort()).toEqual(['dev', 'eve', 'root']);
    expect(await server.api('GET', `${OAU}/oauthaccesstokens/${nameOf(dev)}`, { token: root })).toMatchObject({
      status: 200,
      body: { clientName: 'openshift-challenging-client', expiresIn: 86_400, scopes: ['user:full'], userName: 'dev' },
    });
    for (const path of ['oauthaccesstokens', `oauthaccesstokens/${nameOf(eve)}`, `oauthaccesstokens/${nameOf(dev)}`]) {
      expect((await server.api('GET', `${OAU}/${path}`, { token: dev })).status).toBe(403);
    }
  });

  test('are made by logging in only', async () => {
    const body = {
      metadata: { name: absent },
      userName: 'root',
      userUID: 'x',
      clientName: 'x',
      expiresIn: 1,
      scopes: [],
    };
    expect((await server.api('POST', `${OAU}/oauthaccesstokens`, { token: root, body })).status).toBe(405);
    expect((await server.api('PUT', `${OAU}/oauthaccesstokens/${nameOf(dev)}`, { token: root, body })).status).toBe(
      405,
    );
    expect((await server.api('POST', `${OAU}/oauthaccesstokens`, { token: dev, body })).status).toBe(403);
  });

  test('of others look like ones that are not there', async () => {
    const foreign = await server.api('DELETE', `${OAU}/oauthaccesstokens/${nameOf(eve)}`, { token: dev });
    const missing = await server.api('DELETE', `${OAU}/oauthaccesstokens/${absent}`, { token: dev });
    expect(foreign.status).toBe(404);
    expect(JSON.stringify(foreign.body).replaceAll(nameOf(eve), 'N')).toBe(
      JSON.stringify(missing.body).replaceAll(absent, 'N'),
    );
    expect((await server.api('GET', `${USR}/users/~`, { token: eve })).status).toBe(200);
    expect((await server.api('DELETE', `${OAU}/oauthaccesstokens/${nameOf(eve)}`)).status).toBe(403);
  });

  test('are deleted by their owner and by administrators', async () => {
    const [mine, theirs] = [await server.login('dev'), await server.login('dev')];
    expect((await server.api('DELETE', `${OAU}/oauthaccesstokens/${nameOf(mine)}`, { token: dev })).status).toBe(200);
    expect((await server.api('DELETE', `${OAU}/oauthaccesstokens/${nameOf(theirs)}`, { token: root })).status).toBe(
      200,
    );
    for (const token of [mine, theirs]) expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
  });

  test('expire', async () => {
    const token = await server.login('dev');
    server.clock.advance(86_399);
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(200);
    server.clock.advance(1);
    expect((await server.api('GET', `${USR}/users/~`, { token })).status).toBe(401);
    [root, dev, eve] = [await server.login('root'), await server.login('dev'), await server.login('eve')];
  });
});

describe('useroauthaccesstokens', () => {
  test('are the caller’s own', async () => {
    const { status, body } = await server.api('GET', `${OAU}/useroauthaccesstokens`, { token: dev });
    expect(status).toBe(200);
    expect((body['items'] as ApiObject[]).map(({ metadata }) => metadata.name)).toEqual([nameOf(dev)]);
    expect(await server.api('GET', `${OAU}/useroauthaccesstokens/${nameOf(dev)}`, { token: dev })).toMatchObject({
      status: 200,
      body: { kind: 'UserOAuthAccessToken', userName: 'dev' },
    });
    for (const method of ['GET', 'DELETE']) {
      for (const name of [nameOf(eve), absent]) {
        expect((await server.api(method, `${OAU}/useroauthaccesstokens/${name}`, { token: dev })).status).toBe(404);
        expect((await server.api(method, `${OAU}/useroauthaccesstokens/${name}`, { token: root })).status).toBe(404);
      }
    }
    expect((await server.api('GET', `${OAU}/useroauthaccesstokens`)).status).toBe(403);
  });

  test('are deleted by their owner', async () => {
    const other = await server.login('dev');
    const path = `${OAU}/useroauthaccesstokens/${nameOf(other)}`;
    const dry = { dryRun: ['All'] };
    expect((await server.api('DELETE', path, { token: dev, body: dry })).status).toBe(200);
    expect((await server.api('DELETE', path, { token: dev, body: { preconditions: { uid: 'x' } } })).status).toBe(409);
    expect((await server.api('DELETE', path, { token: dev })).status).toBe(200);
    expect((await server.api('DELETE', path, { token: dev })).status).toBe(404);
    expect((await server.api('GET', `${USR}/users/~`, { token: other })).status).toBe(401);
  });

  test('are watched by their owner, who hears nothing of others', async () => {
    const from = await server.store.currentVersion();
    const stop = new AbortController();
    const response = await server.fetch(`${OAU}/useroauthaccesstokens?watch=true&resourceVersion=${from}`, {
      headers: { Authorization: `Bearer ${dev}` },
      signal: stop.signal,
    });
    await server.login('eve');
    const mine = await server.login('dev');
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await reader.read();
    const event = JSON.parse(value!.split('\n')[0]!) as { type: string; object: ApiObject };
    expect(event).toMatchObject({ type: 'ADDED', object: { metadata: { name: nameOf(mine) }, userName: 'dev' } });
    stop.abort();
  });
});

describe('oauthclients', () => {
  test('have those of oc from the start', async () => {
    const { body } = await server.api('GET', `${OAU}/oauthclients`, { token: root });
    expect((body['items'] as ApiObject[]).map(({ metadata }) => metadata.name)).toEqual([
      'openshift-browser-client',
      'openshift-challenging-client',
      'openshift-cli-client',
    ]);
    expect((await server.api('GET', `${OAU}/oauthclients`, { token: dev })).status).toBe(403);
  });

  test('never show a secret', async () => {
    const secret = 'a-secret-of-some-length';
    const body = { metadata: { name: 'grafana' }, secret, redirectURIs: ['https://grafana.example/login'] };
    const answers = [
      await server.api('POST', `${OAU}/oauthclients`, { token: root, body }),
      await server.api('GET', `${OAU}/oauthclients/grafana`, { token: root }),
      await server.api('GET', `${OAU}/oauthclients`, { token: root }),
      await server.api('PATCH', `${OAU}/oauthclients/grafana`, { token: root, body: { grantMethod: 'prompt' } }),
      await server.api('PATCH', `${OAU}/oauthclients/grafana`, { token: root, body: { secret } }),
    ];
    for (const { status, body: answer } of answers) {
      expect(status).toBeLessThan(300);
      expect(JSON.stringify(answer)).not.toMatch(/secret/i);
    }
    const stored = await server.store.find({
      resource: 'oauthclients.oauth.openshift.io',
      namespace: '',
      name: 'grafana',
    });
    expect(stored?.['secretHash']).toMatch(/^sha256:/);
    expect(JSON.stringify(await server.store.readChanges(0, { limit: 100_000 }))).not.toContain(secret);
  });

  test('keep their secret when they are changed without it', async () => {
    const hash = async () =>
      (await server.store.find({ resource: 'oauthclients.oauth.openshift.io', namespace: '', name: 'grafana' }))?.[
        'secretHash'
      ];
    const before = await hash();
    const { body } = await server.api('GET', `${OAU}/oauthclients/grafana`, { token: root });
    await server.api('PUT', `${OAU}/oauthclients/grafana`, { token: root, body: { ...body, grantMethod: 'auto' } });
    expect(await hash()).toBe(before);
    const strict = `${OAU}/oauthclients/grafana?fieldValidation=Strict`;
    expect((await server.api('PATCH', strict, { token: root, body: { grantMethod: 'prompt' } })).status).toBe(200);
    expect((await server.api('PATCH', strict, { token: root, body: { secretHash: 'x' } })).status).toBe(400);
    await server.api('PATCH', `${OAU}/oauthclients/grafana`, {
      token: root,
      body: { secret: 'another-secret-of-length' },
    });
    expect(await hash()).not.toBe(before);
  });

  test.each([
    { name: 'a short secret', body: { secret: 'short' }, field: 'secret' },
    { name: 'a script', body: { redirectURIs: ['javascript:alert(1)'] }, field: 'redirectURIs[0]' },
    { name: 'a fragment', body: { redirectURIs: ['https://a.example/#x'] }, field: 'redirectURIs[0]' },
    { name: 'no host', body: { redirectURIs: ['/callback', '//evil.example'] }, field: 'redirectURIs[1]' },
    { name: 'a token that lives for ever', body: { accessTokenMaxAgeSeconds: 0 }, field: 'accessTokenMaxAgeSeconds' },
  ])('cannot have $name', async ({ body, field }) => {
    const answer = await server.api('POST', `${OAU}/oauthclients`, {
      token: root,
      body: { metadata: { name: 'bad' }, ...body },
    });
    expect(answer).toMatchObject({ status: 422, body: { details: { causes: [{ field }] } } });
    expect(JSON.stringify(answer.body)).not.toContain('short');
  });
});
