import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Resource, Verb } from '../src/kube/resource.js';
import { KyselyObjectStore } from '../src/metadata/kysely-object-store.js';
import { addPerson, apiTokenFor, forged, serviceAccountToken, signedAgain } from './support/identities.js';
import { emptyJson, imageManifest, pushImage, type Manifest } from './support/images.js';
import {
  admin as clusterAdmin,
  authorizationOf,
  startRegistry,
  type Identity,
  type TestRegistry,
} from './support/registry.js';

/** Who is bound to which ClusterRole in project `team`. */
const projectRoles = {
  'registry-viewer': { role: 'registry-viewer', namespace: 'team' },
  viewer: { role: 'view', namespace: 'team' },
  'registry-editor': { role: 'registry-editor', namespace: 'team' },
  editor: { role: 'edit', namespace: 'team' },
  'registry-admin': { role: 'registry-admin', namespace: 'team' },
  // The user `admin` is that of the whole registry.
  'project-admin': { role: 'admin', namespace: 'team' },
} as const;
/** Everybody who is added, and what they are bound to; the cluster-admin is there. */
const grants = { outsider: undefined, ...projectRoles, 'cluster-reader': { role: 'cluster-reader' } } as const;
type RoleName = 'anonymous' | keyof typeof grants | 'cluster-admin';

/** Verbs by resource, which is written as in `kubectl get roles.rbac.authorization.k8s.io`. What is not there is refused. */
type Table = Readonly<Record<string, string>>;

const read = 'get list watch';
const all = 'create delete deletecollection get list patch update watch';

const anonymous: Table = {};

/** What everybody may who is logged in; of the first three, the answer holds what the caller may know. */
const loggedIn: Table = {
  'projects.project.openshift.io': 'list watch',
  'useroauthaccesstokens.oauth.openshift.io': 'delete get list watch',
  'subjectaccessreviews.authorization.openshift.io': 'create',
  'oauthaccesstokens.oauth.openshift.io': 'delete',
  'projectrequests.project.openshift.io': 'create list',
  'clusterroles.rbac.authorization.k8s.io': read,
  'selfsubjectreviews.authentication.k8s.io': 'create',
  'selfsubjectaccessreviews.authorization.k8s.io': 'create',
  'selfsubjectrulesreviews.authorization.k8s.io': 'create',
  'selfsubjectrulesreviews.authorization.openshift.io': 'create',
};

const workloads: Table = {
  persistentvolumeclaims: 'list',
  pods: 'list',
  replicationcontrollers: 'list',
  services: 'list',
  'daemonsets.apps': 'list',
  'deployments.apps': 'list',
  'replicasets.apps': 'list',
  'statefulsets.apps': 'list',
  'deploymentconfigs.apps.openshift.io': 'list',
  'horizontalpodautoscalers.autoscaling': 'list',
  'cronjobs.batch': 'list',
  'jobs.batch': 'list',
  'buildconfigs.build.openshift.io': 'list',
  'builds.build.openshift.io': 'list',
  'routes.route.openshift.io': 'list',
};

/** Streams, tags and what happened to them, for those who may pull. */
const seesStreams: Table = {
  'imagestreams.image.openshift.io': read,
  'imagestreams/layers.image.openshift.io': 'get',
  'imagestreamtags.image.openshift.io': 'get list',
  'imagetags.image.openshift.io': 'get list',
  'imagestreamimages.image.openshift.io': 'get',
  'activities.weir.dev': 'list',
  'imagestreams/tags.weir.dev': 'get',
  'imagestreams/history.weir.dev': 'get',
  'imagestreams/compare.weir.dev': 'get',
  'imagestreamtags/history.weir.dev': 'get',
  'imagestreamtags/compare.weir.dev': 'get',
  'tagpolicies.weir.dev': read,
  'upstreamcaches.weir.dev': read,
};

/** And for those who may change them. */
const editsStreams: Table = {
  ...seesStreams,
  'imagestreams.image.openshift.io': all,
  'imagestreams/secrets.image.openshift.io': 'get',
  'imagestreamtags.image.openshift.io': 'create delete get list patch update',
  'imagetags.image.openshift.io': 'create delete get list patch update',
  'imagestreammappings.image.openshift.io': 'create',
  'imagestreamimports.image.openshift.io': 'create',
  'imagestreamtags/rollback.image.openshift.io': 'create',
  'imagestreamtags/undelete.image.openshift.io': 'create',
  'imagestreamtags/rollback.weir.dev': 'create',
  'imagestreamtags/undelete.weir.dev': 'create',
};

