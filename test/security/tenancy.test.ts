import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiVersionOf, type Resource } from '../../src/kube/resource.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import {
  content,
  imageManifest,
  pushBlob,
  pushImage,
  putManifest,
  sha256,
  startUpload,
  type PushedImage,
} from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { admin, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';
import { ann, ask, bob, eve, must, pathOf, serviceAccountToken, startTenants, startTimeout } from './tenants.js';

/** Builds in red: pushes, and makes repositories. */
const cal: Credentials = { name: 'cal', password: 'cal-secret' };
/** Looks into red. */
const vic: Credentials = { name: 'vic', password: 'vic-secret' };
/** Reads the whole cluster. */
const rob: Credentials = { name: 'rob', password: 'rob-secret' };
/** Pushes to red and pulls from blue. */
const mia: Credentials = { name: 'mia', password: 'mia-secret' };

let registry: TestRegistry;
/** Of blue. */
let image: PushedImage;

beforeAll(async () => {
  registry = await startTenants();
  for (const who of [cal, vic, rob, mia]) await registry.addUser({ ...who, role: 'user' });
  await registry.bind(cal.name, 'system:image-builder', 'red');
  await registry.bind(vic.name, 'view', 'red');
  await registry.bind(rob.name, 'cluster-reader');
  await registry.bind(mia.name, 'system:image-builder', 'red');
  await registry.bind(mia.name, 'system:image-puller', 'blue');
  image = await pushImage(registry, 'blue/app', 'v1', 'blue only');
  await pushImage(registry, 'red/app', 'v1', 'red only');
}, startTimeout);
afterAll(() => registry.stop());

describe('CVE-2024-39897 zot: a blob is got through a repository that has it and that one may pull from', () => {
  const parts = () => [image.digest, image.config.digest, image.layer.digest];
  const methods = ['GET', 'HEAD'] as const;

  test.each(methods)(
    'CVE-2024-39897 zot: %s of a blob of another tenant through a repository of one’s own',
    async (method) => {
      for (const digest of parts()) {
        for (const repository of ['red/app', 'red/none']) {
          const response = await registry.fetch(`/v2/${repository}/blobs/${digest}`, { method, as: ann });
          expect(response.status).toBe(404);
          expect(await response.text()).not.toContain('blue');
        }
      }
    },
  );

  test.each(methods)('CVE-2024-39897 zot: %s of a manifest of another tenant by its digest', async (method) => {
    for (const path of [`/v2/red/app/manifests/${image.digest}`, `/v2/red/none/manifests/${image.digest}`]) {
      expect((await registry.fetch(path, { method, as: ann })).status).toBe(404);
    }
    const there = await registry.fetch(`/v2/blue/app/manifests/${image.digest}`, { method, as: ann });
    expect(there.status).toBe(403);
  });

  test('CVE-2024-39897 zot: a part of a blob, or the news that it is unchanged, is no more to be had', async () => {
    const path = `/v2/red/app/blobs/${image.layer.digest}`;
    for (const headers of [
      { Range: 'bytes=0-3' },
      { 'If-None-Match': `"${image.layer.digest}"` },
      { 'If-None-Match': '*' },
    ]) {
      expect((await registry.fetch(path, { as: ann, headers })).status).toBe(404);
    }
  });

  test.each([
    ['from its repository', () => `mount=${image.layer.digest}&from=blue/app`],
    ['from nowhere in particular', () => `mount=${image.layer.digest}`],
    ['from the own repository', () => `mount=${image.layer.digest}&from=red/app`],
    ['named as an upload without bytes', () => `digest=${image.layer.digest}`],
  ])('CVE-2024-39897 zot: a blob of another tenant, %s, is not linked', async (_name, query) => {
    const response = await registry.fetch(`/v2/red/app/blobs/uploads/?${query()}`, { method: 'POST', as: ann });
    expect(response.status).toBe(202);
    const session = response.headers.get('Location')!;
    const end = await registry.fetch(`${session}?digest=${image.layer.digest}`, { method: 'PUT', as: ann });
    await expectFailure(end, 400, 'DIGEST_INVALID');
    expect((await registry.fetch(`/v2/red/app/blobs/${image.layer.digest}`, { as: ann })).status).toBe(404);
  });

  test('CVE-2024-39897 zot: a manifest that names blobs or manifests of another tenant does not bring them along', async () => {
    const borrowed = imageManifest(image.config, [image.layer], { annotations: { borrowed: 'yes' } });
    const pushed = await putManifest(registry, 'red/app', borrowed, 'borrowed', { as: ann });
    await expectFailure(pushed, 404, 'MANIFEST_BLOB_UNKNOWN');
    for (const digest of parts()) {
      expect((await registry.fetch(`/v2/red/app/blobs/${digest}`, { as: ann })).status).toBe(404);
    }
  });

  test('CVE-2024-39897 zot: what both tenants have pushed is each one’s own', async () => {
    const bytes = 'bytes that both have';
    const { digest } = await pushBlob(registry, 'blue/app', bytes, { as: bob });
    expect((await registry.fetch(`/v2/red/app/blobs/${digest}`, { as: ann })).status).toBe(404);
    await pushBlob(registry, 'red/app', bytes, { as: ann });
    const gone = await registry.fetch(`/v2/red/app/blobs/${digest}`, { method: 'DELETE', as: ann });
    expect(gone.status).toBe(202);
    expect((await registry.fetch(`/v2/red/app/blobs/${digest}`, { as: ann })).status).toBe(404);
    expect(await (await registry.fetch(`/v2/blue/app/blobs/${digest}`, { as: bob })).text()).toBe(bytes);
  });
});

describe('CVE-2026-117685 Gitea: the source of a mount is judged by the token, and not by who showed it', () => {
  const mount = (query: string, as: Identity) =>
    registry.fetch(`/v2/red/app/blobs/uploads/?${query}`, { method: 'POST', as });

  test('CVE-2026-117685 Gitea: with the password, that may pull from there, the mount succeeds', async () => {
    const { digest } = await pushBlob(registry, 'blue/app', 'to be mounted');
    expect((await mount(`mount=${digest}&from=blue/app`, mia)).status).toBe(201);
  });

  test.each([
    ['the target only', ['repository:red/app:pull,push']],
    ['the target and another repository', ['repository:red/app:pull,push', 'repository:blue/other:pull']],
    ['the target, and of the source something else', ['repository:red/app:pull,push', 'repository:blue/app:push']],
  ])('CVE-2026-117685 Gitea: with a token for %s it does not', async (name, scopes) => {
    const { digest } = await pushBlob(registry, 'blue/app', `not to be mounted: ${name}`);
    const token = await registry.token(scopes, mia);
    expect((await mount(`mount=${digest}&from=blue/app`, { token })).status).toBe(401);
    expect([202, 401]).toContain((await mount(`mount=${digest}`, { token })).status);
    expect((await registry.fetch(`/v2/red/app/blobs/${digest}`)).status).toBe(404);
  });
});

describe('CVE-2026-27771 Gitea: a token for nobody opens nothing that is closed to nobody', () => {
  /** What clients and scanners try in the place of a login. */
  const nobodies: Readonly<Record<string, () => Promise<Identity>>> = {
    'a token for nobody': async () => ({
      token: await registry.token(['repository:blue/app:pull', 'registry:catalog:*'], 'nobody'),
    }),
    'Bearer anonymous': () => Promise.resolve({ token: 'anonymous' }),
    'Bearer ghost': () => Promise.resolve({ token: 'ghost' }),
    'user ghost without a password': () => Promise.resolve({ name: 'ghost', password: '' }),
    'the name of the anonymous user': () => Promise.resolve({ name: 'system:anonymous', password: '' }),
    'an empty name and password': () => Promise.resolve({ name: '', password: '' }),
    'no credentials at all': () => Promise.resolve('nobody'),
  };

  test.each(Object.keys(nobodies))('CVE-2026-27771 Gitea: %s pulls nothing and lists nothing', async (name) => {
    const as = await nobodies[name]!();
    const paths = [
      '/v2/blue/app/manifests/v1',
      `/v2/blue/app/manifests/${image.digest}`,
      `/v2/blue/app/blobs/${image.layer.digest}`,
      '/v2/blue/app/tags/list',
      `/v2/blue/app/referrers/${image.digest}`,
      '/v2/_catalog',
    ];
    for (const path of paths) {
      const response = await registry.fetch(path, { as });
      const text = await response.text();
      expect({ path, status: response.status }).toEqual({ path, status: 401 });
      expect(text).not.toContain(image.digest);
      expect(text).not.toContain('repositories');
    }
  });
});

/** An object for each namespaced resource there is, with words in it that must not get out. */
const marker = 'only-for-blue';
const objects: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'v1/secrets': { stringData: { note: marker }, metadata: { annotations: { note: marker } } },
  'v1/configmaps': { data: { note: marker } },
  'v1/serviceaccounts': { metadata: { annotations: { note: marker } } },
  'v1/resourcequotas': { metadata: { annotations: { note: marker } }, spec: { hard: { pods: '17' } } },
  'v1/limitranges': { metadata: { annotations: { note: marker } }, spec: { limits: [] } },
  'v1/events': { message: marker },
  'rbac.authorization.k8s.io/v1/roles': { metadata: { annotations: { note: marker } }, rules: [] },
  'rbac.authorization.k8s.io/v1/rolebindings': {
    metadata: { annotations: { note: marker } },
    subjects: [],
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
  },
  'image.openshift.io/v1/imagestreams': { metadata: { annotations: { note: marker } } },
  'weir.dev/v1/tagpolicies': { metadata: { annotations: { note: marker } }, spec: { requireReason: ['delete'] } },
  'weir.dev/v1/upstreamcaches': {
    metadata: { annotations: { note: marker } },
    spec: { registry: 'registry.example' },
  },
  'weir.dev/v1/trustrules': {
    metadata: { annotations: { note: marker } },
    spec: {
      issuer: 'https://issuer.example',
      audience: 'weir',
      claims: [{ claim: 'sub', value: 'somebody' }],
      serviceAccountName: 'default',
    },
  },
};

