import { generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isGlobMatch } from '../../src/identity/glob.js';
import { IssuerKeys } from '../../src/identity/issuer-keys.js';
import { isTrusted, KeylessExchange } from '../../src/identity/trust-rules.js';
import { OidcIssuer, type IdTokenOptions } from '../support/oidc-issuer.js';
import { IdentityServer } from './identity-server.js';

describe('a pattern', () => {
  test.each([
    { pattern: 'repo:org/app:*', text: 'repo:org/app:ref:refs/heads/main', yes: true },
    { pattern: 'repo:org/app:*', text: 'repo:org/app:', yes: true },
    { pattern: 'repo:org/app:*', text: 'repo:org/app-evil:x', yes: false },
    { pattern: 'repo:org/app:*', text: 'xrepo:org/app:x', yes: false },
    { pattern: '*main', text: 'refs/heads/main', yes: true },
    { pattern: '*main', text: 'refs/heads/main2', yes: false },
    { pattern: 'a*b*c', text: 'a-b-b-c', yes: true },
    { pattern: 'a*b*c', text: 'a-c-b', yes: false },
    { pattern: 'ab*ba', text: 'aba', yes: false },
    { pattern: 'ab*ba', text: 'abba', yes: true },
    { pattern: 'a.c', text: 'abc', yes: false },
    { pattern: 'a', text: 'a', yes: true },
    { pattern: 'a', text: 'ab', yes: false },
    { pattern: 'a**b', text: 'ab', yes: true },
    { pattern: 'A*', text: 'abc', yes: false },
    { pattern: `${'a*'.repeat(40)}b`, text: 'a'.repeat(10_000), yes: false },
  ])('$pattern matches $text: $yes', ({ pattern, text, yes }) => {
    expect(isGlobMatch(pattern, text)).toBe(yes);
  });
});

describe('a rule', () => {
  const spec = {
    issuer: 'https://ci.example',
    audience: 'weir',
    claims: [
      { claim: 'sub', value: 's' },
      { claim: 'ref', pattern: 'refs/heads/*' },
    ],
    serviceAccountName: 'ci',
  };
  const token = { iss: 'https://ci.example', aud: 'weir', sub: 's', ref: 'refs/heads/main' };
  test.each([
    { name: 'what it asks for', token, yes: true },
    { name: 'a list of its one audience', token: { ...token, aud: ['weir'] }, yes: true },
    { name: 'another audience as well', token: { ...token, aud: ['weir', 'other'] }, yes: false },
    { name: 'no audience', token: { ...token, aud: [] }, yes: false },
    { name: 'another issuer', token: { ...token, iss: 'https://ci.example/' }, yes: false },
    { name: 'one of two conditions', token: { ...token, ref: 'refs/tags/main' }, yes: false },
    { name: 'a claim less', token: { iss: token.iss, aud: token.aud, sub: 's' }, yes: false },
    { name: 'a list in the place of a text', token: { ...token, ref: ['refs/heads/main'] }, yes: false },
  ])('trusts $name: $yes', ({ token: said, yes }) => {
    expect(isTrusted(spec, said)).toBe(yes);
  });

  test('without conditions trusts nobody', () => {
    expect(isTrusted({ ...spec, claims: [] }, token)).toBe(false);
  });

  test('compares numbers and truths as they are written', () => {
    const claims = [
      { claim: 'repository_id', value: '42' },
      { claim: 'protected', value: 'true' },
    ];
    expect(isTrusted({ ...spec, claims }, { ...token, repository_id: 42, protected: true })).toBe(true);
  });

  test('does not look at what a token inherits', () => {
    expect(isTrusted({ ...spec, claims: [{ claim: 'constructor', pattern: 'f*' }] }, token)).toBe(false);
  });
});

