import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiVersionOf, type Resource } from '../../src/kube/resource.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { emptyJson, imageManifest, pushImage, type PushedImage } from '../support/images.js';
import { admin, type Credentials, type TestRegistry } from '../support/registry.js';
import { ann, ask, eve, must, pathOf, startTenants, startTimeout } from './tenants.js';

const id = 'CVE-2019-16097 Harbor';

let registry: TestRegistry;
/** An image to be signed. */
let signed: PushedImage;
beforeAll(async () => {
  registry = await startTenants();
  signed = await pushImage(registry, 'red/app', 'v1');
  await pushImage(registry, 'red/mapped', 'v1');
}, startTimeout);
afterAll(() => registry.stop());

/** An image is called by the digest of its manifest. */
const made = imageManifest(emptyJson);

/** The least that each stored resource takes for an object. */
const leasts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'v1/configmaps': {},
  'v1/events': {},
  'v1/limitranges': {},
  'v1/namespaces': {},
  'v1/resourcequotas': { spec: { hard: { pods: '1' } } },
  'v1/secrets': {},
  'v1/serviceaccounts': {},
  'image.openshift.io/v1/images': { dockerImageManifest: made.bytes.toString() },
  'image.openshift.io/v1/imagesignatures': { type: 'atomic', content: 'c2lnbmF0dXJl' },
  'image.openshift.io/v1/imagestreams': {},
  'image.openshift.io/v1/imagestreamtags': { tag: { from: { kind: 'ImageStreamTag', name: 'app:v1' } } },
  'image.openshift.io/v1/imagestreammappings': {
    image: {
      metadata: { name: made.digest },
      dockerImageReference: 'quay.io/x/y:1',
      dockerImageManifest: made.bytes.toString(),
    },
    tag: 'v1',
  },
  // Nobody is asked: it is an address of this machine.
  'image.openshift.io/v1/imagestreamimports': {
    spec: { import: true, images: [{ from: { kind: 'DockerImage', name: '127.0.0.1:1/x/y:1' }, to: { name: 'v1' } }] },
  },
  'weir.dev/v1/tagpolicies': { spec: { requireReason: ['delete'] } },
  'weir.dev/v1/upstreamcaches': { spec: { registry: 'registry.example' } },
  'oauth.openshift.io/v1/oauthclients': { secret: 'a-secret-of-a-client' },
  'project.openshift.io/v1/projects': {},
  'project.openshift.io/v1/projectrequests': {},
  'rbac.authorization.k8s.io/v1/clusterrolebindings': {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
  },
  'rbac.authorization.k8s.io/v1/clusterroles': { rules: [] },
  'rbac.authorization.k8s.io/v1/rolebindings': {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
  },
  'rbac.authorization.k8s.io/v1/roles': { rules: [] },
  'user.openshift.io/v1/groups': {},
  'user.openshift.io/v1/identities': { providerName: 'idp', providerUserName: 'pushy' },
  'user.openshift.io/v1/users': {},
  'weir.dev/v1/trustrules': {
    spec: {
      issuer: 'https://issuer.example',
      audience: 'weir',
      claims: [{ claim: 'sub', value: 'somebody' }],
      serviceAccountName: 'default',
    },
  },
};

/** Metadata that is the server's to say. */
const metadata = {
  uid: '11111111-1111-4111-8111-111111111111',
  resourceVersion: '4711',
  generation: 42,
  creationTimestamp: '1999-12-31T00:00:00Z',
  deletionTimestamp: '1999-12-31T00:00:00Z',
  deletionGracePeriodSeconds: 1,
  selfLink: '/apis/self',
  managedFields: [{ manager: 'somebody' }],
};

/** Fields that other registries took from anybody, and those that only the server's own records have. */
const extras = {
  has_admin_role: true,
  isAdmin: true,
  role: 'admin',
  admin: true,
  passwordHash: '$2b$04$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu',
  password: 'chosen-by-somebody',
  secretHash: 'sha256:salt:digest',
  sealed: { key: 'key', text: 'text' },
  owner: 'somebody',
  userName: 'admin',
  basis: { kind: 'password', user: 'admin' },
  status: { phase: 'Terminating', used: { pods: '1000' }, token: 'mine', conditions: [{ type: 'mine' }] },
};

const isCreated = ({ storage }: Resource) => storage.create !== undefined;
const isReview = ({ plural }: Resource) => plural.endsWith('reviews');
/** The same tags as image stream tags; whatever else a body says than a spec is refused (test/streams/numbered-api.test.ts). */
const isOtherView = ({ plural }: Resource) => plural === 'imagetags';
const keyOf = (resource: Resource) => `${apiVersionOf(resource)}/${resource.plural}`;

