import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { content, imageManifest, pushImage, putManifest, types, type PushedImage } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { admin, type Credentials, type Identity, type TestRegistry } from '../support/registry.js';
import { ann, ask, eve, must, serviceAccountToken, startTenants, startTimeout } from './tenants.js';

/** Group subjects of bindings that make a project visible to more than its members. */
const groupsByVisibility = {
  private: [],
  internal: ['system:authenticated'],
  public: ['system:authenticated', 'system:unauthenticated'],
} as const;
type Visibility = keyof typeof groupsByVisibility;

const principals = [
  'nobody',
  'a stranger',
  'a stranger by API token',
  'a service account of elsewhere',
  'a member',
] as const;
type PrincipalName = (typeof principals)[number];

/** Who may pull, by hand; who may push and delete are members. */
const pullers: Readonly<Record<Visibility, readonly PrincipalName[]>> = {
  private: ['a member'],
  internal: ['a stranger', 'a stranger by API token', 'a service account of elsewhere', 'a member'],
  public: ['nobody', 'a stranger', 'a stranger by API token', 'a service account of elsewhere', 'a member'],
};

/** What a token is asked for; none: what the principal has shows itself. */
const scopes = {
  'without a registry token': undefined,
  'with a token for the repository': (repository: string) => [`repository:${repository}:pull,push,delete`],
  'with a token to pull': (repository: string) => [`repository:${repository}:pull`],
  'with a token for a repository beside it': (repository: string) => [`repository:${repository}-2:pull,push,delete`],
  'with a token for nothing': () => [],
} as const;
type ScopeName = keyof typeof scopes;

const actions = ['pull', 'push', 'delete'] as const;
type Action = (typeof actions)[number];

const covered: Readonly<Record<ScopeName, readonly Action[]>> = {
  'without a registry token': ['pull', 'push', 'delete'],
  'with a token for the repository': ['pull', 'push', 'delete'],
  'with a token to pull': ['pull'],
  'with a token for a repository beside it': [],
  'with a token for nothing': [],
};

describe.each(['on', 'off'] as const)('with anonymous pull %s', (anonymousPull) => {
  const name = 'CVE-2026-66849 and CVE-2026-56443 Gitea';
  let registry: TestRegistry;
  let shown: Readonly<Record<PrincipalName, Identity>>;

  beforeAll(async () => {
    registry = await startTenants({ WEIR_ANONYMOUS_PULL: String(anonymousPull === 'on') });
    for (const [visibility, groups] of Object.entries(groupsByVisibility)) {
      await registry.addProject(visibility);
      await registry.bind(ann.name, 'admin', visibility);
      for (const group of groups) await registry.bind({ kind: 'Group', name: group }, 'registry-viewer', visibility);
      await pushImage(registry, `${visibility}/app`, 'v1');
    }
    shown = {
      nobody: 'nobody',
      'a stranger': eve,
      'a stranger by API token': { token: await registry.apiToken(eve) },
      'a service account of elsewhere': { token: await serviceAccountToken(registry, 'blue', 'builder') },
      'a member': ann,
    };
  }, startTimeout);
  afterAll(() => registry.stop());

  /** A registry token for who it is, or what they have. */
  async function identityOf(principal: PrincipalName, scope: ScopeName, repository: string): Promise<Identity> {
    const as = shown[principal];
    const wanted = scopes[scope];
    if (wanted === undefined) return as;
    const credentials = typeof as === 'object' && 'token' in as ? { name: 'token', password: as.token } : as;
    return { token: await registry.token(wanted(repository), credentials) };
  }

  async function statusOf(action: Action, project: string, as: Identity): Promise<number> {
    const path = `/v2/${project}/app`;
    switch (action) {
      case 'pull': {
        const [manifest, tags] = await Promise.all([
          registry.fetch(`${path}/manifests/v1`, { as }),
          registry.fetch(`${path}/tags/list`, { as }),
        ]);
        expect(tags.status).toBe(manifest.status);
        return manifest.status;
      }
      case 'push':
        return (await registry.fetch(`${path}/blobs/uploads/`, { method: 'POST', as })).status;
      case 'delete':
        return (await registry.fetch(`${path}/manifests/not-there`, { method: 'DELETE', as })).status;
    }
  }

  const succeeded: Readonly<Record<Action, number>> = { pull: 200, push: 202, delete: 404 };

  function expectedStatus(action: Action, visibility: Visibility, principal: PrincipalName, scope: ScopeName): number {
    const isMember = principal === 'a member';
    const isNobody = principal === 'nobody';
    const may =
      action === 'pull' ? pullers[visibility].includes(principal) && (!isNobody || anonymousPull === 'on') : isMember;
    if (may && covered[scope].includes(action)) return succeeded[action];
    // A login or a wider token might help; whom neither would is told so.
    return isNobody || may ? 401 : 403;
  }

  const rows = (Object.keys(groupsByVisibility) as Visibility[]).flatMap((visibility) =>
    principals.flatMap((principal) =>
      (Object.keys(scopes) as ScopeName[]).map((scope) => ({ visibility, principal, scope })),
    ),
  );
  test.each(rows)(
    `${name}: $principal $scope in a project that is $visibility`,
    async ({ visibility, principal, scope }) => {
      const as = await identityOf(principal, scope, `${visibility}/app`);
      for (const action of actions) {
        const status = await statusOf(action, visibility, as);
        expect({ action, status }).toEqual({ action, status: expectedStatus(action, visibility, principal, scope) });
      }
    },
  );

  test.each(principals)(
    `${name}: the catalog of %s has the repositories of what is visible to them`,
    async (principal) => {
      const response = await registry.fetch('/v2/_catalog', { as: shown[principal] });
      if (principal === 'nobody' && anonymousPull === 'off') {
        expect(response.status).toBe(401);
        return;
      }
      const { repositories } = (await response.json()) as { repositories: string[] };
      const visible = (Object.keys(pullers) as Visibility[]).filter((visibility) =>
        pullers[visibility].includes(principal),
      );
      expect(repositories).toEqual(visible.map((visibility) => `${visibility}/app`).sort());
    },
  );
});