function keyOf(resource: Resource): string {
  return `${apiVersionOf(resource)}/${resource.plural}`;
}

/** What is no object of its own, such as a tag of a stream, cannot be watched. */
const isStored = ({ isNamespaced, storage }: Resource) =>
  isNamespaced && storage.update !== undefined && storage.watch !== undefined;

/** The object of a row, as somebody would send it; without the marker where it is not of blue. */
function bodyOf(key: string, metadata: Readonly<Record<string, unknown>>): object {
  const text = JSON.stringify({ ...objects[key], metadata: { ...(objects[key]!['metadata'] as object), ...metadata } });
  return JSON.parse(metadata['name'] === 'target' ? text : text.replaceAll(marker, 'harmless')) as object;
}

describe('CVE-2022-31666 to CVE-2022-31671 Harbor: objects of another project', () => {
  const ids = 'CVE-2022-31666…31671 Harbor, CVE-2026-109195 Quay';

  test(`${ids}: every namespaced resource with objects is in the table`, () => {
    const keys = registry.running.app.resources.filter(isStored).map(keyOf);
    // A new resource is to be entered in `objects`; a row for one that is not served does not matter.
    expect(keys.filter((key) => !Object.hasOwn(objects, key))).toEqual([]);
  });

  describe.each(Object.keys(objects))('%s', (key) => {
    let resource: Resource | undefined;
    let target: ApiObject;
    let own: ApiObject;

    beforeAll(async () => {
      resource = registry.running.app.resources.find((each) => keyOf(each) === key);
      if (resource === undefined) return;
      const create = (namespace: string, name: string, as: Identity) =>
        must(registry, pathOf(resource!, namespace), { method: 'POST', as, body: bodyOf(key, { name }) });
      target = await create('blue', 'target', admin);
      own = await create('red', 'own', admin);
    });
    // Some of them change what else can be done in a project.
    afterAll(async () => {
      if (resource === undefined) return;
      await ask(registry, pathOf(resource, 'blue', 'target'), { method: 'DELETE' });
      await ask(registry, pathOf(resource, 'red', 'own'), { method: 'DELETE' });
    });

    /** Nothing of the object is in an answer. */
    function expectNothing(text: string): void {
      expect(text).not.toContain(marker);
      expect(text).not.toContain(target.metadata.uid);
    }

    const there = (name: string) => pathOf(resource!, 'blue', name);
    const requests: readonly (readonly [string, string, () => object])[] = [
      ['GET', '', () => ({})],
      ['PUT', '', () => ({ body: bodyOf(key, { name: 'target', namespace: 'blue' }) })],
      [
        'PATCH',
        '',
        () => ({
          headers: { 'Content-Type': 'application/merge-patch+json' },
          body: { metadata: { labels: { taken: 'over' } } },
        }),
      ],
      ['DELETE', '', () => ({})],
      ['GET', '?watch=true&timeoutSeconds=1', () => ({})],
    ];

    test.each(requests)(
      `${ids}: %s of one by name%s is refused, in words that are the same when there is none`,
      async (method, query, more) => {
        if (resource === undefined) return;
        for (const as of [ann, eve]) {
          const present = await ask(registry, there('target') + query, { method, as, ...more() });
          const absent = await ask(registry, there('nothing') + query, { method, as, ...more() });
          expect(present.status).toBe(403);
          expect(absent.status).toBe(403);
          expect(present.text.replaceAll('target', 'nothing')).toBe(absent.text);
          expectNothing(present.text);
        }
      },
    );

    test.each([
      ['GET', ''],
      ['GET', '?watch=true&timeoutSeconds=1'],
      ['GET', '?fieldSelector=metadata.name=target'],
      ['POST', ''],
      ['DELETE', ''],
    ])(`${ids}: %s%s of all of another project, or of all projects, is refused`, async (method, query) => {
      if (resource === undefined) return;
      const body = method === 'POST' ? { body: bodyOf(key, { name: 'intruder' }) } : {};
      for (const namespace of ['blue', ...(method === 'GET' ? [''] : [])]) {
        const { status, text } = await ask(registry, pathOf(resource, namespace) + query, { method, as: ann, ...body });
        expect({ namespace, status }).toEqual({ namespace, status: 403 });
        expectNothing(text);
      }
    });

    test(`${ids}: the own project is no way to them`, async () => {
      if (resource === undefined) return;
      const here = (name: string) => pathOf(resource!, 'red', name);
      expect((await ask(registry, here('target'), { as: ann })).status).toBe(404);
      for (const path of [
        `${pathOf(resource, 'red')}/..%2f..%2fblue%2f${resource.plural}%2ftarget`,
        `${pathOf(resource, 'red')}/../../blue/${resource.plural}/target`.replaceAll('..', '%2e%2e'),
        `${pathOf(resource, 'red%2f..%2fblue')}/target`,
      ]) {
        const { status, text } = await ask(registry, path, { as: ann });
        expect(status).toBeGreaterThanOrEqual(400);
        expectNothing(text);
      }
      const selected = await must(registry, `${pathOf(resource, 'red')}?fieldSelector=metadata.namespace=blue`, {
        as: ann,
      });
      expect(selected.items).toEqual([]);
    });

    test(`${ids}: a body cannot say that it is of another project`, async () => {
      if (resource === undefined) return;
      const create = await ask(registry, pathOf(resource, 'red'), {
        method: 'POST',
        body: bodyOf(key, { name: 'elsewhere', namespace: 'blue' }),
      });
      expect(create.status).toBe(400);
      expect((await ask(registry, pathOf(resource, 'blue', 'elsewhere'))).status).toBe(404);
    });

    test(`${ids}: a page of a list cannot be made to begin in another project`, async () => {
      if (resource === undefined) return;
      for (const position of [
        ['1', 'blue', ''],
        ['1', '', ''],
        ['1', 'blue', 'target'],
        ['0', 'a', ''],
      ]) {
        const token = Buffer.from(JSON.stringify(position)).toString('base64url');
        const { json, text } = await ask(registry, `${pathOf(resource, 'red')}?limit=50&continue=${token}`, {
          as: ann,
        });
        expectNothing(text);
        for (const { metadata } of json?.items ?? []) expect(metadata.namespace).toBe('red');
      }
    });

    test(`${ids}: a precondition that names an object of another project keeps the own one as it is`, async () => {
      if (resource === undefined) return;
      const path = pathOf(resource, 'red', 'own');
      const { uid, resourceVersion } = target.metadata;
      for (const preconditions of [{ uid }, { resourceVersion }]) {
        const removal = await ask(registry, path, { method: 'DELETE', body: { preconditions } });
        expect(removal.status).toBe(409);
        const update = await ask(registry, path, {
          method: 'PUT',
          body: bodyOf(key, { name: 'own', ...preconditions }),
        });
        expect(update.status).toBe(409);
      }
      expect((await must(registry, path)).metadata.uid).toBe(own.metadata.uid);
      expect((await must(registry, there('target'))).metadata.resourceVersion).toBe(resourceVersion);
    });
  });

  test.each(['localsubjectaccessreviews', 'localresourceaccessreviews'])(
    `${ids}: %s answers about the project of its path, and about no other`,
    async (plural) => {
      const question = { namespace: 'blue', verb: 'get', resource: 'secrets', user: bob.name };
      const path = (namespace: string) => `/apis/authorization.openshift.io/v1/namespaces/${namespace}/${plural}`;
      const init = { method: 'POST', as: ann, body: question };
      expect((await ask(registry, path('blue'), init)).status).toBe(403);
      const { status, text } = await ask(registry, path('red'), init);
      expect(status).toBe(422);
      expect(text).not.toContain('"bob"');
    },
  );

  test.each(['resourceaccessreviews', 'subjectaccessreviews'])(
    `${ids}: %s tells nothing of a project in which the caller has no right to ask`,
    async (plural) => {
      const question = { namespace: 'blue', verb: 'get', resource: 'secrets', user: bob.name };
      const { status } = await ask(registry, `/apis/authorization.openshift.io/v1/${plural}`, {
        method: 'POST',
        as: ann,
        body: question,
      });
      expect(status).toBe(403);
    },
  );
});