function expectServersOwn(object: ApiObject): void {
  const text = JSON.stringify(object);
  for (const [field, value] of Object.entries(metadata)) {
    const kept = (object.metadata as unknown as Readonly<Record<string, unknown>>)[field];
    expect({ field, kept }).not.toEqual({ field, kept: value });
  }
  for (const field of Object.keys(extras).filter((each) => each !== 'status'))
    expect(object).not.toHaveProperty([field]);
  expect(text).not.toMatch(/Terminating|"mine"|1000|\$2b\$|sha256:salt|chosen-by-somebody/);
}

test(`${id}: every resource that can be created is in the table`, () => {
  const keys = registry.running.app.resources
    .filter((each) => isCreated(each) && !isReview(each) && !isOtherView(each))
    .map(keyOf);
  // A new resource is to be entered in `leasts`; a row for one that is not served does not matter.
  expect(keys.filter((key) => !Object.hasOwn(leasts, key))).toEqual([]);
});

describe.each(Object.keys(leasts))(`${id}: %s`, (key) => {
  const find = () => registry.running.app.resources.find((each) => keyOf(each) === key);
  const nameFor = (suffix: string) => {
    if (key.endsWith('/identities')) return `idp:pushy`;
    if (key.endsWith('/images')) return made.digest;
    if (/\/image(stream)?tags$/.test(key)) return `pushy-${suffix}:v1`;
    // It tells of a push into a stream that is there.
    if (key.endsWith('/imagestreammappings')) return 'mapped';
    return key.endsWith('/imagesignatures') ? `${signed.digest}@pushy` : `pushy-${suffix}`;
  };

  test(`${id}: creating one takes nothing that is the server’s to say`, async () => {
    const resource = find();
    if (resource === undefined) return;
    const path = pathOf(resource, resource.isNamespaced ? 'red' : '');
    const name = nameFor(key.replaceAll(/[^a-z]/g, ''));
    // Of an import, a uid or a resourceVersion would be a precondition on the stream.
    const isImport = key.endsWith('/imagestreamimports');
    const given = isImport ? { ...metadata, uid: undefined, resourceVersion: undefined } : metadata;
    const body = { ...leasts[key], ...extras, metadata: { ...given, name } };
    const strict = await ask(registry, `${path}?fieldValidation=Strict`, { method: 'POST', body });
    expect(strict.status).toBe(400);
    expect(strict.text).toContain('unknown field');
    const created = await ask(registry, path, { method: 'POST', body });
    expect(created.status).toBe(201);
    expectServersOwn(created.json!);
    if (resource.storage.get !== undefined) expectServersOwn(await must(registry, `${path}/${name}`));
  });

  test(`${id}: neither does changing one`, async () => {
    const resource = find();
    if (resource?.storage.update === undefined) return;
    const path = pathOf(resource, resource.isNamespaced ? 'red' : '');
    const name = nameFor(key.replaceAll(/[^a-z]/g, ''));
    const before = await must(registry, `${path}/${name}`);
    // A uid or a resourceVersion would be a precondition.
    const rest = { ...metadata, uid: undefined, resourceVersion: undefined };
    // A stream is replaced only by those who say what they have read.
    const read = key.endsWith('/imagestreams') ? { resourceVersion: before.metadata.resourceVersion } : {};
    const put = await ask(registry, `${path}/${name}`, {
      method: 'PUT',
      body: { ...leasts[key], ...extras, metadata: { ...before.metadata, ...rest, ...read, name } },
    });
    expect(put.status).toBe(200);
    const patch = await ask(registry, `${path}/${name}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/merge-patch+json' },
      body: { ...extras, metadata: rest },
    });
    expect(patch.status).toBe(200);
    const taken = await ask(registry, `${path}/${name}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json-patch+json' },
      body: [{ op: 'replace', path: '/metadata/uid', value: metadata.uid }],
    });
    expect(taken.status).toBe(409);
    for (const object of [put.json!, patch.json!, await must(registry, `${path}/${name}`)]) {
      expectServersOwn(object);
      expect(object.metadata.uid).toBe(before.metadata.uid);
      expect(object.metadata.creationTimestamp).toBe(before.metadata.creationTimestamp);
    }
  });
});