describe('CVE-2026-41888 distribution: a switch that is off is off on every route', () => {
  const { bytes, digest } = content('bytes of a blob');
  const manifest = imageManifest(content('{}'), []);

  /** Everything that changes a repository. */
  const changes = (repository: string): readonly (readonly [string, string, string | Buffer | null])[] => [
    ['POST', `/v2/${repository}/blobs/uploads/`, null],
    ['POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, bytes],
    ['POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=red/app`, null],
    ['POST', `/v2/${repository}/blobs/uploads/?mount=${digest}`, null],
    ['PATCH', `/v2/${repository}/blobs/uploads/${'0'.repeat(40)}`, bytes],
    ['PUT', `/v2/${repository}/blobs/uploads/${'0'.repeat(40)}?digest=${digest}`, bytes],
    ['DELETE', `/v2/${repository}/blobs/uploads/${'0'.repeat(40)}`, null],
    ['PUT', `/v2/${repository}/manifests/v1`, manifest.bytes],
    ['PUT', `/v2/${repository}/manifests/${manifest.digest}`, manifest.bytes],
    ['PUT', `/v2/${repository}/manifests/${manifest.digest}?tag=v1&tag=v2`, manifest.bytes],
    ['DELETE', `/v2/${repository}/manifests/v1`, null],
    ['DELETE', `/v2/${repository}/manifests/${manifest.digest}`, null],
    ['DELETE', `/v2/${repository}/blobs/${digest}`, null],
  ];

  function send(registry: TestRegistry, [method, path, body]: ReturnType<typeof changes>[number], as: Identity) {
    return registry.fetch(path, { method, as, body, headers: { 'Content-Type': types.manifest } });
  }

  describe('projects.createOnPush', () => {
    const pushes = (repository: string) => changes(repository).filter(([method]) => method !== 'DELETE');

    test(
      'CVE-2026-41888 distribution: createOnPush never is never, for the administrator as well',
      async () => {
        const registry = await startTenants({ WEIR_PROJECTS_CREATE_ON_PUSH: 'never' });
        try {
          for (const change of pushes('not-there/app')) {
            await expectFailure(await send(registry, change, admin), 404, 'NAME_UNKNOWN');
            await expectFailure(await send(registry, change, ann), 403, 'DENIED');
            expect((await ask(registry, '/api/v1/namespaces/not-there')).status).toBe(404);
          }
          const token = await registry.token(['repository:not-there/app:pull,push'], ann);
          expect(
            (await registry.fetch('/v2/not-there/app/blobs/uploads/', { method: 'POST', as: { token } })).status,
          ).toBe(403);
        } finally {
          await registry.stop();
        }
      },
      startTimeout,
    );

    test(
      'CVE-2026-41888 distribution: createOnPush admins makes nothing for anybody else, nor for a token that does not cover it',
      async () => {
        const registry = await startTenants();
        try {
          const token = await registry.token(['repository:red/app:pull,push']);
          for (const change of pushes('not-there/app')) {
            await expectFailure(await send(registry, change, ann), 403, 'DENIED');
            expect((await send(registry, change, { token })).status).toBe(401);
            expect((await send(registry, change, 'nobody')).status).toBe(401);
          }
          expect((await ask(registry, '/api/v1/namespaces/not-there')).status).toBe(404);
        } finally {
          await registry.stop();
        }
      },
      startTimeout,
    );
  });

  describe.each(['true', 'false'])('anonymous.pull %s', (pull) => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await startTenants({ WEIR_ANONYMOUS_PULL: pull });
      await pushImage(registry, 'red/app', 'v1');
      // Somebody meant well.
      await registry.bind({ kind: 'Group', name: 'system:unauthenticated' }, 'admin', 'red');
      await registry.bind({ kind: 'User', name: 'system:anonymous' }, 'cluster-admin');
    }, startTimeout);
    afterAll(() => registry.stop());

    test.each(changes('red/app'))(
      'CVE-2026-41888 distribution: %s %s is for nobody who is not logged in, whatever is bound to them',
      async (...change) => {
        const token = await registry.token(['repository:red/app:pull,push,delete'], 'nobody');
        for (const as of ['nobody', { token }, { token: 'anonymous' }] as const) {
          await expectFailure(await send(registry, change, as), 401, 'UNAUTHORIZED');
        }
        expect((await registry.fetch('/v2/red/app/manifests/v1')).status).toBe(200);
      },
    );
  });
});

