import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPerson, apiTokenFor, forged, serviceAccountToken, signedAgain } from './support/identities.js';
import { content, imageManifest, pushBlob, pushImage, startUpload, types, type PushedImage } from './support/images.js';
import {
  admin as clusterAdmin,
  startRegistry,
  type Credentials,
  type Identity,
  type TestRegistry,
  type TestRequest,
} from './support/registry.js';

/** Who is bound to which ClusterRole: in project `team`, or everywhere. */
const grants = {
  outsider: undefined,
  viewer: { role: 'registry-viewer', namespace: 'team' },
  puller: { role: 'system:image-puller', namespace: 'team' },
  pusher: { role: 'system:image-pusher', namespace: 'team' },
  builder: { role: 'system:image-builder', namespace: 'team' },
  editor: { role: 'registry-editor', namespace: 'team' },
  // The user `admin` is that of the whole registry.
  'project-admin': { role: 'admin', namespace: 'team' },
  signer: { role: 'system:image-signer', namespace: 'team' },
  pruner: { role: 'system:image-pruner' },
  'cluster-reader': { role: 'cluster-reader' },
} as const;
type PersonName = keyof typeof grants | 'cluster-admin';

/** Everybody who logs in with a password of their own. */
const people = [...(Object.keys(grants) as (keyof typeof grants)[]), 'cluster-admin'] as const;

/** Who comes to the door. */
const identities = [
  'anonymous',
  'an anonymous token',
  ...people,
  // The narrowed tokens are the editor's.
  'a token to pull',
  'a token of another scope',
  'an expired token',
  'a forged token',
  'a wrong password',
] as const;
type IdentityName = (typeof identities)[number];

/** What a route asks for, who has it, and what those are told who have not: everyone left out here, 401. */
const needs = {
  'to be anyone': { allowed: identities },
  'to be logged in': { allowed: [...people, 'a token to pull', 'a token of another scope'] },
  'to pull': {
    allowed: [
      'viewer',
      'puller',
      'pusher',
      'builder',
      'editor',
      'project-admin',
      'signer',
      'cluster-reader',
      'cluster-admin',
      'a token to pull',
    ],
    403: ['outsider', 'pruner'],
  },
  'to push': {
    allowed: ['pusher', 'builder', 'editor', 'project-admin', 'cluster-admin'],
    403: ['outsider', 'viewer', 'puller', 'signer', 'pruner', 'cluster-reader'],
  },
  'to delete': {
    allowed: ['editor', 'project-admin', 'pruner', 'cluster-admin'],
    403: ['outsider', 'viewer', 'puller', 'pusher', 'builder', 'signer', 'cluster-reader'],
  },
  // The editor, whose tokens these are, may not.
  'to sign': {
    allowed: ['signer', 'cluster-admin'],
    403: [
      'outsider',
      'viewer',
      'puller',
      'pusher',
      'builder',
      'editor',
      'project-admin',
      'pruner',
      'cluster-reader',
      'a token to pull',
      'a token of another scope',
    ],
  },
  'to prune': {
    allowed: ['pruner', 'cluster-admin'],
    403: [
      'outsider',
      'viewer',
      'puller',
      'pusher',
      'builder',
      'editor',
      'project-admin',
      'signer',
      'cluster-reader',
      'a token to pull',
      'a token of another scope',
    ],
  },
  'to list repositories': { allowed: people },
  'to read metrics': {
    allowed: ['cluster-reader', 'cluster-admin'],
    403: [
      'outsider',
      'viewer',
      'puller',
      'pusher',
      'builder',
      'editor',
      'project-admin',
      'signer',
      'pruner',
      'a token to pull',
      'a token of another scope',
    ],
  },
  'the right password': { allowed: people },
  'the right password or none, and no token': { allowed: ['anonymous', ...people] },
  // A header with the request is the OAuth client's, which here is said to be another one; a client has no token.
  'no credentials but those of the client': { allowed: ['anonymous'], 400: [...people, 'a wrong password'] },
} as const satisfies Record<string, Readonly<Partial<Record<'allowed' | 400 | 403, readonly IdentityName[]>>>>;