/** In project `team` for those who are bound there. */
const tables: Readonly<Record<RoleName, Table>> = {
  anonymous,
  outsider: loggedIn,
  'registry-viewer': {
    ...loggedIn,
    namespaces: 'get',
    'projects.project.openshift.io': 'get list watch',
    ...seesStreams,
  },
  viewer: {
    ...loggedIn,
    ...workloads,
    namespaces: 'get',
    'projects.project.openshift.io': 'get list watch',
    ...seesStreams,
    'imagestreams/status.image.openshift.io': 'get',
    configmaps: read,
    events: read,
    limitranges: read,
    resourcequotas: read,
    serviceaccounts: read,
    'trustrules.weir.dev': read,
  },
  'registry-editor': {
    ...loggedIn,
    namespaces: 'get',
    'projects.project.openshift.io': 'get list watch',
    ...editsStreams,
    secrets: all,
    serviceaccounts: all,
  },
  editor: {
    ...loggedIn,
    ...workloads,
    namespaces: 'get',
    'projects.project.openshift.io': 'get list watch',
    ...editsStreams,
    'imagestreams/status.image.openshift.io': 'get',
    configmaps: all,
    events: 'create get list watch',
    limitranges: read,
    resourcequotas: read,
    secrets: all,
    serviceaccounts: all,
    'serviceaccounts/token': 'create',
    'trustrules.weir.dev': read,
  },
  'registry-admin': {
    ...loggedIn,
    namespaces: 'get',
    'projects.project.openshift.io': 'delete get list watch',
    ...editsStreams,
    'tagpolicies.weir.dev': all,
    'upstreamcaches.weir.dev': all,
    secrets: all,
    serviceaccounts: all,
    'serviceaccounts/token': 'create',
    'roles.rbac.authorization.k8s.io': all,
    'rolebindings.rbac.authorization.k8s.io': all,
    'localsubjectaccessreviews.authorization.k8s.io': 'create',
    'localresourceaccessreviews.authorization.openshift.io': 'create',
    'localsubjectaccessreviews.authorization.openshift.io': 'create',
    'subjectrulesreviews.authorization.openshift.io': 'create',
    'trustrules.weir.dev': all,
  },
  'project-admin': {
    ...loggedIn,
    ...workloads,
    namespaces: 'get',
    'projects.project.openshift.io': 'delete get list patch update watch',
    ...editsStreams,
    'imagestreams/status.image.openshift.io': 'get',
    'tagpolicies.weir.dev': all,
    'upstreamcaches.weir.dev': all,
    configmaps: all,
    events: 'create get list watch',
    limitranges: read,
    resourcequotas: read,
    secrets: all,
    serviceaccounts: all,
    'serviceaccounts/token': 'create',
    'roles.rbac.authorization.k8s.io': all,
    'rolebindings.rbac.authorization.k8s.io': all,
    'localsubjectaccessreviews.authorization.k8s.io': 'create',
    'localresourceaccessreviews.authorization.openshift.io': 'create',
    'localsubjectaccessreviews.authorization.openshift.io': 'create',
    'subjectrulesreviews.authorization.openshift.io': 'create',
    'trustrules.weir.dev': all,
  },
  'cluster-reader': {
    ...loggedIn,
    ...workloads,
    namespaces: read,
    'projects.project.openshift.io': read,
    ...seesStreams,
    'imagestreams/status.image.openshift.io': 'get',
    'images.image.openshift.io': read,
    configmaps: read,
    events: read,
    limitranges: read,
    resourcequotas: read,
    serviceaccounts: read,
    'clusterrolebindings.rbac.authorization.k8s.io': read,
    'roles.rbac.authorization.k8s.io': read,
    'rolebindings.rbac.authorization.k8s.io': read,
    'tokenreviews.authentication.k8s.io': 'create',
    'localsubjectaccessreviews.authorization.k8s.io': 'create',
    'subjectaccessreviews.authorization.k8s.io': 'create',
    'localresourceaccessreviews.authorization.openshift.io': 'create',
    'localsubjectaccessreviews.authorization.openshift.io': 'create',
    'resourceaccessreviews.authorization.openshift.io': 'create',
    'subjectrulesreviews.authorization.openshift.io': 'create',
    'groups.user.openshift.io': read,
    'identities.user.openshift.io': read,
    'users.user.openshift.io': read,
    'auditrecords.weir.dev': 'get list',
    'upstreams.weir.dev': 'get list',
    'trustrules.weir.dev': read,
  },
  /** Everything there is: what is missing here fails the first test below. */
  'cluster-admin': {
    ...workloads,
    namespaces: 'create delete get list patch update watch',
    'projects.project.openshift.io': 'create delete get list patch update watch',
    'projectrequests.project.openshift.io': 'create list',
    ...editsStreams,
    'imagestreams/status.image.openshift.io': 'get patch update',
    'tagpolicies.weir.dev': all,
    'upstreamcaches.weir.dev': all,
    'images.image.openshift.io': all,
    'imagesignatures.image.openshift.io': 'create delete',
    configmaps: all,
    events: all,
    limitranges: all,
    resourcequotas: all,
    secrets: all,
    serviceaccounts: all,
    'serviceaccounts/token': 'create',
    'clusterroles.rbac.authorization.k8s.io': all,
    'clusterrolebindings.rbac.authorization.k8s.io': all,
    'roles.rbac.authorization.k8s.io': all,
    'rolebindings.rbac.authorization.k8s.io': all,
    'selfsubjectreviews.authentication.k8s.io': 'create',
    'tokenreviews.authentication.k8s.io': 'create',
    'localsubjectaccessreviews.authorization.k8s.io': 'create',
    'selfsubjectaccessreviews.authorization.k8s.io': 'create',
    'selfsubjectrulesreviews.authorization.k8s.io': 'create',
    'subjectaccessreviews.authorization.k8s.io': 'create',
    'localresourceaccessreviews.authorization.openshift.io': 'create',
    'localsubjectaccessreviews.authorization.openshift.io': 'create',
    'resourceaccessreviews.authorization.openshift.io': 'create',
    'selfsubjectrulesreviews.authorization.openshift.io': 'create',
    'subjectaccessreviews.authorization.openshift.io': 'create',
    'subjectrulesreviews.authorization.openshift.io': 'create',
    'groups.user.openshift.io': all,
    'identities.user.openshift.io': all,
    'users.user.openshift.io': all,
    'oauthaccesstokens.oauth.openshift.io': 'delete get list watch',
    'oauthclients.oauth.openshift.io': all,
    'useroauthaccesstokens.oauth.openshift.io': 'delete get list watch',
    'auditrecords.weir.dev': 'get list',
    'upstreams.weir.dev': 'get list',
    'trustrules.weir.dev': all,
  },
};
const roleNames = Object.keys(tables) as RoleName[];
const resourceNames = Object.keys(tables['cluster-admin']);