describe('CVE-2025-4374 Quay: who makes a repository by pushing to it has no more rights in it than elsewhere', () => {
  const bindings = async (project: string) =>
    (await must(registry, `/apis/rbac.authorization.k8s.io/v1/namespaces/${project}/rolebindings`)).items!.map(
      ({ metadata }) => metadata.name,
    );

  test('CVE-2025-4374 Quay: a builder cannot delete what they have pushed, nor let others in', async () => {
    const before = await bindings('red');
    const pushed = await pushImage(registry, 'red/of-cal', 'v1', 'of cal', { as: cal });
    expect(await bindings('red')).toEqual(before);
    for (const path of [
      '/v2/red/of-cal/manifests/v1',
      `/v2/red/of-cal/manifests/${pushed.digest}`,
      `/v2/red/of-cal/blobs/${pushed.layer.digest}`,
    ]) {
      await expectFailure(await registry.fetch(path, { method: 'DELETE', as: cal }), 403, 'DENIED');
    }
    for (const role of ['admin', 'edit', 'view', 'system:image-builder']) {
      const { status } = await ask(registry, '/apis/rbac.authorization.k8s.io/v1/namespaces/red/rolebindings', {
        method: 'POST',
        as: cal,
        body: {
          metadata: { name: `of-cal-${role.replace(':', '-')}` },
          subjects: [{ kind: 'User', name: eve.name }],
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        },
      });
      expect(status).toBe(403);
    }
  });

  test('CVE-2025-4374 Quay: the token of a builder says no more for a repository that is not there yet', async () => {
    const scope = 'repository:red/not-yet:pull,push,delete,*';
    const token = await registry.token([scope], cal);
    const { access } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { access: unknown };
    expect(access).toEqual([{ type: 'repository', name: 'red/not-yet', actions: ['pull', 'push'] }]);
  });

  test('CVE-2025-4374 Quay: a project that came of a push has no bindings but those of every project', async () => {
    const others = await bindings('blue');
    await pushImage(registry, 'made-by-push/app', 'v1');
    const names = await bindings('made-by-push');
    expect(names.filter((name) => !others.includes(name))).toEqual([]);
    expect(names).not.toContain('admin');
  });

  test('CVE-2025-4374 Quay: who may only pull makes nothing', async () => {
    for (const target of ['red/of-vic', 'of-vic/app']) {
      const response = await registry.fetch(`/v2/${target}/blobs/uploads/`, { method: 'POST', as: vic });
      expect(response.status).toBe(403);
    }
    expect((await ask(registry, '/api/v1/namespaces/of-vic')).status).toBe(404);
  });
});