interface Expectation {
  readonly needs: keyof typeof needs;
  /** Of the answer to who may. */
  readonly status: number;
  /** A request that succeeds for who may; `as` is who will send it, when they may. */
  readonly request: (as: Identity) => Target | Promise<Target>;
}

type Target = Omit<TestRequest, 'as'> & { readonly path: string };

let registry: TestRegistry;
let image: PushedImage;
let named: Readonly<Record<PersonName, Credentials>>;
/** Made anew for each request where it matters. */
let credentials: Readonly<Record<IdentityName, () => Identity>>;

beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['team', 'other']) await registry.addProject(project);
  image = await pushImage(registry, 'team/app', 'v1');
  await pushImage(registry, 'other/app', 'v1');
  await pushImage(registry, 'openshift/tools', 'v1');
  const added = await Promise.all(
    Object.entries(grants).map(async ([name, grant]) => [name, await addPerson(registry, name, grant)] as const),
  );
  named = { ...(Object.fromEntries(added) as Record<keyof typeof grants, Credentials>), 'cluster-admin': clusterAdmin };
  const full = await registry.token(['repository:team/app:pull,push,delete', 'registry:catalog:*'], clusterAdmin);
  const tokens = {
    'an anonymous token': await registry.token(['repository:team/app:pull,push'], 'nobody'),
    'a token to pull': await registry.token(['repository:team/app:pull'], named.editor),
    'a token of another scope': await registry.token(['repository:team/another:pull,push,delete'], named.editor),
    'an expired token': await signedAgain(registry, full, -60),
    'a forged token': await forged(full),
  };
  credentials = {
    anonymous: () => 'nobody',
    ...eachAs((person) => () => person, named),
    ...eachAs((token) => () => ({ token }), tokens),
    'a wrong password': wrongPassword,
  };
});
afterAll(() => registry.stop());

function eachAs<Name extends string, From, To>(make: (value: From) => To, values: Readonly<Record<Name, From>>) {
  return Object.fromEntries(Object.entries<From>(values).map(([name, value]) => [name, make(value)])) as Record<
    Name,
    To
  >;
}

let wrongCount = 0;
/** Of one after the other: after ten failures an account is not asked any more. */
function wrongPassword(): Credentials {
  wrongCount += 1;
  const { name } = named[people[wrongCount % people.length]!];
  return { name, password: 'wrong' };
}

let count = 0;
function freshText(): string {
  count += 1;
  return `bytes ${count}`;
}

function session(as: Identity): Promise<string> {
  return startUpload(registry, 'team/app', { as });
}

const client = 'openshift-challenging-client';

function authorizePath(responseType: 'code' | 'token'): string {
  const query = new URLSearchParams({ client_id: client, response_type: responseType });
  return `/oauth/authorize?${query.toString()}`;
}

const fromProgram = { headers: { 'X-CSRF-Token': '1' } };

const put = { headers: { 'Content-Type': types.manifest } };

function fixed(path: string): () => Target {
  return () => ({ path });
}

/** Nobody learns anything from it. */
const onlyPost: Expectation = { needs: 'to be anyone', status: 405, request: fixed('/v2/team/app/blobs/uploads/') };

