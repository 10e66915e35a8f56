import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OidcIssuer } from '../support/oidc-issuer.js';
import { pushImage } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

/** What the token endpoint answers (RFC 8693, section 2.2.1). */
interface Exchanged {
  readonly access_token: string;
  readonly expires_in: number;
  readonly scope?: string;
}

describe('a CI system without secrets', () => {
  let registry: TestRegistry;
  let issuer: OidcIssuer;
  beforeAll(async () => {
    issuer = await OidcIssuer.start();
    registry = await startRegistry({ WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1' });
    await pushImage(registry, 'shop/app', 'v1');
    await pushImage(registry, 'other/app', 'v1');
    const rule = await registry.api('/apis/weir.dev/v1/namespaces/shop/trustrules', {
      method: 'POST',
      body: {
        metadata: { name: 'main-branch' },
        spec: {
          issuer: issuer.url,
          audience: 'weir',
          claims: [
            { claim: 'repository', value: 'example/shop' },
            { claim: 'ref', pattern: 'refs/heads/*' },
          ],
          serviceAccountName: 'builder',
        },
      },
    });
    expect(rule.status).toBe(201);
  });
  afterAll(async () => {
    await registry.stop();
    await issuer.stop();
  });

  const jobToken = (claims: object = {}) =>
    issuer.issueIdToken({ aud: 'weir', sub: 'job', repository: 'example/shop', ref: 'refs/heads/main', ...claims });

  function exchange(token: string, fields: Readonly<Record<string, string>> = {}): Promise<Response> {
    return registry.fetch('/auth/token', {
      method: 'POST',
      as: 'nobody',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
        subject_token: token,
        ...fields,
      }),
    });
  }

  test('gets a registry token for what it asked and its service account may, for 15 minutes', async () => {
    const scope = 'repository:shop/app:pull,push,delete repository:other/app:pull';
    const response = await exchange(await jobToken(), { scope });
    expect(response.status).toBe(200);
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    const answer = (await response.json()) as Exchanged;
    expect(answer).toMatchObject({
      token_type: 'Bearer',
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      expires_in: 900,
      scope: 'repository:shop/app:pull,push',
    });
    const as = { token: answer.access_token };
    expect((await registry.fetch('/v2/shop/app/manifests/v1', { as })).status).toBe(200);
    expect((await registry.fetch('/v2/shop/app/blobs/uploads/', { method: 'POST', as })).status).toBe(202);
    expect((await registry.fetch('/v2/other/app/manifests/v1', { as })).status).toBe(403);
    // For the registry, and for nothing else.
    expect((await registry.api('/api/v1/namespaces/shop/configmaps', { as })).status).toBe(401);
  });

  test('gets a password for docker and podman when it names no scope', async () => {
    const answer = (await (await exchange(await jobToken(), { service_account: 'shop/builder' })).json()) as Exchanged;
    expect(answer.expires_in).toBe(900);
    const as = { name: 'ci', password: answer.access_token };
    expect((await registry.fetch('/v2/', { as })).status).toBe(200);
    expect((await registry.fetch('/v2/shop/app/manifests/v1', { as })).status).toBe(200);
    expect((await registry.fetch('/v2/other/app/manifests/v1', { as })).status).toBe(403);
  });

  test.each<{ readonly name: string; readonly claims: object; readonly fields?: Readonly<Record<string, string>> }>([
    { name: 'another repository', claims: { repository: 'evil/shop' } },
    { name: 'another ref', claims: { ref: 'refs/tags/v1' } },
    { name: 'another audience', claims: { aud: 'elsewhere' } },
    { name: 'an expired token', claims: { exp: 1 } },
    { name: 'another service account', claims: {}, fields: { service_account: 'shop/default' } },
    { name: 'another project', claims: {}, fields: { service_account: 'other/builder' } },
  ])('gets nothing for $name', async ({ claims, fields = {} }) => {
    const response = await exchange(await jobToken(claims), fields);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: 'invalid_grant' });
  });

  test.each([
    { name: 'no kind of token', fields: { subject_token_type: '' } },
    { name: 'a kind that is none', fields: { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' } },
  ])('is told what was expected instead of $name', async ({ fields }) => {
    const response = await exchange(await jobToken(), fields);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: 'invalid_request' });
  });

  test('has nothing any more once the rule or the service account is gone', async () => {
    const answer = (await (await exchange(await jobToken())).json()) as Exchanged;
    const as = { name: 'ci', password: answer.access_token };
    await registry.api('/apis/weir.dev/v1/namespaces/shop/trustrules/main-branch', { method: 'DELETE' });
    expect((await exchange(await jobToken())).status).toBe(401);
    expect((await registry.fetch('/v2/shop/app/manifests/v1', { as })).status).toBe(200);
    await registry.api('/api/v1/namespaces/shop/serviceaccounts/builder', { method: 'DELETE' });
    expect((await registry.fetch('/v2/shop/app/manifests/v1', { as })).status).toBe(401);
  });
});

describe('an issuer at a private address', () => {
  test('is not asked, unless the administrator allows it', async () => {
    const issuer = await OidcIssuer.start();
    const registry = await startRegistry();
    try {
      await registry.addProject('shop');
      const made = await registry.api('/apis/weir.dev/v1/namespaces/shop/trustrules', {
        method: 'POST',
        body: {
          metadata: { name: 'inside' },
          spec: {
            issuer: issuer.url,
            audience: 'weir',
            claims: [{ claim: 'repository', value: 'example/shop' }],
            serviceAccountName: 'builder',
          },
        },
      });
      expect(made.status).toBe(201);
      const response = await registry.fetch('/auth/token', {
        method: 'POST',
        as: 'nobody',
        body: new URLSearchParams({
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
          subject_token: await issuer.issueIdToken({ aud: 'weir', sub: 'job', repository: 'example/shop' }),
        }),
      });
      expect(response.ok).toBe(false);
      expect(issuer.requests).toEqual([]);
    } finally {
      await registry.stop();
      await issuer.stop();
    }
  });
});