describe('zot #3847 and #4266: whoever may add a tag may not for that reason move one', () => {
  const name = 'zot #3847 and #4266';
  const cal: Credentials = { name: 'cal', password: 'cal-secret' };
  const dan: Credentials = { name: 'dan', password: 'dan-secret' };
  let registry: TestRegistry;
  let before: PushedImage;

  beforeAll(async () => {
    registry = await startTenants();
    for (const who of [cal, dan]) await registry.addUser({ ...who, role: 'user' });
    before = await pushImage(registry, 'red/app', 'latest');
    await pushImage(registry, 'red/other', 'latest', 'other');
    const rule = (verbs: readonly string[], resources: readonly string[], resourceNames?: readonly string[]) => ({
      verbs,
      apiGroups: ['image.openshift.io'],
      resources,
      ...(resourceNames !== undefined && { resourceNames }),
    });
    const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles';
    // All but `update imagestreams/layers`.
    await must(registry, roles, {
      method: 'POST',
      body: {
        metadata: { name: 'creator' },
        rules: [
          rule(['get'], ['imagestreams/layers']),
          rule(['create', 'update', 'patch', 'delete'], ['imagestreams', 'imagestreamtags']),
        ],
      },
    });
    await must(registry, roles, {
      method: 'POST',
      body: {
        metadata: { name: 'pusher-of-other' },
        rules: [
          rule(['get'], ['imagestreams/layers']),
          rule(['update'], ['imagestreams/layers'], ['other']),
          rule(['create'], ['imagestreams']),
        ],
      },
    });
    await registry.bind(cal.name, 'creator', 'red');
    await registry.bind(dan.name, 'pusher-of-other', 'red');
  }, startTimeout);
  afterAll(() => registry.stop());

  const after = imageManifest(content('{}'), []);
  const targets = [
    'latest',
    'new',
    `${after.digest}?tag=latest`,
    `${after.digest}?tag=new`,
    `${after.digest}?tag=new&tag=latest`,
    `${after.digest}?tag=LATEST`,
    after.digest,
  ];

  async function expectUnmoved(): Promise<void> {
    const latest = await registry.fetch('/v2/red/app/manifests/latest');
    expect(latest.headers.get('Docker-Content-Digest')).toBe(before.digest);
    const tags = (await (await registry.fetch('/v2/red/app/tags/list')).json()) as { tags: string[] };
    expect(tags.tags).toEqual(['latest']);
  }

  test.each(targets)(`${name}: a push to %s takes the right to push, for each tag it names`, async (target) => {
    const token = await registry.token(['repository:red/app:pull,push,delete'], cal);
    for (const as of [cal, dan]) {
      await expectFailure(await putManifest(registry, 'red/app', after, target, { as }), 403, 'DENIED');
    }
    expect((await putManifest(registry, 'red/app', after, target, { as: { token } })).status).toBe(403);
    await expectUnmoved();
  });

  test(`${name}: a repository that is not there yet can be made only by who may push to it as well`, async () => {
    const made = await registry.fetch('/v2/red/new/blobs/uploads/', { method: 'POST', as: cal });
    await expectFailure(made, 403, 'DENIED');
  });

  test(`${name}: the right to push to one repository of the project is none to its neighbours`, async () => {
    expect((await registry.fetch('/v2/red/other/blobs/uploads/', { method: 'POST', as: dan })).status).toBe(202);
    for (const repository of ['red/app', 'red/other-2', 'red/other/below', 'red/the/other']) {
      const response = await registry.fetch(`/v2/${repository}/blobs/uploads/`, { method: 'POST', as: dan });
      await expectFailure(response, 403, 'DENIED');
    }
  });

  test(`${name}: tags of a push that is refused for one of them are all refused`, async () => {
    const pushed = await putManifest(registry, 'red/app', after, `${after.digest}?tag=fine&tag=.wrong`, { as: ann });
    expect(pushed.status).toBe(400);
    await expectUnmoved();
  });
});