/** Every route there is. A new one fails the first test below until it is entered here. */
const expectations: Readonly<Record<string, Expectation>> = {
  'GET /': { needs: 'to be anyone', status: 200, request: fixed('/') },
  'GET /healthz': { needs: 'to be anyone', status: 200, request: fixed('/healthz') },
  'GET /livez': { needs: 'to be anyone', status: 200, request: fixed('/livez') },
  'GET /readyz': { needs: 'to be anyone', status: 200, request: fixed('/readyz') },
  'GET /metrics': { needs: 'to read metrics', status: 200, request: fixed('/metrics') },
  'GET /auth/token': {
    needs: 'the right password or none, and no token',
    status: 200,
    request: fixed('/auth/token?service=weir-registry'),
  },
  'GET /openshift/token': {
    needs: 'the right password or none, and no token',
    status: 200,
    request: fixed('/openshift/token?service=weir-registry'),
  },
  'POST /auth/token': {
    // The credentials are in the form.
    needs: 'to be anyone',
    status: 200,
    request: () => {
      const { name: username, password } = named.outsider;
      return { path: '/auth/token', body: new URLSearchParams({ grant_type: 'password', username, password }) };
    },
  },
  'GET /auth/keys': { needs: 'to be anyone', status: 200, request: fixed('/auth/keys') },
  'GET /.well-known/oauth-authorization-server': {
    needs: 'to be anyone',
    status: 200,
    request: fixed('/.well-known/oauth-authorization-server'),
  },
  'GET /oauth/authorize': {
    needs: 'the right password',
    status: 302,
    request: () => ({ path: authorizePath('token'), ...fromProgram }),
  },
  'POST /oauth/token': {
    needs: 'no credentials but those of the client',
    status: 200,
    request: async () => {
      const given = await registry.fetch(authorizePath('code'), {
        as: named.outsider,
        redirect: 'manual',
        ...fromProgram,
      });
      const code = new URL(given.headers.get('Location')!).searchParams.get('code')!;
      return {
        path: '/oauth/token',
        body: new URLSearchParams({ grant_type: 'authorization_code', client_id: client, code }),
      };
    },
  },
  'GET /oauth/token/implicit': { needs: 'to be anyone', status: 200, request: fixed('/oauth/token/implicit') },
  'GET /oauth/token/request': { needs: 'to be anyone', status: 200, request: fixed('/oauth/token/request') },
  'POST /oauth/login': {
    // The credentials are in the form, as is the answer to the cookie.
    needs: 'to be anyone',
    status: 200,
    request: async () => {
      const page = await registry.fetch('/oauth/token/request', { as: 'nobody' });
      const [cookie = ''] = page.headers.getSetCookie()[0]!.split(';');
      const { name: username, password } = named.outsider;
      return {
        path: '/oauth/login',
        headers: { Cookie: cookie },
        body: new URLSearchParams({ csrf: cookie.slice(cookie.indexOf('=') + 1), username, password }),
      };
    },
  },
  'GET /v2': { needs: 'to be logged in', status: 200, request: fixed('/v2/') },
  'GET /v2/_catalog': { needs: 'to list repositories', status: 200, request: fixed('/v2/_catalog') },
  'GET /v2/*name/tags/list': { needs: 'to pull', status: 200, request: fixed('/v2/team/app/tags/list') },
  'GET /v2/*name/referrers/:digest': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: `/v2/team/app/referrers/${image.digest}` }),
  },
  'GET /v2/*name/manifests/:reference': {
    needs: 'to pull',
    status: 200,
    request: fixed('/v2/team/app/manifests/v1'),
  },
  'PUT /v2/*name/manifests/:reference': {
    needs: 'to push',
    status: 201,
    request: () => ({ ...put, path: '/v2/team/app/manifests/pushed', body: image.bytes }),
  },
  'DELETE /v2/*name/manifests/:reference': {
    needs: 'to delete',
    status: 202,
    request: async () => {
      const { bytes } = imageManifest(image.config, [image.layer], { annotations: { text: freshText() } });
      await registry.fetch('/v2/team/app/manifests/deleted', { ...put, method: 'PUT', body: bytes });
      return { path: '/v2/team/app/manifests/deleted' };
    },
  },
  'GET /v2/*name/blobs/:digest': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: `/v2/team/app/blobs/${image.layer.digest}` }),
  },
  'DELETE /v2/*name/blobs/:digest': {
    needs: 'to delete',
    status: 202,
    request: async () => ({ path: `/v2/team/app/blobs/${(await pushBlob(registry, 'team/app', freshText())).digest}` }),
  },
  'POST /v2/*name/blobs/uploads': { needs: 'to push', status: 202, request: fixed('/v2/team/app/blobs/uploads/') },
  'GET /v2/*name/blobs/uploads': onlyPost,
  'PUT /v2/*name/blobs/uploads': onlyPost,
  'PATCH /v2/*name/blobs/uploads': onlyPost,
  'DELETE /v2/*name/blobs/uploads': onlyPost,
  'GET /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 204,
    request: async (as) => ({ path: await session(as) }),
  },
  'PATCH /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 202,
    request: async (as) => ({ path: await session(as), body: freshText() }),
  },
  'PUT /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 201,
    request: async (as) => {
      const { bytes, digest } = content(freshText());
      return { path: `${await session(as)}?digest=${digest}`, body: bytes };
    },
  },
  'DELETE /v2/*name/blobs/uploads/:session': {
    needs: 'to push',
    status: 204,
    request: async (as) => ({ path: await session(as) }),
  },
  'GET /extensions/v2/*name/signatures/:digest': {
    needs: 'to pull',
    status: 200,
    request: () => ({ path: `/extensions/v2/team/app/signatures/${image.digest}` }),
  },
  'PUT /extensions/v2/*name/signatures/:digest': {
    needs: 'to sign',
    status: 201,
    request: () => {
      const text = freshText();
      const signature = {
        schemaVersion: 2,
        name: `${image.digest}@${text}`,
        content: Buffer.from(text).toString('base64'),
      };
      return { path: `/extensions/v2/team/app/signatures/${image.digest}`, body: JSON.stringify(signature) };
    },
  },
  'POST /extensions/weir/v1/projects/:project/archives': {
    // An archive without images: who may not push is refused before it is read.
    needs: 'to push',
    status: 400,
    request: () => ({
      path: '/extensions/weir/v1/projects/team/archives',
      headers: { 'Content-Type': 'application/x-tar' },
      body: Buffer.alloc(1024),
    }),
  },
  'DELETE /admin/blobs/:digest': {
    needs: 'to prune',
    status: 204,
    request: async () => ({ path: `/admin/blobs/${(await pushBlob(registry, 'team/app', freshText())).digest}` }),
  },
};