describe('CVE-2026-32589 Quay: an upload is its beginner’s alone', () => {
  const others: Readonly<Record<string, () => Identity | Promise<Identity>>> = {
    'another builder of the project': () => cal,
    'the administrator of the project': () => ann,
    'the administrator of everything': () => admin,
    'another builder with a token': async () => ({
      token: await registry.token(['repository:red/app:pull,push'], cal),
    }),
    'the builder of another project by the same path': () => bob,
    nobody: () => 'nobody',
  };
  const refusals = [401, 403, 404];

  test.each(Object.keys(others))(
    'CVE-2026-32589 Quay: %s can neither look at it, nor append, nor finish, nor cancel',
    async (name) => {
      const as = await others[name]!();
      const session = await startUpload(registry, 'red/app', { as: mia });
      await registry.fetch(session, { method: 'PATCH', as: mia, body: 'mine' });
      const { digest } = content('mine');
      const attempts: readonly (readonly [string, string, string | null])[] = [
        ['GET', session, null],
        ['HEAD', session, null],
        ['PATCH', session, ' and yours'],
        ['PUT', `${session}?digest=${digest}`, null],
        ['PUT', `${session}?digest=${sha256('mine and yours')}`, ' and yours'],
        ['DELETE', session, null],
        ['GET', session.replace('/red/', '/blue/'), null],
        ['DELETE', session.replace('/red/app/', '/red/other/'), null],
      ];
      for (const [method, path, body] of attempts) {
        const response = await registry.fetch(path, { method, as, body });
        expect(refusals).toContain(response.status);
        expect(response.headers.get('Range')).toBeNull();
      }
      const status = await registry.fetch(session, { as: mia });
      expect(status.headers.get('Range')).toBe('0-3');
      expect((await registry.fetch(`${session}?digest=${digest}`, { method: 'PUT', as: mia })).status).toBe(201);
    },
  );

  test('CVE-2026-32589 Quay: its id has at least 128 random bits, and tells nothing of the next', async () => {
    const sessions = await Promise.all(Array.from({ length: 50 }, () => startUpload(registry, 'red/app', { as: mia })));
    const ids = sessions.map((session) => /\/([0-9a-f]{32,})$/.exec(session)?.[1] ?? '');
    expect(new Set(ids).size).toBe(50);
    for (let digit = 0; digit < ids[0]!.length; digit += 1) {
      // Of fifty random digits, sixteen possible ones, two are different but once in 10^58.
      expect(new Set(ids.map((id) => id[digit])).size).toBeGreaterThan(1);
    }
  });
});

