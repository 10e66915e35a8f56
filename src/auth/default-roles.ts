import type { AggregationRule } from './aggregation.js';
import type { PolicyRule } from './rules.js';
import type { Subject } from './subjects.js';

/** What a default object says about itself. */
export interface DefaultMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** rbac.authorization.k8s.io ClusterRole. One with an `aggregationRule` has its rules from `aggregateRules`. */
export interface DefaultClusterRole {
  readonly metadata: DefaultMetadata;
  readonly rules?: readonly PolicyRule[];
  readonly aggregationRule?: AggregationRule;
}

/** rbac.authorization.k8s.io Role. */
export interface DefaultRole {
  readonly metadata: DefaultMetadata & { readonly namespace: string };
  readonly rules: readonly PolicyRule[];
}

/** rbac.authorization.k8s.io RoleRef. */
export interface RoleReference {
  readonly apiGroup: 'rbac.authorization.k8s.io';
  readonly kind: 'ClusterRole' | 'Role';
  readonly name: string;
}

/** rbac.authorization.k8s.io ClusterRoleBinding. */
export interface DefaultClusterRoleBinding {
  readonly metadata: DefaultMetadata;
  readonly subjects: readonly Subject[];
  readonly roleRef: RoleReference;
}

/** rbac.authorization.k8s.io RoleBinding. */
export interface DefaultRoleBinding {
  readonly metadata: DefaultMetadata & { readonly namespace: string };
  readonly subjects: readonly Subject[];
  readonly roleRef: RoleReference;
}

const rbacGroup = 'rbac.authorization.k8s.io';
const descriptionAnnotation = 'openshift.io/description';

/** Marks what a start brings back to its default; somebody who changed an object sets the annotation to `false`. */
const bootstrapLabels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
const bootstrapAnnotations = { 'rbac.authorization.kubernetes.io/autoupdate': 'true' };

const all = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const read = ['get', 'list', 'watch'];

// OpenShift's groups were once part of the legacy core group, and its roles still name both.
const imageGroups = ['', 'image.openshift.io'];
const projectGroups = ['', 'project.openshift.io'];
const userGroups = ['', 'user.openshift.io'];
const templateGroups = ['', 'template.openshift.io'];
const buildGroups = ['', 'build.openshift.io'];
const deployGroups = ['', 'apps.openshift.io'];
const routeGroups = ['', 'route.openshift.io'];
const openshiftAccessGroups = ['', 'authorization.openshift.io'];
const weirGroups = ['weir.dev'];

function rule(verbs: readonly string[], apiGroups: readonly string[], ...resources: readonly string[]): PolicyRule {
  return { verbs, apiGroups, resources };
}

const streamResources = [
  'imagestreamimages',
  'imagestreammappings',
  'imagestreams',
  'imagestreamtags',
  'imagetags',
] as const;
const pull = rule(['get'], imageGroups, 'imagestreams/layers');
const pushAndPull = rule(['get', 'update'], imageGroups, 'imagestreams/layers');
const readStreams = rule(read, imageGroups, ...streamResources);
/**
 * Also what deleting a tag or a manifest through the registry asks for, `delete imagestreamtags`; roles that only push
 * do not have it.
 */
const writeStreams: readonly PolicyRule[] = [
  rule(all, imageGroups, ...streamResources, 'imagestreams/secrets'),
  rule(['create'], imageGroups, 'imagestreamimports'),
  pushAndPull,
];
const readStreamStatus = rule(read, imageGroups, 'imagestreams/status');

/** What Weir tells of tags beside OpenShift's API, and by which rules they change. */
const readTagHistory = rule(
  read,
  weirGroups,
  'activities',
  'imagestreams/compare',
  'imagestreams/history',
  'imagestreams/tags',
  'imagestreamtags/compare',
  'imagestreamtags/history',
  'tagpolicies',
  'upstreamcaches',
);
/** Returning a tag to what it was. */
const returnTags = rule(
  ['create'],
  ['image.openshift.io', ...weirGroups],
  'imagestreamtags/rollback',
  'imagestreamtags/undelete',
);
/**
 * What a project lets be done to its tags, and from which other registry they come. A tag policy binds its writers too, but
 * they can take it away.
 */
const writeTagPolicies = rule(all, weirGroups, 'tagpolicies', 'upstreamcaches');

const readNamespace = rule(['get'], [''], 'namespaces');
const readProject = rule(['get'], projectGroups, 'projects');
const writeAccounts = rule(all, [''], 'secrets', 'serviceaccounts');