function routes(): string[] {
  return registry.running.app.routers
    .flatMap((router) => router.stack)
    .flatMap((layer) => layer.methods.map((method) => `${method} ${String(layer.path)}`))
    .filter((route) => !route.startsWith('HEAD '));
}

test('every route has an entry in the table, and every entry a route', () => {
  expect(routes().sort()).toEqual(Object.keys(expectations).sort());
});

describe.each(Object.entries(expectations))('%s', (route, { needs: need, status, request }) => {
  const answers: Readonly<Partial<Record<'allowed' | 400 | 403, readonly string[]>>> = needs[need];
  const method = route.slice(0, route.indexOf(' '));

  test.each(identities.map((identity) => ({ identity, answer: expectedStatus(identity) })))(
    `takes ${need}: $identity gets $answer`,
    async ({ identity, answer }) => {
      const isAllowed = answers.allowed?.includes(identity) === true;
      const { path, ...rest } = await request(isAllowed ? credentials[identity]() : clusterAdmin);
      const send = (sent: string) =>
        registry.fetch(path, { method: sent, redirect: 'manual', ...rest, as: credentials[identity]() });
      const response = await send(method);
      expect(response.status).toBe(answer);
      if (answer === 401) expect(response.headers.get('WWW-Authenticate')).toMatch(/^(Bearer|Basic) realm="/);
      if (!path.startsWith('/oauth/')) {
        if (answer === 401) expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
        if (answer === 403) expect(await response.json()).toMatchObject({ errors: [{ code: 'DENIED' }] });
      }
      if (method === 'GET') expect((await send('HEAD')).status).toBe(answer);
    },
  );

  function expectedStatus(identity: IdentityName): number {
    if (answers.allowed?.includes(identity) === true) return status;
    if (answers[400]?.includes(identity) === true) return 400;
    return answers[403]?.includes(identity) === true ? 403 : 401;
  }
});

test('a token that was narrowed opens no metrics, whoever it is of', async () => {
  const token = await registry.token(['repository:team/app:pull', 'registry:catalog:*'], clusterAdmin);
  const response = await registry.fetch('/metrics', { as: { token } });
  expect(response.status).toBe(401);
  expect(response.headers.get('WWW-Authenticate')).toContain('error="insufficient_scope"');
});

test('a token that the registry signs again is as good as before, so it is its age and its key that count', async () => {
  const tokens = [
    await registry.token(['repository:team/app:pull'], named.puller),
    await serviceAccountToken(registry, 'team', 'builder'),
  ];
  for (const token of tokens) {
    const again = await signedAgain(registry, token, 60);
    expect((await registry.fetch('/v2/team/app/manifests/v1', { as: { token: again } })).status).toBe(200);
  }
});

describe('the list of repositories', () => {
  const own = ['openshift/tools', 'team/app'];
  const all = ['openshift/tools', 'other/app', 'team/app'];
  // Project `openshift` is there for everybody who is logged in; those who only pull know what they look for.
  test.each<{ identity: PersonName; seen: readonly string[] }>([
    { identity: 'outsider', seen: ['openshift/tools'] },
    { identity: 'viewer', seen: own },
    { identity: 'puller', seen: ['openshift/tools'] },
    { identity: 'pusher', seen: ['openshift/tools'] },
    { identity: 'builder', seen: ['openshift/tools'] },
    { identity: 'signer', seen: ['openshift/tools'] },
    { identity: 'editor', seen: own },
    { identity: 'project-admin', seen: own },
    { identity: 'pruner', seen: all },
    { identity: 'cluster-reader', seen: all },
    { identity: 'cluster-admin', seen: all },
  ])('shows $identity $seen', async ({ identity, seen }) => {
    const response = await registry.fetch('/v2/_catalog', { as: named[identity] });
    expect(await response.json()).toEqual({ repositories: seen });
    const token = await registry.token(['registry:catalog:*'], named[identity]);
    const again = await registry.fetch('/v2/_catalog', { as: { token } });
    expect(await again.json()).toEqual({ repositories: seen });
  });
});

describe('what is in a project that binds nobody to a role', () => {
  const elsewhere = ['/v2/other/app/manifests/v1', '/v2/other/unknown/manifests/v1', '/v2/unknown/app/manifests/v1'];

  test.each(people.filter((name) => name !== 'cluster-admin' && name !== 'cluster-reader'))(
    'is refused to %s, as what is not there is',
    async (identity) => {
      const errors = await Promise.all(
        elsewhere.map(async (path) => {
          const response = await registry.fetch(path, { as: named[identity] });
          const name = path.slice('/v2/'.length, path.indexOf('/manifests'));
          return { status: response.status, body: (await response.text()).replaceAll(name, '<name>') };
        }),
      );
      expect(errors.map(({ status }) => status)).toEqual([403, 403, 403]);
      expect(new Set(errors.map(({ body }) => body)).size).toBe(1);
    },
  );

  test('is not there for those who may read everything', async () => {
    const statuses = elsewhere.map(
      async (path) => (await registry.fetch(path, { as: named['cluster-reader'] })).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 404, 404]);
  });
});