/** Verbs for which a resource itself decides what callers see; what that is has a test of its own. */
const selfFiltered: Table = {
  'projects.project.openshift.io': 'list watch',
  'subjectaccessreviews.authorization.openshift.io': 'create',
  'oauthaccesstokens.oauth.openshift.io': 'delete',
};

/** What the bodies say that name their project. */
const here = '<namespace>';

/** The name of an image is the digest of its manifest: of one that is never stored, and of one that is there to be signed. */
const unstored = imageManifest(emptyJson);
const signed = imageManifest(emptyJson, [emptyJson]);

/** The least that a valid object has beside its name. */
const bodies: Readonly<Record<string, object>> = {
  'clusterrolebindings.rbac.authorization.k8s.io': { roleRef: roleRef('view') },
  'rolebindings.rbac.authorization.k8s.io': { roleRef: roleRef('system:image-puller') },
  'identities.user.openshift.io': {
    metadata: { name: 'local:nothing-here' },
    providerName: 'local',
    providerUserName: 'nothing-here',
  },
  'images.image.openshift.io': imageOf(unstored),
  'imagesignatures.image.openshift.io': {
    metadata: { name: `${signed.digest}@nothing-here` },
    type: 'atomic',
    content: 'c2lnbmF0dXJl',
  },
  'imagestreamtags.image.openshift.io': {
    metadata: { name: 'nothing-here:v1' },
    tag: { from: { kind: 'DockerImage', name: 'quay.io/x/y:1' } },
  },
  'imagetags.image.openshift.io': {
    metadata: { name: 'nothing-here:v1' },
    spec: { from: { kind: 'DockerImage', name: 'quay.io/x/y:1' } },
  },
  'imagestreamimages.image.openshift.io': { metadata: { name: `nothing-here@${unstored.digest}` } },
  'imagestreammappings.image.openshift.io': {
    metadata: { name: 'app' },
    image: {
      metadata: { name: unstored.digest },
      dockerImageReference: 'quay.io/x/y:1',
      dockerImageManifest: unstored.bytes.toString(),
    },
    tag: 'v2',
  },
  // Nobody is asked: it is an address of this machine.
  'imagestreamimports.image.openshift.io': {
    metadata: { name: 'nothing-here' },
    spec: { import: false, images: [{ from: { kind: 'DockerImage', name: '127.0.0.1:1/x/y:1' } }] },
  },
  'imagestreamtags/history.weir.dev': { metadata: { name: 'nothing-here:v1' } },
  'imagestreamtags/compare.weir.dev': { metadata: { name: 'nothing-here:v1' } },
  ...Object.fromEntries(
    ['weir.dev', 'image.openshift.io'].flatMap((group) => [
      [`imagestreamtags/rollback.${group}`, { metadata: { name: 'app:moved' }, spec: { to: { steps: 1 } } }],
      [`imagestreamtags/undelete.${group}`, { metadata: { name: 'app:deleted' }, spec: {} }],
    ]),
  ),
  'tagpolicies.weir.dev': { spec: { requireReason: ['delete'] } },
  'upstreamcaches.weir.dev': { spec: { registry: 'registry.example' } },
  'trustrules.weir.dev': {
    spec: {
      issuer: 'https://ci.example',
      audience: 'weir',
      claims: [{ claim: 'sub', value: 'team' }],
      serviceAccountName: 'builder',
    },
  },
  'tokenreviews.authentication.k8s.io': { spec: { token: 'none' } },
  'localsubjectaccessreviews.authorization.k8s.io': {
    spec: { user: 'ada', resourceAttributes: { namespace: here, verb: 'get', resource: 'pods' } },
  },
  'selfsubjectaccessreviews.authorization.k8s.io': { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } },
  'selfsubjectrulesreviews.authorization.k8s.io': { spec: { namespace: 'team' } },
  'subjectaccessreviews.authorization.k8s.io': {
    spec: { user: 'ada', resourceAttributes: { verb: 'get', resource: 'pods' } },
  },
  'localresourceaccessreviews.authorization.openshift.io': { verb: 'get', resource: 'pods' },
  'localsubjectaccessreviews.authorization.openshift.io': { verb: 'get', resource: 'pods', user: 'ada' },
  'resourceaccessreviews.authorization.openshift.io': { verb: 'get', resource: 'pods' },
  'subjectaccessreviews.authorization.openshift.io': { verb: 'get', resource: 'pods' },
  'subjectrulesreviews.authorization.openshift.io': { spec: { user: 'ada' } },
};