/**
 * Letting others in. Nobody gives more than they have: the check against escalation is made when a role or a binding is
 * written.
 */
const shareAccess: readonly PolicyRule[] = [
  rule(all, [rbacGroup], 'rolebindings', 'roles'),
  rule(['create'], ['authorization.k8s.io'], 'localsubjectaccessreviews'),
];
/** The same in OpenShift's own API. */
const shareOpenshiftAccess: readonly PolicyRule[] = [
  rule(all, openshiftAccessGroups, 'rolebindings', 'roles'),
  rule(
    ['create'],
    openshiftAccessGroups,
    'localresourceaccessreviews',
    'localsubjectaccessreviews',
    'resourceaccessreviews',
    'subjectaccessreviews',
    'subjectrulesreviews',
  ),
];

/** Letting CI systems be service accounts. Who writes a rule must also be allowed to make tokens of the account. */
const writeTrustRules: readonly PolicyRule[] = [
  rule(all, weirGroups, 'trustrules'),
  rule(['create'], [''], 'serviceaccounts/token'),
];

const publicUrls = ['/healthz', '/livez', '/readyz', '/version', '/version/'];
const discoveryUrls = ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*'];

const toView = `${rbacGroup}/aggregate-to-view`;
const toEdit = `${rbacGroup}/aggregate-to-edit`;
const toAdmin = `${rbacGroup}/aggregate-to-admin`;
const toClusterReader = `${rbacGroup}/aggregate-to-cluster-reader`;

/** What a default ClusterRole may have besides its rules. */
interface RoleOptions {
  readonly description?: string;
  /** Labels by which other roles take this one's rules in. */
  readonly aggregateTo?: readonly string[];
}

function bootstrapMetadata(name: string, { description, aggregateTo = [] }: RoleOptions = {}): DefaultMetadata {
  return {
    name,
    labels: { ...bootstrapLabels, ...Object.fromEntries(aggregateTo.map((label) => [label, 'true'])) },
    annotations: {
      ...(description === undefined ? {} : { [descriptionAnnotation]: description }),
      ...bootstrapAnnotations,
    },
  };
}

function clusterRole(name: string, rules: readonly PolicyRule[], options?: RoleOptions): DefaultClusterRole {
  return { metadata: bootstrapMetadata(name, options), rules };
}

function aggregatedRole(name: string, labels: readonly string[], options?: RoleOptions): DefaultClusterRole {
  return {
    metadata: bootstrapMetadata(name, options),
    aggregationRule: { clusterRoleSelectors: labels.map((label) => ({ matchLabels: { [label]: 'true' } })) },
  };
}

/** For those who run the whole registry. */
const clusterRoles: readonly DefaultClusterRole[] = [
  clusterRole('cluster-admin', [rule(['*'], ['*'], '*'), { verbs: ['*'], nonResourceURLs: ['*'] }], {
    description: 'May do everything. In a RoleBinding, everything in its project.',
  }),
  aggregatedRole('cluster-reader', [toClusterReader, toView], {
    description: 'May read everything but secrets and tokens, and pull from everywhere.',
  }),
  clusterRole(
    'system:openshift:aggregate-to-cluster-reader',
    [
      rule(read, imageGroups, 'images', 'imagesignatures'),
      pull,
      rule(read, [''], 'namespaces'),
      rule(read, projectGroups, 'projectrequests', 'projects'),
      rule(read, userGroups, 'groups', 'identities', 'useridentitymappings', 'users'),
      rule(read, [rbacGroup], 'clusterrolebindings', 'clusterroles', 'rolebindings', 'roles'),
      rule(read, openshiftAccessGroups, 'clusterrolebindings', 'clusterroles', 'rolebindings', 'roles'),
      rule(['get', 'list'], weirGroups, 'auditrecords', 'upstreams'),
      // These creates ask questions and leave nothing behind.
      rule(
        ['create'],
        ['authorization.k8s.io'],
        'localsubjectaccessreviews',
        'selfsubjectaccessreviews',
        'selfsubjectrulesreviews',
        'subjectaccessreviews',
      ),
      rule(
        ['create'],
        openshiftAccessGroups,
        'localresourceaccessreviews',
        'localsubjectaccessreviews',
        'resourceaccessreviews',
        'selfsubjectrulesreviews',
        'subjectaccessreviews',
        'subjectrulesreviews',
      ),
      rule(['create'], ['authentication.k8s.io'], 'tokenreviews'),
      { verbs: ['get'], nonResourceURLs: ['/metrics'] },
    ],
    { aggregateTo: [toClusterReader] },
  ),
];