/** Pushes an image without layers. @returns the statuses of its blob and of its manifest, each tried for itself */
async function push(to: TestRegistry, repository: string, as: Identity): Promise<readonly number[]> {
  const config = content(JSON.stringify({ architecture: 'amd64', os: 'linux', name: freshText() }));
  const uploads = `/v2/${repository}/blobs/uploads/?digest=${config.digest}`;
  const blob = await to.fetch(uploads, { method: 'POST', body: config.bytes, as });
  const { bytes } = imageManifest(config);
  const manifest = await to.fetch(`/v2/${repository}/manifests/v1`, { ...put, method: 'PUT', body: bytes, as });
  return [blob.status, manifest.status];
}

describe('the first push to a repository of a project', () => {
  test.each<{ identity: PersonName | 'anonymous'; answers: readonly number[] }>([
    { identity: 'anonymous', answers: [401, 401] },
    { identity: 'outsider', answers: [403, 403] },
    { identity: 'viewer', answers: [403, 403] },
    { identity: 'puller', answers: [403, 403] },
    { identity: 'pusher', answers: [403, 403] },
    { identity: 'builder', answers: [201, 201] },
    { identity: 'editor', answers: [201, 201] },
    { identity: 'project-admin', answers: [201, 201] },
    { identity: 'signer', answers: [403, 403] },
    { identity: 'pruner', answers: [403, 403] },
    { identity: 'cluster-reader', answers: [403, 403] },
    { identity: 'cluster-admin', answers: [201, 201] },
  ])('answers $identity $answers', async ({ identity, answers }) => {
    expect(await push(registry, `team/first-of-${identity}`, credentials[identity]())).toEqual(answers);
  });

  test('is all that a pusher waits for', async () => {
    expect(await push(registry, 'team/made-by-builder', named.pusher)).toEqual([403, 403]);
    expect(await push(registry, 'team/made-by-builder', named.builder)).toEqual([201, 201]);
    expect(await push(registry, 'team/made-by-builder', named.pusher)).toEqual([201, 201]);
  });
});