function imageOf({ digest, bytes }: Manifest): object {
  return { metadata: { name: digest }, dockerImageManifest: bytes.toString() };
}

function roleRef(name: string): object {
  return { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name };
}

/** A resource or a subresource, and where it is. */
interface Target {
  readonly resource: Resource;
  readonly subresource: string | undefined;
  readonly verbs: readonly Verb[];
}

let registry: TestRegistry;
let credentials: Readonly<Record<RoleName, Identity>>;
let targets: ReadonlyMap<string, Target>;

beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['team', 'other']) await registry.addProject(project);
  await registry.api('/apis/image.openshift.io/v1/images', { method: 'POST', body: imageOf(signed) });
  for (const project of ['team', 'other']) {
    for (const name of ['first', 'second']) await pushImage(registry, `${project}/app`, 'moved', name);
    await pushImage(registry, `${project}/app`, 'deleted', 'first');
    await registry.api(`/apis/image.openshift.io/v1/namespaces/${project}/imagestreamtags/app:deleted`, {
      method: 'DELETE',
    });
  }
  const added = await Promise.all(
    Object.entries(grants).map(async ([name, grant]) => {
      const token = await registry.apiToken(await addPerson(registry, name, grant));
      return [name, { token }] as const;
    }),
  );
  credentials = {
    anonymous: 'nobody',
    ...(Object.fromEntries(added) as Record<keyof typeof grants, Identity>),
    'cluster-admin': { token: await registry.apiToken(clusterAdmin) },
  };
  targets = new Map(registry.running.app.resources.flatMap(targetsOf));
});
afterAll(() => registry.stop());

function targetsOf(resource: Resource): readonly (readonly [string, Target])[] {
  const key = (plural: string) => (resource.group === '' ? plural : `${plural}.${resource.group}`);
  return [
    [key(resource.plural), { resource, subresource: undefined, verbs: resource.verbs }],
    ...(resource.subresources ?? []).map(
      ({ name, verbs }) => [key(`${resource.plural}/${name}`), { resource, subresource: name, verbs }] as const,
    ),
  ];
}

/** @param namespace empty: all of them */
function collectionPath({ group, version, plural, isNamespaced }: Resource, namespace: string): string {
  const root = group === '' ? '/api/v1' : `/apis/${group}/${version}`;
  return isNamespaced && namespace !== '' ? `${root}/namespaces/${namespace}/${plural}` : `${root}/${plural}`;
}

/** Of an object that is named in a request: projects must be there to be inside of themselves, all others are not. */
function nameOf(key: string, namespace: string): string {
  if (isProject(key)) return namespace;
  return key === 'serviceaccounts/token' ? 'builder' : bodyNameOf(key);
}