/** For the members of a project: `admin` takes in `edit`, which takes in `view`, as in Kubernetes. */
const projectRoles: readonly DefaultClusterRole[] = [
  aggregatedRole('admin', [toAdmin], { description: 'May do everything in a project, and let others into it.' }),
  aggregatedRole('edit', [toEdit], {
    description: 'May change everything in a project but who is in it.',
    aggregateTo: [toAdmin],
  }),
  aggregatedRole('view', [toView], {
    description: 'May see a project, except for its secrets, and pull from it.',
    aggregateTo: [toEdit],
  }),
  clusterRole('system:aggregate-to-admin', shareAccess, { aggregateTo: [toAdmin] }),
  clusterRole(
    'system:aggregate-to-edit',
    [
      rule(all, [''], 'configmaps', 'secrets', 'serviceaccounts'),
      rule(['create'], [''], 'serviceaccounts/token'),
      // Kubernetes also lets editors impersonate service accounts. We do not: a token says the same, and leaves a trace.
    ],
    { aggregateTo: [toEdit] },
  ),
  clusterRole(
    'system:aggregate-to-view',
    [
      rule(
        read,
        [''],
        'configmaps',
        'events',
        'limitranges',
        'persistentvolumeclaims',
        'pods',
        'replicationcontrollers',
        'resourcequotas',
        'serviceaccounts',
        'services',
      ),
      readNamespace,
      rule(read, ['apps'], 'daemonsets', 'deployments', 'replicasets', 'statefulsets'),
      rule(read, ['autoscaling'], 'horizontalpodautoscalers'),
      rule(read, ['batch'], 'cronjobs', 'jobs'),
    ],
    { aggregateTo: [toView] },
  ),
  clusterRole(
    'system:openshift:aggregate-to-admin',
    [
      ...shareOpenshiftAccess,
      ...writeStreams,
      returnTags,
      writeTagPolicies,
      ...writeTrustRules,
      readStreamStatus,
      rule(['delete', 'get', 'patch', 'update'], projectGroups, 'projects'),
    ],
    { aggregateTo: [toAdmin] },
  ),
  clusterRole(
    'system:openshift:aggregate-to-edit',
    [
      ...writeStreams,
      returnTags,
      readStreamStatus,
      readProject,
      rule(all, templateGroups, 'processedtemplates', 'templates'),
    ],
    { aggregateTo: [toEdit] },
  ),
  clusterRole(
    'system:openshift:aggregate-to-view',
    [
      // Not `imagestreams/layers`: that comes from `registry-viewer`, so that taking its label away makes a view that cannot pull.
      readStreams,
      readStreamStatus,
      readProject,
      rule(read, buildGroups, 'buildconfigs', 'builds'),
      rule(read, deployGroups, 'deploymentconfigs'),
      rule(read, routeGroups, 'routes'),
      rule(read, templateGroups, 'processedtemplates', 'templates'),
      readTagHistory,
      rule(read, weirGroups, 'trustrules'),
    ],
    { aggregateTo: [toView] },
  ),
];

/** For those who know the registry only. */
const registryRoles: readonly DefaultClusterRole[] = [
  clusterRole('registry-viewer', [readStreams, readTagHistory, pull, readNamespace, readProject], {
    description: 'May list and pull.',
    aggregateTo: [toView],
  }),
  clusterRole(
    'registry-editor',
    [writeAccounts, ...writeStreams, readTagHistory, returnTags, readNamespace, readProject],
    {
      description: 'May pull, push, import, delete tags and image streams, and keep secrets and service accounts.',
      aggregateTo: [toEdit],
    },
  ),
  clusterRole(
    'registry-admin',
    [
      writeAccounts,
      ...writeStreams,
      readTagHistory,
      returnTags,
      writeTagPolicies,
      ...shareAccess,
      ...shareOpenshiftAccess,
      ...writeTrustRules,
      readNamespace,
      rule(['delete', 'get'], projectGroups, 'projects'),
    ],
    {
      description: 'May do what registry-editor may, let others into the project, and delete it.',
      aggregateTo: [toAdmin],
    },
  ),
];