describe('CVE-2026-18255 Quay: who may read everything reads no secrets', () => {
  const readers = [
    ['a viewer of the project', vic],
    ['a reader of the cluster', rob],
  ] as const;

  let secretValue: string;
  let boundToken: string;
  beforeAll(async () => {
    secretValue = Buffer.from('value-of-the-secret').toString('base64');
    await must(registry, '/api/v1/namespaces/red/secrets', {
      method: 'POST',
      body: { metadata: { name: 'kept' }, data: { value: secretValue } },
    });
    const secret = await must(registry, '/api/v1/namespaces/red/secrets', {
      method: 'POST',
      body: {
        metadata: { name: 'account', annotations: { 'kubernetes.io/service-account.name': 'default' } },
        type: 'kubernetes.io/service-account-token',
      },
    });
    boundToken = (secret['data'] as { token: string }).token;
  });

  test.each(readers)('CVE-2026-18255 Quay: %s is refused secrets in every form', async (_name, as) => {
    for (const path of [
      '/api/v1/namespaces/red/secrets',
      '/api/v1/namespaces/red/secrets?watch=true&timeoutSeconds=1',
      '/api/v1/namespaces/red/secrets?fieldSelector=metadata.name=kept',
      '/api/v1/namespaces/red/secrets/kept',
      '/api/v1/namespaces/red/secrets/account',
      '/api/v1/secrets',
      '/apis/oauth.openshift.io/v1/oauthaccesstokens',
      '/apis/oauth.openshift.io/v1/oauthaccesstokens?watch=true&timeoutSeconds=1',
    ]) {
      for (const accept of ['application/json', 'application/json;as=Table;v=v1;g=meta.k8s.io']) {
        const { status } = await ask(registry, path, { as, headers: { Accept: accept } });
        expect({ path, status }).toEqual({ path, status: 403 });
      }
    }
  });

  test.each(readers)('CVE-2026-18255 Quay: %s cannot have a token made', async (_name, as) => {
    const request = await ask(registry, '/api/v1/namespaces/red/serviceaccounts/default/token', {
      method: 'POST',
      as,
      body: { spec: {} },
    });
    expect(request.status).toBe(403);
  });

  test.each(readers)('CVE-2026-18255 Quay: nothing that %s may list has a secret in it', async (_name, as) => {
    const apiTokens = await Promise.all([registry.apiToken(vic), registry.apiToken(rob)]);
    const secrets = [
      secretValue,
      'value-of-the-secret',
      boundToken,
      Buffer.from(boundToken, 'base64').toString(),
      ...apiTokens,
      '$2b$',
    ];
    const seen: string[] = [];
    for (const resource of registry.running.app.resources) {
      if (resource.storage.list === undefined) continue;
      for (const namespace of resource.isNamespaced ? ['red', ''] : ['']) {
        const { status, text } = await ask(registry, pathOf(resource, namespace), { as });
        if (status === 200) seen.push(resource.plural);
        for (const secret of secrets) expect(text).not.toContain(secret);
      }
    }
    expect(seen).toContain('serviceaccounts');
  });

  test('CVE-2026-18255 Quay: not even the administrator is shown a token again', async () => {
    const accountToken = await serviceAccountToken(registry, 'red', 'default');
    const apiToken = await registry.apiToken(ann);
    const account = await ask(registry, '/api/v1/namespaces/red/serviceaccounts/default');
    expect(account.text).not.toContain(accountToken);
    expect((await ask(registry, '/api/v1/namespaces/red/serviceaccounts/default/token')).status).toBe(405);
    const { json, text } = await ask(
      registry,
      '/apis/oauth.openshift.io/v1/oauthaccesstokens?fieldSelector=userName=ann',
    );
    expect(json!.items!.length).toBeGreaterThan(0);
    expect(text).not.toContain(apiToken);
    expect(text).not.toContain(apiToken.slice('sha256~'.length));
    const named = json!.items![0]!.metadata.name;
    // The name of a token's object is no token.
    expect((await ask(registry, '/apis/user.openshift.io/v1/users/~', { as: { token: named } })).status).toBe(401);
  });

  test('CVE-2026-18255 Quay: the database has neither secrets nor tokens as they are', async () => {
    const db = await registry.openDatabase();
    const apiToken = await registry.apiToken(ann);
    const response = await registry.fetch('/auth/token?offline_token=true', { as: ann });
    const { refresh_token: refreshToken } = (await response.json()) as { refresh_token: string };
    const everything = JSON.stringify([
      await db.selectFrom('object').selectAll().execute(),
      await db.selectFrom('change').selectAll().execute(),
      await db.selectFrom('refresh_token').selectAll().execute(),
      await db.selectFrom('user').selectAll().execute(),
    ]);
    for (const secret of [secretValue, boundToken, apiToken, refreshToken, ann.password, admin.password]) {
      expect(everything).not.toContain(secret);
    }
  });
});