function isProject(key: string): boolean {
  return key === 'namespaces' || key === 'projects.project.openshift.io';
}

function bodyNameOf(key: string): string {
  return ((bodies[key] as { metadata?: { name: string } } | undefined)?.metadata ?? { name: 'nothing-here' }).name;
}

const methods: Readonly<Record<Verb, string>> = {
  create: 'POST',
  delete: 'DELETE',
  deletecollection: 'DELETE',
  get: 'GET',
  list: 'GET',
  patch: 'PATCH',
  update: 'PUT',
  watch: 'GET',
};

/** Nothing is in the collection: some users may not be deleted by anybody. */
const queries: Readonly<Partial<Record<Verb, string>>> = {
  deletecollection: '?dryRun=All&labelSelector=nothing%3Dhere',
  watch: '?watch=true',
};

/** Sends what is nothing but the verb: a dry run, where it would write. */
async function send(key: string, verb: Verb, as: Identity, namespace = 'team'): Promise<Response> {
  const { resource, subresource } = targets.get(key)!;
  const name = nameOf(key, namespace);
  const isOne = ['delete', 'get', 'patch', 'update'].includes(verb) || subresource !== undefined;
  const path = [collectionPath(resource, namespace), isOne && name, subresource].filter(Boolean).join('/');
  const query = queries[verb] ?? '?dryRun=All';
  const hasBody = ['create', 'patch', 'update'].includes(verb);
  const type = verb === 'patch' ? 'application/merge-patch+json' : 'application/json';
  const metadata = { name: verb === 'update' ? name : bodyNameOf(key) };
  const abort = new AbortController();
  const response = await registry.fetch(path + query, {
    method: methods[verb],
    as,
    signal: abort.signal,
    headers: hasBody ? { 'Content-Type': type } : {},
    ...(hasBody && {
      body: verb === 'patch' ? '{}' : JSON.stringify({ metadata, ...bodies[key] }).replace(here, namespace),
    }),
  });
  if (verb === 'watch' && response.status === 200) abort.abort();
  return response;
}

/** Of the answer to who may. */
function usualStatus(key: string, verb: Verb): number {
  // Of any project, whatever stream is named.
  if (key === 'imagestreams/secrets.image.openshift.io') return 200;
  // What is not there can be made by an update.
  if (verb === 'update' && /^image(stream)?tags\./.test(key)) return 201;
  if (verb === 'create') return 201;
  return isList(verb) || verb === 'deletecollection' || isProject(key) ? 200 : 404;
}