/** For programs. */
const systemRoles: readonly DefaultClusterRole[] = [
  clusterRole('system:image-puller', [pull], {
    description: 'Grants the right to pull images from within a project.',
  }),
  clusterRole('system:image-pusher', [pushAndPull], {
    description: 'Grants the right to push and pull images from within a project, to image streams that exist.',
  }),
  clusterRole(
    'system:image-builder',
    [
      pushAndPull,
      // A push to a repository that is not there makes its image stream.
      rule(['create'], imageGroups, 'imagestreams'),
      rule(['get'], buildGroups, 'builds'),
      rule(['update'], buildGroups, 'builds/details'),
    ],
    {
      description: 'Grants the right to build, push and pull images from within a project.',
      aggregateTo: [toAdmin, toEdit],
    },
  ),
  clusterRole('system:image-signer', [
    rule(['get'], imageGroups, 'images', 'imagestreams/layers'),
    rule(['create', 'delete'], imageGroups, 'imagesignatures'),
  ]),
  clusterRole('system:image-auditor', [rule(['get', 'list', 'patch', 'update', 'watch'], imageGroups, 'images')]),
  clusterRole('system:image-pruner', [
    rule(['get', 'list'], [''], 'limitranges', 'pods', 'replicationcontrollers'),
    rule(['get', 'list'], ['apps'], 'daemonsets', 'deployments', 'replicasets', 'statefulsets'),
    rule(['get', 'list'], ['batch'], 'cronjobs', 'jobs'),
    rule(['get', 'list'], buildGroups, 'buildconfigs', 'builds'),
    rule(['get', 'list'], deployGroups, 'deploymentconfigs'),
    rule(read, imageGroups, 'images', 'imagestreams'),
    rule(['delete'], imageGroups, 'images'),
    rule(['update'], imageGroups, 'imagestreams/status'),
  ]),
  clusterRole(
    'system:deployer',
    [
      rule(['delete', 'get', 'list', 'update', 'watch'], [''], 'replicationcontrollers'),
      rule(['create', 'get', 'list', 'watch'], [''], 'pods'),
      rule(['get'], [''], 'pods/log'),
      rule(['create', 'list'], [''], 'events'),
      rule(['create', 'update'], imageGroups, 'imagestreamtags', 'imagetags'),
    ],
    {
      description: 'Grants the right to deploy within a project.',
      // Nobody can give what they do not have, and admins of a project must be able to give this one.
      aggregateTo: [toEdit],
    },
  ),
  clusterRole('system:registry', [
    rule(['list'], [''], 'limitranges'),
    rule(['get', 'list'], imageGroups, 'imagestreams'),
    rule(['get'], imageGroups, 'imagestreamimages', 'imagestreams/layers', 'imagestreams/secrets'),
    rule(['create'], imageGroups, 'imagestreammappings'),
    rule(['create', 'get'], imageGroups, 'images'),
    rule(['create'], ['authorization.k8s.io'], 'subjectaccessreviews'),
    rule(['create'], openshiftAccessGroups, 'subjectaccessreviews'),
  ]),
];

/** For everybody, or everybody who is logged in. */
const commonRoles: readonly DefaultClusterRole[] = [
  clusterRole('self-provisioner', [rule(['create'], projectGroups, 'projectrequests')], {
    description: 'A user that can request projects.',
  }),
  clusterRole(
    'basic-user',
    [
      // `users/~` is whoever asks.
      { ...rule(['get'], userGroups, 'users'), resourceNames: ['~'] },
      rule(['list'], projectGroups, 'projectrequests'),
      // Listing shows the projects one is a member of.
      rule(['list', 'watch'], projectGroups, 'projects'),
      rule(['get', 'list'], openshiftAccessGroups, 'clusterroles'),
      rule(read, [rbacGroup], 'clusterroles'),
      rule(['create'], openshiftAccessGroups, 'selfsubjectrulesreviews'),
      rule(['create'], ['authorization.k8s.io'], 'selfsubjectaccessreviews', 'selfsubjectrulesreviews'),
    ],
    { description: 'A user that can get basic information about projects.' },
  ),
  clusterRole('system:basic-user', [
    rule(['create'], ['authentication.k8s.io'], 'selfsubjectreviews'),
    rule(['create'], ['authorization.k8s.io'], 'selfsubjectaccessreviews', 'selfsubjectrulesreviews'),
    // The resource shows and deletes the caller's own tokens only.
    rule(['delete', ...read], ['oauth.openshift.io'], 'useroauthaccesstokens'),
    // With which clients find out whether a login is good (OCI Distribution Spec, end-1).
    { verbs: ['get'], nonResourceURLs: ['/v2/'] },
  ]),
  clusterRole('system:discovery', [{ verbs: ['get'], nonResourceURLs: [...publicUrls, ...discoveryUrls] }]),
  clusterRole('system:public-info-viewer', [{ verbs: ['get'], nonResourceURLs: publicUrls }]),
];