describe('a push into a project that is not there', () => {
  const projects = '/apis/project.openshift.io/v1/projects';

  const refused = people.filter((name) => name !== 'cluster-admin');

  test.each(refused)('is refused to %s, and tells only those who see all projects why', async (identity) => {
    const answer = identity === 'cluster-reader' ? 404 : 403;
    expect(await push(registry, `new-${identity}/app`, named[identity])).toEqual([answer, answer]);
    expect((await registry.api(`${projects}/new-${identity}`)).status).toBe(404);
  });

  test('makes it for those who may make projects, and for nobody else', async () => {
    expect(await push(registry, 'new-of-nobody/app', 'nobody')).toEqual([401, 401]);
    expect(await push(registry, 'new-of-cluster-admin/app', clusterAdmin)).toEqual([201, 201]);
    expect((await registry.api(`${projects}/new-of-cluster-admin`)).status).toBe(200);
  });

  test('makes none with a token that does not cover it', async () => {
    const token = await registry.token(['repository:new-of-token/app:pull'], clusterAdmin);
    expect(await push(registry, 'new-of-token/app', { token })).toEqual([401, 401]);
    expect((await registry.api(`${projects}/new-of-token`)).status).toBe(404);
  });

  describe('when projects are never made by a push', () => {
    let strict: TestRegistry;
    beforeAll(async () => {
      strict = await startRegistry({ WEIR_PROJECTS_CREATE_ON_PUSH: 'never' });
    });
    afterAll(() => strict.stop());

    test('is refused to everybody, and who may see all projects is told why', async () => {
      const outsider = await addPerson(strict, 'outsider');
      const token = await strict.apiToken(outsider);
      expect(await push(strict, 'new/app', outsider)).toEqual([403, 403]);
      expect(await push(strict, 'new/app', { token })).toEqual([403, 403]);
      const response = await strict.fetch('/v2/new/app/blobs/uploads/', { method: 'POST' });
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
      expect((await strict.api(`${projects}/new`)).status).toBe(404);
    });
  });

  describe('when a push makes what its sender may ask for', () => {
    let open: TestRegistry;
    let outsider: Credentials;
    beforeAll(async () => {
      open = await startRegistry({ WEIR_PROJECTS_CREATE_ON_PUSH: 'self-provisioners' });
      outsider = await addPerson(open, 'outsider');
    });
    afterAll(() => open.stop());

    test('makes whoever shows an API token its admin', async () => {
      const token = await open.apiToken(outsider);
      expect(await push(open, 'mine/app', { token })).toEqual([201, 201]);
      const bindings = '/apis/rbac.authorization.k8s.io/v1/namespaces/mine/rolebindings/admin';
      expect(await (await open.api(bindings, { as: outsider })).json()).toMatchObject({
        subjects: [{ kind: 'User', name: 'outsider' }],
        roleRef: { kind: 'ClusterRole', name: 'admin' },
      });
      expect((await open.fetch('/v2/mine/app/manifests/v1', { method: 'DELETE', as: { token } })).status).toBe(202);
    });

    test('makes it with a registry token that an API token bought', async () => {
      const token = await open.token(['repository:bought/app:pull,push'], {
        name: 'anything',
        password: await open.apiToken(outsider),
      });
      expect(await push(open, 'bought/app', { token })).toEqual([201, 201]);
    });

    test.each(['openshift-mine', 'kube-mine', 'kubernetes'])(
      'is refused where %s is a name of the system',
      async (project) => {
        expect(await push(open, `${project}/app`, { token: await open.apiToken(outsider) })).toEqual([403, 403]);
      },
    );

    test('is refused to those who ask with a password, and to service accounts', async () => {
      expect(await push(open, 'by-password/app', outsider)).toEqual([403, 403]);
      const token = await serviceAccountToken(open, 'library', 'builder');
      expect(await push(open, 'by-account/app', { token })).toEqual([403, 403]);
    });

    test('is refused for a project of somebody else', async () => {
      await open.addProject('theirs');
      expect(await push(open, 'theirs/app', { token: await open.apiToken(outsider) })).toEqual([403, 403]);
    });
  });
});