/** What somebody may, by what they are told; any answer but the usual one and a refusal is a failure. */
async function allowed(keys: readonly string[], as: Identity, namespace: string): Promise<Table> {
  const isAllowed = async (key: string, verb: Verb) => {
    const response = await send(key, verb, as, namespace);
    if (response.status === usualStatus(key, verb)) return true;
    const answer = `${verb} ${key}: ${response.status} ${await response.text()}`;
    expect(answer).toMatch(/: 403 \{"kind":"Status",.*"reason":"Forbidden"/);
    return false;
  };
  // All at once: each refusal waits until the audit log has it on the disk.
  const lines = await Promise.all(
    keys.map(async (key) => {
      const verbs = [...targets.get(key)!.verbs].sort().filter((verb) => namespace !== '' || isList(verb));
      const answers = await Promise.all(verbs.map((verb) => isAllowed(key, verb)));
      return [key, verbs.filter((_verb, index) => answers[index]).join(' ')] as const;
    }),
  );
  return Object.fromEntries(lines.filter(([, verbs]) => verbs !== ''));
}

function isList(verb: string): boolean {
  return verb === 'list' || verb === 'watch';
}

function only(keys: readonly string[], table: Table): Table {
  return Object.fromEntries(Object.entries(table).filter(([key]) => keys.includes(key)));
}

function listsOf(table: Table): Table {
  const lists = Object.entries(table).map(([key, verbs]) => [key, verbs.split(' ').filter(isList).join(' ')] as const);
  return Object.fromEntries(lists.filter(([, verbs]) => verbs !== ''));
}

test('everything the API serves is in the table of those who may do everything, with its verbs', () => {
  const served = [...targets]
    .map(([key, { verbs }]) => [key, [...verbs].sort().join(' ')] as const)
    // Some have nothing but their parts.
    .filter(([, verbs]) => verbs !== '');
  expect(Object.fromEntries(served)).toEqual(tables['cluster-admin']);
});

test('no table speaks of what is not served', () => {
  const spoken = new Set(Object.values(tables).flatMap((table) => Object.keys(table)));
  expect([...spoken].filter((key) => !targets.has(key))).toEqual([]);
});

test('those that are filtered by themselves are known', () => {
  const filtered = [...targets].flatMap(([key, { resource, subresource }]) =>
    resource.selfFiltered === undefined || subresource !== undefined ? [] : [[key, resource.selfFiltered.join(' ')]],
  );
  expect(Object.fromEntries(filtered)).toEqual(selfFiltered);
});

describe('a dry run of everything', () => {
  let before: number;
  const version = async () => new KyselyObjectStore(await registry.openDatabase()).currentVersion();
  beforeAll(async () => {
    before = await version();
  });
  afterAll(async () => {
    expect(await version(), 'a dry run changed something').toBe(before);
  });

  test.each(roleNames)('in the project goes as the table says: %s', async (role) => {
    expect(await allowed(resourceNames, credentials[role], 'team')).toEqual(tables[role]);
  });

  /** What is in no project is the same from wherever it is looked at. */
  const inProjects = () => resourceNames.filter((key) => targets.get(key)!.resource.isNamespaced || isProject(key));
  /** Of those who are bound in a project, what everybody may is all they may elsewhere. */
  const elsewhere = (role: RoleName) => (Object.hasOwn(projectRoles, role) ? loggedIn : tables[role]);

  test.each(roleNames)('in another project, and of another project, is that of a stranger: %s', async (role) => {
    const keys = inProjects();
    expect(await allowed(keys, credentials[role], 'other')).toEqual(only(keys, elsewhere(role)));
  });

  test.each(roleNames)('in all projects at once is that of a stranger: %s', async (role) => {
    const keys = inProjects();
    expect(await allowed(keys, credentials[role], '')).toEqual(listsOf(only(keys, elsewhere(role))));
  });
});

describe('a credential that is worth nothing at the API', () => {
  const kinds: Readonly<Record<string, () => Identity | Promise<Identity>>> = {
    'a registry token': async () => ({ token: await registry.token(['registry:catalog:*']) }),
    'a password': () => clusterAdmin,
    'an expired API token': async () => ({ token: await apiTokenFor(registry, clusterAdmin, -60) }),
    'a made-up API token': () => ({ token: `sha256~${'x'.repeat(43)}` }),
    'an expired token of a service account': async () => ({
      token: await signedAgain(registry, await serviceAccountToken(registry, 'team', 'builder'), -60),
    }),
    'a forged token of a service account': async () => ({
      token: await forged(await serviceAccountToken(registry, 'team', 'builder')),
    }),
    'a token of a service account for somebody else': async () => ({
      token: await serviceAccountToken(registry, 'team', 'builder', { audiences: ['weir-registry'] }),
    }),
  };
  const discovery = ['/api', '/apis', '/api/v1', '/apis/project.openshift.io/v1', '/api/v1/namespaces'];

  test.each(Object.keys(kinds))('is %s', async (kind) => {
    const as = await kinds[kind]!();
    for (const path of discovery) {
      const response = await registry.fetch(path, { as });
      expect(response.status, path).toBe(401);
      expect(response.headers.get('WWW-Authenticate')).toBe('Bearer realm="weir"');
      expect(await response.json()).toMatchObject({ kind: 'Status', reason: 'Unauthorized', code: 401 });
    }
  });

  test.each(['a registry token', 'an expired API token'])('is %s, for every verb of every resource', async (kind) => {
    const as = await kinds[kind]!();
    const others: string[] = [];
    for (const [key, { verbs }] of targets) {
      const statuses = await Promise.all(verbs.map(async (verb) => (await send(key, verb, as)).status));
      for (const status of statuses) if (status !== 401) others.push(`${key}: ${status}`);
    }
    expect(others).toEqual([]);
  });

  test('is none that was made in the same way and is good', async () => {
    const tokens = [
      await apiTokenFor(registry, clusterAdmin, 60),
      await signedAgain(registry, await serviceAccountToken(registry, 'team', 'builder'), 60),
    ];
    for (const token of tokens) expect((await registry.fetch('/apis', { as: { token } })).status).toBe(200);
  });
});

test.each([
  '/version',
  '/api',
  '/apis',
  '/api/v1',
  '/apis/project.openshift.io/v1',
  '/openapi/v3',
  '/openapi/v3/api/v1',
])('%s tells anybody what there is', async (path) => {
  for (const as of [credentials.anonymous, credentials.outsider]) {
    expect((await registry.fetch(path, { as })).status).toBe(200);
  }
});

async function namesIn(response: Response): Promise<readonly string[]> {
  const { items } = (await response.json()) as { readonly items: readonly { readonly metadata: { name: string } }[] };
  return items.map(({ metadata }) => metadata.name).sort();
}

describe('the list of projects', () => {
  const projects = '/apis/project.openshift.io/v1/projects';
  const everything = ['library', 'openshift', 'other', 'team'];

  test.each<{ role: Exclude<RoleName, 'anonymous'>; seen: readonly string[] }>([
    { role: 'outsider', seen: [] },
    { role: 'registry-viewer', seen: ['team'] },
    { role: 'viewer', seen: ['team'] },
    { role: 'registry-editor', seen: ['team'] },
    { role: 'editor', seen: ['team'] },
    { role: 'registry-admin', seen: ['team'] },
    { role: 'project-admin', seen: ['team'] },
    { role: 'cluster-reader', seen: everything },
    { role: 'cluster-admin', seen: everything },
  ])('shows $role $seen, and a watch the same', async ({ role, seen }) => {
    const as = credentials[role];
    expect(await namesIn(await registry.fetch(projects, { as }))).toEqual(seen);
    expect(await watchedNames(as)).toEqual(seen);
    const named = seen.includes('other') ? ['other'] : [];
    expect(await namesIn(await registry.fetch(`${projects}?fieldSelector=metadata.name=other`, { as }))).toEqual(named);
  });

  /** What a watch tells of before anything changes. */
  async function watchedNames(as: Identity): Promise<readonly string[]> {
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const response = await registry.fetch(`${projects}?${query}`, { as });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('"BOOKMARK"')) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`the watch ended: ${text}`);
      text += value;
    }
    await reader.cancel();
    return text
      .split('\n')
      .filter((line) => line.includes('"ADDED"'))
      .map(
        (line) =>
          (JSON.parse(line) as { readonly object: { readonly metadata: { name: string } } }).object.metadata.name,
      )
      .sort();
  }
});

