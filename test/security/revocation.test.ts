import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AccessTokens } from '../../src/auth/access-tokens.js';
import { Logins, type LoginClaim } from '../../src/identity/logins.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { RunningRegistry } from '../../src/serve.js';
import { pushBlob, pushImage } from '../support/images.js';
import { authorizationOf, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';
import { ask, eve, must, serviceAccountToken, startBeside, startTenants, startTimeout } from './tenants.js';

let registry: TestRegistry;
/** A second process, which must learn of everything by itself. */
let beside: RunningRegistry;
let count = 0;

beforeAll(async () => {
  registry = await startTenants({ WEIR_ANONYMOUS_PULL: 'true' });
  beside = await startBeside(registry);
}, startTimeout);
afterAll(async () => {
  await beside.stop();
  await registry.stop();
});

function freshName(): string {
  count += 1;
  return `made-${count}`;
}

/** The statuses of a request, through both processes, twice each so that caches have their say. */
async function statuses(path: string, as: Identity, init: RequestInit = {}): Promise<readonly number[]> {
  const authorization = authorizationOf(as);
  const headers = { ...(init.headers as object), ...(authorization !== undefined && { Authorization: authorization }) };
  const found: number[] = [];
  for (const url of [registry.url, beside.url, registry.url, beside.url]) {
    const response = await fetch(new URL(path, url), { ...init, headers });
    await response.arrayBuffer();
    found.push(response.status);
  }
  return found;
}

const always = (status: number) => [status, status, status, status];

/** Binds a role as an administrator does. @returns takes it away again */
async function grant(subject: object, role: string, project: string): Promise<() => Promise<void>> {
  const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${project}/rolebindings`;
  const { metadata } = await must(registry, path, {
    method: 'POST',
    body: {
      metadata: { name: freshName() },
      subjects: [subject],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    },
  });
  return async () => {
    await must(registry, `${path}/${metadata.name}`, { method: 'DELETE' });
  };
}

async function newUser(): Promise<Credentials> {
  const who = { name: freshName(), password: 'secret-of-somebody' };
  await registry.addUser({ ...who, role: 'user' });
  return who;
}

const user = (name: string) => ({ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name });

describe('CVE-2026-35172 distribution: what is taken away is gone at once, for old tokens and other processes too', () => {
  const name = 'CVE-2026-35172 distribution';
  const scope = ['repository:red/app:pull,push,delete'];

  test(`${name}: a blob that was unlinked`, async () => {
    const { digest } = await pushBlob(registry, 'red/app', freshName());
    const as = { token: await registry.token(scope) };
    const path = `/v2/red/app/blobs/${digest}`;
    expect(await statuses(path, as)).toEqual(always(200));
    expect((await registry.fetch(path, { method: 'DELETE', as })).status).toBe(202);
    expect(await statuses(path, as)).toEqual(always(404));
    expect(await statuses(path, as, { method: 'HEAD' })).toEqual(always(404));
    expect(await statuses(path, as, { headers: { Range: 'bytes=0-0' } })).toEqual(always(404));
    expect(await statuses(path, as, { headers: { 'If-None-Match': `"${digest}"` } })).toEqual(always(404));
  });

  test(`${name}: a blob that was unlinked here, and is still in another repository`, async () => {
    const text = freshName();
    const { digest } = await pushBlob(registry, 'red/app', text);
    await pushBlob(registry, 'blue/app', text);
    const as = { token: await registry.token(scope) };
    expect(await statuses(`/v2/red/app/blobs/${digest}`, as)).toEqual(always(200));
    await registry.fetch(`/v2/red/app/blobs/${digest}`, { method: 'DELETE', as });
    expect(await statuses(`/v2/red/app/blobs/${digest}`, as)).toEqual(always(404));
    expect(await statuses(`/v2/blue/app/blobs/${digest}`, 'nobody')).toEqual(always(401));
  });

  test.each(['tag', 'digest'] as const)(`${name}: a manifest that was deleted by its %s`, async (by) => {
    const tag = freshName();
    const { digest } = await pushImage(registry, 'red/app', tag);
    const as = { token: await registry.token(scope) };
    const byTag = `/v2/red/app/manifests/${tag}`;
    const byDigest = `/v2/red/app/manifests/${digest}`;
    expect(await statuses(byTag, as)).toEqual(always(200));
    expect(await statuses(byDigest, as)).toEqual(always(200));
    const gone = by === 'tag' ? byTag : byDigest;
    expect((await registry.fetch(gone, { method: 'DELETE', as })).status).toBe(202);
    expect(await statuses(byTag, as)).toEqual(always(404));
    expect(await statuses(byTag, as, { headers: { 'If-None-Match': `"${digest}"` } })).toEqual(always(404));
    expect(await statuses(byDigest, as)).toEqual(always(by === 'tag' ? 200 : 404));
  });

  test(`${name}: a role of a user, by password, API token and registry token`, async () => {
    const who = await newUser();
    await pushImage(registry, 'red/roles', 'v1');
    const revoke = await grant(user(who.name), 'edit', 'red');
    const apiToken = { token: await registry.apiToken(who) };
    const registryToken = { token: await registry.token(['repository:red/roles:pull,push,delete'], who) };
    for (const as of [who, apiToken, registryToken]) {
      expect(await statuses('/v2/red/roles/manifests/v1', as)).toEqual(always(200));
    }
    expect(await statuses('/api/v1/namespaces/red/secrets', apiToken)).toEqual(always(200));
    await revoke();
    for (const as of [who, apiToken, registryToken]) {
      expect(await statuses('/v2/red/roles/manifests/v1', as)).toEqual(always(403));
      expect(await statuses('/v2/red/roles/blobs/uploads/', as, { method: 'POST' })).toEqual(always(403));
      expect(await statuses('/v2/red/roles/manifests/v1', as, { method: 'DELETE' })).toEqual(always(403));
    }
    expect(await statuses('/api/v1/namespaces/red/secrets', apiToken)).toEqual(always(403));
  });

  test(`${name}: a project that is public no more`, async () => {
    await pushImage(registry, 'red/public', 'v1');
    const group = { kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'system:unauthenticated' };
    const hide = await grant(group, 'registry-viewer', 'red');
    const token = { token: await registry.token(['repository:red/public:pull', 'registry:catalog:*'], 'nobody') };
    for (const as of ['nobody', token] as const) {
      expect(await statuses('/v2/red/public/manifests/v1', as)).toEqual(always(200));
      expect(await statuses('/v2/_catalog', as)).toEqual(always(200));
    }
    await hide();
    for (const as of ['nobody', token] as const) {
      expect(await statuses('/v2/red/public/manifests/v1', as)).toEqual(always(401));
      expect(await statuses('/v2/_catalog', as)).toEqual(always(401));
    }
  });

  test(`${name}: an API token, with the registry tokens that were given for it`, async () => {
    const who = await newUser();
    const apiToken = await registry.apiToken(who);
    const given = { token: await registry.token([], { name: 'token', password: apiToken }) };
    expect(await statuses('/v2/', given)).toEqual(always(200));
    expect(await statuses('/apis/user.openshift.io/v1/users/~', { token: apiToken })).toEqual(always(200));
    const { items } = await must(registry, '/apis/oauth.openshift.io/v1/useroauthaccesstokens', {
      as: { token: apiToken },
    });
    const path = `/apis/oauth.openshift.io/v1/useroauthaccesstokens/${items![0]!.metadata.name}`;
    await must(registry, path, { method: 'DELETE', as: { token: apiToken } });
    expect(await statuses('/v2/', given)).toEqual(always(401));
    expect(await statuses('/v2/', { name: 'token', password: apiToken })).toEqual(always(401));
    expect(await statuses('/apis/user.openshift.io/v1/users/~', { token: apiToken })).toEqual(always(401));
  });

  test(`${name}: a user, with password and tokens`, async () => {
    const who = await newUser();
    const apiToken = { token: await registry.apiToken(who) };
    const registryToken = { token: await registry.token([], who) };
    const offline = await registry.fetch('/auth/token?offline_token=true', { as: who });
    const { refresh_token: refreshToken } = (await offline.json()) as { refresh_token: string };
    for (const as of [who, apiToken, registryToken]) expect(await statuses('/v2/', as)).toEqual(always(200));
    await must(registry, `/apis/user.openshift.io/v1/users/${who.name}`, { method: 'DELETE' });
    for (const as of [apiToken, registryToken]) expect(await statuses('/v2/', as)).toEqual(always(401));
    expect((await registry.fetch('/v2/', { as: who })).status).toBe(401);
    const renewed = await registry.fetch('/auth/token', {
      method: 'POST',
      as: 'nobody',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
    });
    expect(renewed.status).toBe(401);
  });

  test(`${name}: a service account, also when another of its name comes`, async () => {
    const account = freshName();
    const accounts = '/api/v1/namespaces/red/serviceaccounts';
    await must(registry, accounts, { method: 'POST', body: { metadata: { name: account } } });
    await grant({ kind: 'ServiceAccount', namespace: 'red', name: account }, 'view', 'red');
    const token = await serviceAccountToken(registry, 'red', account);
    const given = { token: await registry.token([], { name: 'token', password: token }) };
    expect(await statuses('/api/v1/namespaces/red/configmaps', { token })).toEqual(always(200));
    expect(await statuses('/v2/', given)).toEqual(always(200));
    await must(registry, `${accounts}/${account}`, { method: 'DELETE' });
    expect(await statuses('/api/v1/namespaces/red/configmaps', { token })).toEqual(always(401));
    await must(registry, accounts, { method: 'POST', body: { metadata: { name: account } } });
    expect(await statuses('/api/v1/namespaces/red/configmaps', { token })).toEqual(always(401));
    expect(await statuses('/v2/', given)).toEqual(always(401));
  });

  test(`${name}: the secret that a token is bound to`, async () => {
    const secrets = '/api/v1/namespaces/red/secrets';
    const secret = await must(registry, secrets, {
      method: 'POST',
      body: {
        metadata: { name: freshName(), annotations: { 'kubernetes.io/service-account.name': 'default' } },
        type: 'kubernetes.io/service-account-token',
      },
    });
    const token = Buffer.from((secret['data'] as { token: string }).token, 'base64').toString();
    expect(await statuses('/v2/', { token })).toEqual(always(200));
    await must(registry, `${secrets}/${secret.metadata.name}`, { method: 'DELETE' });
    expect(await statuses('/v2/', { token })).toEqual(always(401));
  });

  test(`${name}: a password that was changed, with the registry tokens that were given for it`, async () => {
    const who = await newUser();
    const given = { token: await registry.token([], who) };
    expect(await statuses('/v2/', given)).toEqual(always(200));
    await registry.addUser({ ...who, password: 'another-secret', role: 'user' });
    expect(await statuses('/v2/', given)).toEqual(always(401));
    expect((await registry.fetch('/v2/', { as: who })).status).toBe(401);
  });

  test(`${name}: a project that was deleted, and one that is made by its name`, async () => {
    const project = freshName();
    await registry.addProject(project);
    await grant(user(eve.name), 'admin', project);
    await pushImage(registry, `${project}/app`, 'v1');
    const token = { token: await registry.token([`repository:${project}/app:pull`], eve) };
    expect(await statuses(`/v2/${project}/app/manifests/v1`, token)).toEqual(always(200));
    await must(registry, `/api/v1/namespaces/${project}`, { method: 'DELETE' });
    await expect
      .poll(async () => (await ask(registry, `/api/v1/namespaces/${project}`)).status, { timeout: 15_000 })
      .toBe(404);
    expect(await statuses(`/v2/${project}/app/manifests/v1`, token)).toEqual(always(403));
    await registry.addProject(project);
    expect(await statuses(`/v2/${project}/app/manifests/v1`, token)).toEqual(always(403));
    expect((await ask(registry, `/api/v1/namespaces/${project}/secrets`, { as: eve })).status).toBe(403);
  });
});

describe('CVE-2025-23208 zot: the groups of an identity provider are those of the last login', () => {
  const name = 'CVE-2025-23208 zot';
  const claim = { provider: 'idp', subject: 'subject-of-zoe', preferredName: 'zoe' } as const;
  const path = '/api/v1/namespaces/blue/configmaps';
  let logIn: (groups?: LoginClaim['groups']) => Promise<void>;
  let apiToken: Identity;
  let registryToken: Identity;

  beforeAll(async () => {
    const db = await registry.openDatabase();
    const store = new KyselyObjectStore(db);
    const logins = new Logins(store, new KyselyUserRecords(db));
    logIn = async (groups) => {
      await logins.completeLogin({ ...claim, ...(groups !== undefined && { groups }) });
    };
    await grant({ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'devs' }, 'edit', 'blue');
    await pushImage(registry, 'blue/groups', 'v1');
    const zoe = await logins.completeLogin({ ...claim, groups: ['devs', 'ops'] });
    const tokens = new AccessTokens(store);
    const { token } = await tokens.issue({
      user: zoe,
      clientName: 'test',
      scopes: ['user:full'],
      lifetimeSeconds: 3600,
    });
    apiToken = { token };
    registryToken = {
      token: await registry.token(['repository:blue/groups:pull'], { name: 'token', password: token }),
    };
  });

  async function expectMember(isMember: boolean): Promise<void> {
    const status = isMember ? 200 : 403;
    expect(await statuses(path, apiToken)).toEqual(always(status));
    expect(await statuses('/v2/blue/groups/manifests/v1', registryToken)).toEqual(always(status));
    const own = await must(registry, '/apis/user.openshift.io/v1/users/~', { as: apiToken });
    expect((own['groups'] as readonly string[]).includes('devs')).toBe(isMember);
  }

  test.each([
    ['one of several', ['ops']],
    ['all, said so', []],
    ['all, left out', undefined],
    ['one, for others like it', ['Devs', 'devs ', 'dev', 'devs/x', 'a,devs']],
  ])(`${name}: a login that takes away %s counts at once, with the tokens of before`, async (_what, groups) => {
    await logIn(['devs', 'ops']);
    await expectMember(true);
    await logIn(groups);
    await expectMember(false);
  });

  test(`${name}: a group that comes back gives back`, async () => {
    await logIn([]);
    await expectMember(false);
    await logIn(['devs']);
    await expectMember(true);
  });

  test(`${name}: no provider puts anybody into a group of the system`, async () => {
    await logIn([
      'system:masters',
      'SYSTEM:MASTERS',
      'system:cluster-admins',
      'system:serviceaccounts:blue',
      'harmless',
    ]);
    const own = await must(registry, '/apis/user.openshift.io/v1/users/~', { as: apiToken });
    expect(own['groups']).toEqual(['harmless', 'system:authenticated', 'system:authenticated:oauth']);
    await expectMember(false);
    expect((await ask(registry, '/api/v1/namespaces', { as: apiToken })).status).toBe(403);
  });

  test(`${name}: nobody becomes a local user by having their name`, async () => {
    const db = await registry.openDatabase();
    const logins = new Logins(new KyselyObjectStore(db), new KyselyUserRecords(db));
    for (const preferredName of ['admin', eve.name]) {
      const login = logins.completeLogin({ provider: 'idp', subject: `another ${preferredName}`, preferredName });
      await expect(login).rejects.toThrow(/somebody else/);
    }
  });
});