describe('what somebody shows', () => {
  const requests = {
    enter: { path: '/v2/' },
    pull: { path: '/v2/team/app/manifests/v1' },
    push: { path: '/v2/team/app/blobs/uploads/', method: 'POST' },
    list: { path: '/v2/_catalog' },
    buy: { path: '/auth/token?service=weir-registry&scope=repository:team/app:pull' },
  } as const;
  /** Of the answers to all of these; a token buys no other when it is shown as one. */
  const usable = { enter: 200, pull: 200, push: 202, list: 200, buy: 200 };
  const usableToken = { ...usable, buy: 401 };
  const onlyPull = { ...usable, push: 403 };
  const foreign = { ...usable, pull: 403, push: 403 };
  const worthless = { enter: 401, pull: 401, push: 401, list: 401, buy: 401 };

  const asPassword = (token: string): Credentials => ({ name: 'anybody', password: token });
  const asBearer = (token: string) => ({ token });

  test.each<{ name: string; as: () => Identity | Promise<Identity>; answers: Record<keyof typeof requests, number> }>([
    { name: 'a password', as: () => named.editor, answers: usable },
    {
      name: 'an API token as a password',
      as: async () => asPassword(await registry.apiToken(named.editor)),
      answers: usable,
    },
    { name: 'an API token', as: async () => asBearer(await registry.apiToken(named.editor)), answers: usableToken },
    {
      name: 'a token of a service account as a password',
      as: async () => asPassword(await account('team', 'builder')),
      answers: usable,
    },
    {
      name: 'a token of a service account',
      as: async () => asBearer(await account('team', 'builder')),
      answers: usableToken,
    },
    {
      name: 'a registry token that was bought with a password',
      as: async () => asBearer(await bought(named.editor)),
      answers: usableToken,
    },
    {
      name: 'a registry token that was bought with an API token',
      as: async () => asBearer(await bought(asPassword(await registry.apiToken(named.editor)))),
      answers: usableToken,
    },
    {
      name: 'a registry token that was bought by a service account',
      as: async () => asBearer(await bought(asPassword(await account('team', 'builder')))),
      answers: usableToken,
    },
    {
      name: 'a registry token as a password',
      as: async () => asPassword(await bought(named.editor)),
      answers: worthless,
    },
    {
      name: 'a token of a service account that only pulls',
      as: async () => asPassword(await account('team', 'default')),
      answers: onlyPull,
    },
    {
      name: 'a token of a service account of another project',
      as: async () => asPassword(await account('other', 'builder')),
      answers: foreign,
    },
    {
      name: 'a token of a service account for somebody else',
      as: async () => asPassword(await account('team', 'builder', ['elsewhere'])),
      answers: worthless,
    },
    {
      name: 'an expired token of a service account',
      as: async () => asPassword(await signedAgain(registry, await account('team', 'builder'), -60)),
      answers: worthless,
    },
    {
      name: 'a forged token of a service account',
      as: async () => asBearer(await forged(await account('team', 'builder'))),
      answers: worthless,
    },
    {
      name: 'an API token that lives',
      as: async () => asPassword(await apiTokenFor(registry, named.editor, 60)),
      answers: usable,
    },
    {
      name: 'an expired API token',
      as: async () => asPassword(await apiTokenFor(registry, named.editor, -60)),
      answers: worthless,
    },
  ])('$name opens $answers', async ({ as, answers }) => {
    const identity = await as();
    const statuses: Record<string, number> = {};
    for (const [name, { path, ...init }] of Object.entries(requests)) {
      statuses[name] = (await registry.fetch(path, { ...init, as: identity })).status;
    }
    expect(statuses).toEqual(answers);
  });

  function account(namespace: string, name: string, audiences: readonly string[] = []): Promise<string> {
    return serviceAccountToken(registry, namespace, name, { audiences });
  }

  function bought(as: Credentials): Promise<string> {
    return registry.token(['repository:team/app:pull,push', 'registry:catalog:*'], as);
  }
});