describe('of a project that is not theirs, and of one that is not there,', () => {
  const paths = {
    'the project': '/apis/project.openshift.io/v1/projects/<name>',
    'the namespace': '/api/v1/namespaces/<name>',
    'its secrets': '/api/v1/namespaces/<name>/secrets',
    'one of its service accounts': '/api/v1/namespaces/<name>/serviceaccounts/builder',
    'its role bindings': '/apis/rbac.authorization.k8s.io/v1/namespaces/<name>/rolebindings',
  };

  test.each(
    Object.entries(paths).flatMap(([what, path]) =>
      ['GET', 'POST', 'DELETE'].flatMap((method) =>
        (['anonymous', 'outsider', 'project-admin'] as const).map((role) => ({ what, path, method, role })),
      ),
    ),
  )('$method of $what tells $role the same', async ({ path, method, role }) => {
    const answers = await Promise.all(
      ['other', 'unknown'].map(async (name) => {
        const response = await registry.fetch(path.replace('<name>', name), { method, as: credentials[role] });
        return { status: response.status, body: (await response.text()).replaceAll(name, '<name>') };
      }),
    );
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]!.status).toBe(403);
  });
});

test('a refusal says who cannot do what, and where', async () => {
  const response = await send('secrets', 'list', credentials.viewer);
  expect(await response.json()).toMatchObject({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message:
      'secrets is forbidden: User "viewer" cannot list resource "secrets" in API group "" in the namespace "team"',
    reason: 'Forbidden',
    details: { kind: 'secrets' },
    code: 403,
  });
});

describe('the user ~', () => {
  test.each(roleNames.filter((role) => role !== 'anonymous'))('is whoever asks: %s', async (role) => {
    const response = await registry.fetch('/apis/user.openshift.io/v1/users/~', { as: credentials[role] });
    expect(await response.json()).toMatchObject({
      metadata: { name: role === 'cluster-admin' ? clusterAdmin.name : role },
    });
  });

  test('is nobody for who is not logged in', async () => {
    expect((await registry.fetch('/apis/user.openshift.io/v1/users/~', { as: 'nobody' })).status).toBe(403);
  });

  test('is a service account, too', async () => {
    const as = { token: await serviceAccountToken(registry, 'team', 'builder') };
    const response = await registry.fetch('/apis/user.openshift.io/v1/users/~', { as });
    expect(await response.json()).toMatchObject({ metadata: { name: 'system:serviceaccount:team:builder' } });
  });
});