/**
 * The ClusterRoles that are there from the first start. What they let do with image streams is OpenShift's
 * (`pkg/bootstrappolicy/policy.go` of its API server); rules for kinds we do not have are left out.
 */
export const defaultClusterRoles: readonly DefaultClusterRole[] = [
  ...clusterRoles,
  ...projectRoles,
  ...registryRoles,
  ...systemRoles,
  ...commonRoles,
];

function group(name: string): Subject {
  return { kind: 'Group', apiGroup: rbacGroup, name };
}

function roleReference(kind: RoleReference['kind'], name: string): RoleReference {
  return { apiGroup: rbacGroup, kind, name };
}

function clusterRoleBinding(name: string, role: string, ...groups: readonly string[]): DefaultClusterRoleBinding {
  return {
    metadata: bootstrapMetadata(name),
    subjects: groups.map(group),
    roleRef: roleReference('ClusterRole', role),
  };
}

const loggedIn = 'system:authenticated';
const anybody = [loggedIn, 'system:unauthenticated'];

/** The ClusterRoleBindings that are there from the first start. */
export const defaultClusterRoleBindings: readonly DefaultClusterRoleBinding[] = [
  clusterRoleBinding('cluster-admin', 'cluster-admin', 'system:masters'),
  clusterRoleBinding('cluster-admins', 'cluster-admin', 'system:cluster-admins'),
  clusterRoleBinding('cluster-readers', 'cluster-reader', 'system:cluster-readers'),
  // People who logged in, and not service accounts.
  clusterRoleBinding('self-provisioners', 'self-provisioner', 'system:authenticated:oauth'),
  clusterRoleBinding('basic-users', 'basic-user', loggedIn),
  clusterRoleBinding('system:basic-user', 'system:basic-user', loggedIn),
  // Clients look for what there is before they log in.
  clusterRoleBinding('system:discovery', 'system:discovery', ...anybody),
  clusterRoleBinding('system:public-info-viewer', 'system:public-info-viewer', ...anybody),
];

function projectBinding(
  namespace: string,
  {
    name,
    role,
    subject,
    description,
  }: Readonly<Record<'name' | 'role' | 'description', string>> & { subject: Subject },
): DefaultRoleBinding {
  return {
    metadata: { name, namespace, annotations: { [descriptionAnnotation]: description } },
    subjects: [subject],
    roleRef: roleReference('ClusterRole', role),
  };
}

/** The RoleBindings a new project starts with, for its service accounts. Its admins may change or delete them. */
export function projectRoleBindings(namespace: string): readonly DefaultRoleBinding[] {
  return [
    projectBinding(namespace, {
      name: 'system:image-pullers',
      role: 'system:image-puller',
      subject: group(`system:serviceaccounts:${namespace}`),
      description: 'Lets the service accounts of this project pull from it.',
    }),
    projectBinding(namespace, {
      name: 'system:image-builders',
      role: 'system:image-builder',
      subject: { kind: 'ServiceAccount', namespace, name: 'builder' },
      description: 'Lets builds in this project push to it.',
    }),
    projectBinding(namespace, {
      name: 'system:deployers',
      role: 'system:deployer',
      subject: { kind: 'ServiceAccount', namespace, name: 'deployer' },
      description: 'Lets deployments in this project run.',
    }),
  ];
}

/** The RoleBinding that makes whoever asked for a project its admin, as in OpenShift's project template. */
export function projectAdminBinding(namespace: string, user: string): DefaultRoleBinding {
  return {
    metadata: { name: 'admin', namespace },
    subjects: [{ kind: 'User', apiGroup: rbacGroup, name: user }],
    roleRef: roleReference('ClusterRole', 'admin'),
  };
}

const sharedResources = { ...bootstrapMetadata('shared-resource-viewer'), namespace: 'openshift' };

/** The Role of namespace `openshift`, whose image streams are there for everybody. */
export const openshiftNamespaceRole: DefaultRole = {
  metadata: sharedResources,
  rules: [
    rule(read, templateGroups, 'templates'),
    rule(read, imageGroups, 'imagestreamimages', 'imagestreams', 'imagestreamtags', 'imagetags'),
    pull,
    rule(['get'], [''], 'configmaps'),
  ],
};

/** Gives `openshiftNamespaceRole` to everybody who is logged in, and not to anonymous users. */
export const openshiftNamespaceRoleBinding: DefaultRoleBinding = {
  metadata: { ...sharedResources, name: 'shared-resource-viewers' },
  subjects: [group(loggedIn)],
  roleRef: roleReference('Role', 'shared-resource-viewer'),
};