describe('trust rules', () => {
  let issuer: OidcIssuer;
  let server: IdentityServer;
  let root: string;
  let exchange: KeylessExchange;
  const rules = '/apis/weir.dev/v1/namespaces/team/trustrules';
  const base = { audience: 'weir', claims: [{ claim: 'sub', value: 'job' }], serviceAccountName: 'ci' };
  const account = { namespace: 'team', name: 'ci', uid: 'uid-ci' };

  beforeAll(async () => {
    issuer = await OidcIssuer.start();
    server = await IdentityServer.start();
    root = await server.login('root');
    const meta = { creationTimestamp: '2026-01-01T00:00:00Z' };
    const binding = {
      metadata: { name: 'admins', namespace: 'team', uid: 'b', ...meta },
      subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'dev' }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'rules-only' },
    };
    const role = {
      metadata: { name: 'rules-only', namespace: 'team', uid: 'r', ...meta },
      rules: [
        { verbs: ['*'], apiGroups: ['weir.dev'], resources: ['trustrules'] },
        { verbs: ['create'], apiGroups: [''], resources: ['serviceaccounts/token'], resourceNames: ['mine'] },
      ],
    };
    await server.store.commit([
      { kind: 'create', resource: 'namespaces', object: { metadata: { name: 'team', uid: 'n', ...meta } } },
    ]);
    await server.store.commit([
      ...['ci', 'other'].map((name) => ({
        kind: 'create' as const,
        resource: 'serviceaccounts',
        object: { metadata: { name, namespace: 'team', uid: `uid-${name}`, ...meta } },
      })),
      { kind: 'create', resource: 'roles.rbac.authorization.k8s.io', object: role },
      { kind: 'create', resource: 'rolebindings.rbac.authorization.k8s.io', object: binding, lookups: ['User:dev'] },
    ]);
    exchange = new KeylessExchange(server.store);
    const body = { metadata: { name: 'main' }, spec: { ...base, issuer: issuer.url } };
    expect((await server.api('POST', rules, { token: root, body })).status).toBe(201);
  });
  afterAll(async () => {
    await server.stop();
    await issuer.stop();
  });

  test('let the bearer of a token be a service account', async () => {
    const token = await issuer.issueIdToken({ sub: 'job' });
    expect(await exchange.exchange(token)).toEqual(account);
    expect(await exchange.exchange(token, { namespace: 'team', serviceAccount: 'ci' })).toEqual(account);
    expect(await exchange.exchange(token, { namespace: 'other' })).toBeUndefined();
    expect(await exchange.exchange(token, { serviceAccount: 'other' })).toBeUndefined();
  });

  test('find the keys once, and again when a new one is used', async () => {
    const asked = issuer.requests.length;
    for (let count = 0; count < 5; count += 1) await exchange.exchange(await issuer.issueIdToken({ sub: 'job' }));
    expect(issuer.requests.length).toBe(asked);
    const quick = new KeylessExchange(server.store, new IssuerKeys({ cooldownMs: 0 }));
    expect(await quick.exchange(await issuer.issueIdToken({ sub: 'job' }))).toEqual(account);
    await issuer.rotateKeys();
    expect(await quick.exchange(await issuer.issueIdToken({ sub: 'job' }))).toEqual(account);
    exchange = new KeylessExchange(server.store);
  });

  test.each<{ readonly name: string; readonly claims: Record<string, unknown>; readonly options?: IdTokenOptions }>([
    { name: 'another subject', claims: { sub: 'job2' } },
    { name: 'another audience', claims: { sub: 'job', aud: 'other' } },
    { name: 'several audiences', claims: { sub: 'job', aud: ['weir', 'other'] } },
    { name: 'no audience', claims: { sub: 'job', aud: undefined } },
    { name: 'a time that is over', claims: { sub: 'job' }, options: { expiresIn: -60 } },
    { name: 'no end', claims: { sub: 'job', exp: undefined } },
    { name: 'no beginning', claims: { sub: 'job', iat: undefined } },
    { name: 'a beginning to come', claims: { sub: 'job', nbf: Date.now() / 1000 + 600 } },
    { name: 'a birth to come', claims: { sub: 'job', iat: Date.now() / 1000 + 600 } },
    { name: 'a birth long ago', claims: { sub: 'job', iat: Date.now() / 1000 - 200_000 } },
    { name: 'an unknown key', claims: { sub: 'job' }, options: { keyId: 'other' } },
    { name: 'an unknown demand', claims: { sub: 'job' }, options: { header: { crit: ['x'], x: 1 } } },
  ])('do not take $name', async ({ claims, options }) => {
    const fresh = new KeylessExchange(server.store);
    // A library that writes tokens refuses what one that reads them has to.
    const token = await issuer.issueIdToken(claims, options).catch(() => 'a.b.c');
    expect(await fresh.exchange(token)).toBeUndefined();
  });

  test('take no signature but that of the issuer', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const fresh = new KeylessExchange(server.store);
    const forged = await issuer.issueIdToken({ sub: 'job' }, { key: privateKey });
    const shared = await issuer.issueIdToken({ sub: 'job' }, { algorithm: 'HS256', key: issuer.publicKeyBytes });
    const good = await issuer.issueIdToken({ sub: 'job' });
    const [, payload, signature] = good.split('.');
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    const own = `${Buffer.from('{"alg":"RS256","jwk":{"kty":"RSA"},"jku":"http://127.0.0.1:1/"}').toString('base64url')}.${payload}.${signature}`;
    for (const token of [forged, shared, none, own, `${good}x`, '', 'x', '..', 'a.b.c', 'x'.repeat(100_000)]) {
      expect(await fresh.exchange(token), token.slice(0, 50)).toBeUndefined();
    }
    expect(await fresh.exchange(good)).toEqual(account);
  });

  test('have issuers contacted that they name, and no others', async () => {
    const stranger = await OidcIssuer.start();
    expect(await exchange.exchange(await stranger.issueIdToken({ sub: 'job' }))).toBeUndefined();
    expect(stranger.requests).toEqual([]);
    await stranger.stop();
  });

  test.each([
    { name: 'says it is another one', discovery: { issuer: 'https://evil.example' } },
    { name: 'has its keys in a file', discovery: { jwks_uri: 'file:///etc/passwd' } },
    { name: 'has its keys in the open', discovery: { jwks_uri: 'http://evil.example/keys' } },
    { name: 'has no keys', discovery: { jwks_uri: null } },
  ])('do not take an issuer that $name', async ({ discovery }) => {
    issuer.discovery = discovery;
    const fresh = new KeylessExchange(server.store);
    const token = await issuer.issueIdToken({ sub: 'job' });
    expect(await fresh.exchange(token)).toBeUndefined();
    // It is left alone for a while.
    const asked = issuer.requests.length;
    expect(await fresh.exchange(token)).toBeUndefined();
    expect(issuer.requests.length).toBe(asked);
    issuer.discovery = {};
  });

  test('for several accounts want to be told which', async () => {
    const spec = { ...base, issuer: issuer.url, serviceAccountName: 'other' };
    await server.api('POST', rules, { token: root, body: { metadata: { name: 'second' }, spec } });
    const token = await issuer.issueIdToken({ sub: 'job' });
    expect(await exchange.exchange(token)).toBeUndefined();
    expect(await exchange.exchange(token, { serviceAccount: 'other' })).toEqual({
      namespace: 'team',
      name: 'other',
      uid: 'uid-other',
    });
    await server.api('DELETE', `${rules}/second`, { token: root });
    expect(await exchange.exchange(token)).toEqual(account);
  });

  test('are worth nothing for an account that is not there', async () => {
    const spec = {
      ...base,
      issuer: issuer.url,
      claims: [{ claim: 'sub', value: 'ghost' }],
      serviceAccountName: 'ghost',
    };
    await server.api('POST', rules, { token: root, body: { metadata: { name: 'ghost' }, spec } });
    expect(await exchange.exchange(await issuer.issueIdToken({ sub: 'ghost' }))).toBeUndefined();
  });

  test('are written by those who may make tokens of the account anyway', async () => {
    const dev = await server.login('dev');
    const write = (method: string, path: string, body: object) => server.api(method, path, { token: dev, body });
    const spec = { ...base, issuer: issuer.url };
    expect((await write('POST', rules, { metadata: { name: 'own' }, spec })).status).toBe(403);
    const mine = { ...spec, serviceAccountName: 'mine' };
    expect((await write('POST', rules, { metadata: { name: 'own' }, spec: mine })).status).toBe(201);
    expect((await write('PATCH', `${rules}/own`, { spec: { serviceAccountName: 'ci' } })).status).toBe(403);
    // Whom an existing rule trusts is no less than whose account it is for.
    expect((await write('PATCH', `${rules}/main`, { spec: { claims: [{ claim: 'sub', value: 'me' }] } })).status).toBe(
      403,
    );
    expect((await write('PATCH', `${rules}/main`, { spec: { issuer: 'https://evil.example' } })).status).toBe(403);
    expect((await server.api('GET', rules, { token: await server.login('root') })).status).toBe(200);
    expect((await server.api('GET', rules)).status).toBe(403);
  });

  test.each([
    { name: 'no conditions', spec: { ...base, claims: [] }, field: 'spec.claims' },
    {
      name: 'a pattern for everything',
      spec: { ...base, claims: [{ claim: 'sub', pattern: '**' }] },
      field: 'spec.claims[0].pattern',
    },
    { name: 'neither value nor pattern', spec: { ...base, claims: [{ claim: 'sub' }] }, field: 'spec.claims[0].value' },
    {
      name: 'both',
      spec: { ...base, claims: [{ claim: 'sub', value: 'a', pattern: 'b' }] },
      field: 'spec.claims[0].value',
    },
    { name: 'no audience', spec: { ...base, audience: '' }, field: 'spec.audience' },
    { name: 'plain http', spec: { ...base, issuer: 'http://ci.example' }, field: 'spec.issuer' },
    {
      name: 'plain http that looks local',
      spec: { ...base, issuer: 'http://127.0.0.1.evil.example' },
      field: 'spec.issuer',
    },
    { name: 'a user in the address', spec: { ...base, issuer: 'https://a@ci.example' }, field: 'spec.issuer' },
    { name: 'a query', spec: { ...base, issuer: 'https://ci.example?x' }, field: 'spec.issuer' },
    {
      name: 'an account of another namespace',
      spec: { ...base, serviceAccountName: 'other/ci' },
      field: 'spec.serviceAccountName',
    },
  ])('cannot have $name', async ({ spec, field }) => {
    const body = { metadata: { name: 'bad' }, spec: { issuer: 'https://ci.example', ...spec } };
    expect(await server.api('POST', rules, { token: root, body })).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field }] } },
    });
  });
});