describe('tokens of others', () => {
  const group = '/apis/oauth.openshift.io/v1';

  test('are not among the own ones', async () => {
    const everybodys = await namesIn(
      await registry.fetch(`${group}/oauthaccesstokens`, { as: credentials['cluster-admin'] }),
    );
    const own = await namesIn(await registry.fetch(`${group}/useroauthaccesstokens`, { as: credentials.outsider }));
    expect(own).toHaveLength(1);
    const [theirs] = everybodys.filter((name) => !own.includes(name));
    for (const method of ['GET', 'DELETE']) {
      const path = `${group}/useroauthaccesstokens/${theirs}?dryRun=All`;
      expect((await registry.fetch(path, { method, as: credentials.outsider })).status).toBe(404);
      const ownPath = `${group}/useroauthaccesstokens/${own[0]}?dryRun=All`;
      expect((await registry.fetch(ownPath, { method, as: credentials.outsider })).status).toBe(200);
    }
  });
});

describe('asking what others may', () => {
  const question = { verb: 'get', resource: 'pods', user: 'ada' };
  const ask = (as: Identity, namespace: string) =>
    registry.fetch('/apis/authorization.openshift.io/v1/subjectaccessreviews', {
      method: 'POST',
      as,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ ...question, namespace }),
    });

  test.each<{ role: RoleName; team: number; other: number }>([
    { role: 'anonymous', team: 403, other: 403 },
    { role: 'outsider', team: 403, other: 403 },
    { role: 'editor', team: 403, other: 403 },
    { role: 'registry-admin', team: 201, other: 403 },
    { role: 'project-admin', team: 201, other: 403 },
    { role: 'cluster-reader', team: 201, other: 201 },
    { role: 'cluster-admin', team: 201, other: 201 },
  ])(
    'is for those who let others in: $role is told $team in the project and $other elsewhere',
    async ({ role, team, other }) => {
      expect((await ask(credentials[role], 'team')).status).toBe(team);
      expect((await ask(credentials[role], 'other')).status).toBe(other);
    },
  );
});

describe('impersonation', () => {
  const whoAmI = '/apis/authentication.k8s.io/v1/selfsubjectreviews';

  function actAs(
    as: Identity,
    impersonation: readonly (readonly [string, string])[],
    path = whoAmI,
  ): Promise<Response> {
    const isReview = path === whoAmI;
    return registry.fetch(path, {
      method: isReview ? 'POST' : 'GET',
      as: 'nobody',
      headers: [
        ...(as === 'nobody' ? [] : [['Authorization', authorizationOf(as)!] as [string, string]]),
        ...impersonation.map(([name, value]): [string, string] => [`Impersonate-${name}`, value]),
        ['Content-Type', 'application/json'],
      ],
      ...(isReview && { body: '{}' }),
    });
  }

  const targetsOfIt = {
    'a user': [['User', 'outsider']],
    'a user in a group': [
      ['User', 'outsider'],
      ['Group', 'developers'],
    ],
    'a user with a uid': [
      ['User', 'outsider'],
      ['Uid', '1'],
    ],
    'one of the masters': [
      ['User', 'outsider'],
      ['Group', 'system:masters'],
    ],
    'a service account of the project': [['User', 'system:serviceaccount:team:builder']],
    nobody: [['User', 'system:anonymous']],
    'the admin of a project': [['User', 'project-admin']],
  } as const;

  test.each(
    Object.entries(targetsOfIt).flatMap(([whom, headers]) => roleNames.map((role) => ({ whom, headers, role }))),
  )('$role as $whom', async ({ headers, role }) => {
    const response = await actAs(credentials[role], headers);
    if (role !== 'cluster-admin') {
      expect(response.status).toBe(403);
      return;
    }
    const isNobody = headers[0][1] === 'system:anonymous';
    expect(response.status).toBe(isNobody ? 403 : 201);
    if (!isNobody) expect(await response.json()).toMatchObject({ status: { userInfo: { username: headers[0][1] } } });
  });

  test.each<{ whom: string; status: number }>([
    { whom: 'outsider', status: 403 },
    { whom: 'viewer', status: 403 },
    { whom: 'editor', status: 200 },
    { whom: 'system:serviceaccount:team:builder', status: 403 },
  ])('as $whom leaves the rights of $whom: $status', async ({ whom, status }) => {
    const path = '/api/v1/namespaces/team/secrets';
    expect((await actAs(credentials['cluster-admin'], [['User', whom]], path)).status).toBe(status);
  });

  test.each(['Extra-scopes', 'Extra-reason', 'Anything'])(
    'with Impersonate-%s is refused to everybody',
    async (name) => {
      for (const role of roleNames) {
        const response = await actAs(credentials[role], [
          ['User', 'outsider'],
          [name, 'x'],
        ]);
        expect(response.status, role).toBe(403);
      }
    },
  );

  test('of a group and no user is a bad request', async () => {
    expect((await actAs(credentials['cluster-admin'], [['Group', 'developers']])).status).toBe(400);
  });
});