describe(`${id}: nobody makes themselves more than they are`, () => {
  const isMaster = async (as: Credentials | { readonly token: string }) =>
    (await ask(registry, '/api/v1/namespaces', { as })).status === 200;

  test.each([
    ['users', { metadata: { name: 'grouped' }, groups: ['system:masters'] }],
    ['groups', { metadata: { name: 'system:masters' }, users: ['eve'] }],
    ['groups', { metadata: { name: 'system:cluster-admins' }, users: ['eve'] }],
    ['users', { metadata: { name: 'system:admin' } }],
    ['users', { metadata: { name: 'system:serviceaccount:red:default' } }],
    ['users', { metadata: { name: '~' } }],
    [
      'identities',
      {
        metadata: { name: 'idp:grouped' },
        providerName: 'idp',
        providerUserName: 'grouped',
        extra: { 'weir.dev/groups': '["system:masters"]' },
      },
    ],
  ])(`${id}: %s as %j are refused, also to the administrator`, async (plural, body) => {
    const { status } = await ask(registry, `/apis/user.openshift.io/v1/${plural}`, { method: 'POST', body });
    expect(status).toBe(422);
  });

  test.each([
    ['users', { metadata: { name: 'of-eve' } }],
    ['groups', { metadata: { name: 'of-eve' }, users: ['eve'] }],
    ['identities', { metadata: { name: 'local:eve2' }, providerName: 'local', providerUserName: 'eve2' }],
  ])(`${id}: %s are not made by those who have no right to`, async (plural, body) => {
    for (const as of [eve, ann]) {
      expect((await ask(registry, `/apis/user.openshift.io/v1/${plural}`, { method: 'POST', as, body })).status).toBe(
        403,
      );
    }
  });

  test.each(['PUT', 'PATCH', 'DELETE'])(`${id}: %s of users/~ or of the own user is refused`, async (method) => {
    for (const name of ['~', 'eve']) {
      const { status } = await ask(registry, `/apis/user.openshift.io/v1/users/${name}`, {
        method,
        as: eve,
        headers: { 'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' },
        ...(method !== 'DELETE' && { body: { metadata: { name }, role: 'admin', groups: ['system:masters'] } }),
      });
      expect(status).toBe(403);
    }
    expect(await isMaster(eve)).toBe(false);
  });

  test(`${id}: a User that was made with everything is nobody until they have a password, and no administrator then`, async () => {
    const pushy = { name: 'pushy', password: 'pushy-secret' };
    await must(registry, '/apis/user.openshift.io/v1/users', {
      method: 'POST',
      body: { metadata: { name: pushy.name }, ...extras, identities: ['local:admin'] },
    });
    expect((await registry.fetch('/v2/', { as: { name: 'pushy', password: 'chosen-by-somebody' } })).status).toBe(401);
    await registry.addUser({ ...pushy, role: 'user' });
    expect((await registry.fetch('/metrics', { as: pushy })).status).toBe(403);
    // That login is claimed by another identity.
    await expect(registry.apiToken(pushy)).rejects.toThrow(/no API token/);
    expect(await isMaster(admin)).toBe(true);
  });

  test(`${id}: a form that asks for more than it has is given no more`, async () => {
    const response = await registry.fetch('/auth/token', {
      method: 'POST',
      as: 'nobody',
      body: new URLSearchParams({
        grant_type: 'password',
        username: eve.name,
        password: eve.password,
        scope: 'repository:red/app:pull,push registry:catalog:*',
        role: 'admin',
        groups: 'system:masters',
        sub: 'admin',
        aud: 'weir-api',
        exp: '4000000000',
        access: '[{"type":"repository","name":"red/app","actions":["push"]}]',
      }),
    });
    const { access_token: token } = (await response.json()) as { access_token: string };
    const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
    expect(claims).toMatchObject({
      sub: 'eve',
      aud: 'weir-registry',
      access: [{ type: 'registry', name: 'catalog', actions: ['*'] }],
    });
    expect(claims['exp']).toBeLessThan(Date.now() / 1000 + 3600);
    expect(Object.keys(claims).sort()).toEqual(['access', 'aud', 'basis', 'exp', 'iat', 'iss', 'jti', 'nbf', 'sub']);
  });

  test(`${id}: who asks for a project says its name and what it is for, and nothing that policy reads`, async () => {
    const paul = { name: 'paul', password: 'paul-secret' };
    await registry.addUser({ ...paul, role: 'user' });
    await must(registry, '/apis/project.openshift.io/v1/projectrequests', {
      method: 'POST',
      as: paul,
      body: {
        metadata: {
          name: 'of-paul',
          labels: { 'kubernetes.io/metadata.name': 'openshift', trusted: 'yes' },
          annotations: { 'openshift.io/requester': 'admin', 'openshift.io/node-selector': 'any', trusted: 'yes' },
          finalizers: ['weir.dev/forever'],
          ownerReferences: [{ apiVersion: 'v1', kind: 'Namespace', name: 'openshift', uid: 'any' }],
        },
        displayName: 'Of Paul',
      },
    });
    const namespace = await must(registry, '/api/v1/namespaces/of-paul');
    expect(namespace.metadata).toMatchObject({
      labels: { 'kubernetes.io/metadata.name': 'of-paul' },
      annotations: { 'openshift.io/requester': 'paul', 'openshift.io/display-name': 'Of Paul' },
    });
    expect(JSON.stringify(namespace)).not.toMatch(/trusted|node-selector|forever|ownerReferences/);
  });

  test.each(['openshift-', 'kube-', 'kubernetes-', 'free-'])(
    `${id}: who asks for a project says its whole name, and not that it begins with %s`,
    async (generateName) => {
      const { status } = await ask(registry, '/apis/project.openshift.io/v1/projectrequests', {
        method: 'POST',
        as: eve,
        body: { metadata: { generateName } },
      });
      expect(status).toBe(422);
    },
  );

  test(`${id}: no name of a field reaches what all objects have in common`, async () => {
    const polluting = '{"polluted":"yes"}';
    const path = '/api/v1/namespaces/red/configmaps';
    const body = JSON.parse(
      `{"metadata":{"name":"polluting","__proto__":${polluting}},"__proto__":${polluting},"constructor":{"prototype":${polluting}},"data":{"__proto__":"yes"}}`,
    ) as object;
    expect((await ask(registry, path, { method: 'POST', body })).status).toBeLessThan(500);
    for (const [type, patch] of [
      ['merge-patch', body],
      ['strategic-merge-patch', body],
      ['json-patch', [{ op: 'add', path: '/__proto__/polluted', value: 'yes' }]],
      ['json-patch', [{ op: 'add', path: '/constructor/prototype/polluted', value: 'yes' }]],
    ] as const) {
      const headers = { 'Content-Type': `application/${type}+json` };
      const { status } = await ask(registry, `${path}/polluting`, { method: 'PATCH', headers, body: patch });
      expect(status).toBeLessThan(500);
    }
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test(`${id}: a token request says whose token it is by its path only`, async () => {
    const request = await must(registry, '/api/v1/namespaces/red/serviceaccounts/default/token', {
      method: 'POST',
      as: ann,
      body: {
        metadata: { name: 'builder', namespace: 'red' },
        spec: { serviceAccountName: 'builder', groups: ['system:masters'], user: 'admin' },
        status: { token: 'mine' },
      },
    });
    const { token } = request['status'] as { readonly token: string };
    const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
    expect(claims).toMatchObject({ sub: 'system:serviceaccount:red:default', aud: ['weir-api'] });
    expect(JSON.stringify(claims)).not.toMatch(/masters|admin|builder/);
  });

  test.each([
    ['a secret of another account', { 'kubernetes.io/service-account.name': '../blue/default' }],
    [
      'a secret with a uid of another',
      { 'kubernetes.io/service-account.name': 'default', 'kubernetes.io/service-account.uid': 'other' },
    ],
  ])(`${id}: %s holds no token`, async (_what, annotations) => {
    const { status } = await ask(registry, '/api/v1/namespaces/red/secrets', {
      method: 'POST',
      as: ann,
      body: { metadata: { name: 'taken', annotations }, type: 'kubernetes.io/service-account-token' },
    });
    expect(status).toBe(422);
  });

  test(`${id}: a token secret keeps its own token, whatever is written into it`, async () => {
    const path = '/api/v1/namespaces/red/secrets';
    const secret = await must(registry, path, {
      method: 'POST',
      as: ann,
      body: {
        metadata: { name: 'kept', annotations: { 'kubernetes.io/service-account.name': 'default' } },
        type: 'kubernetes.io/service-account-token',
      },
    });
    const changed = await must(registry, `${path}/kept`, {
      method: 'PUT',
      as: ann,
      body: {
        metadata: { name: 'kept', annotations: { 'kubernetes.io/service-account.name': 'builder' } },
        type: 'kubernetes.io/service-account-token',
        data: { token: Buffer.from('another').toString('base64') },
      },
    });
    expect((changed['data'] as { token: string }).token).toBe((secret['data'] as { token: string }).token);
    expect(changed.metadata.annotations).toMatchObject({ 'kubernetes.io/service-account.name': 'default' });
  });
});
