import { coversJson, parseMediaRanges } from './accept.js';
import { apiVersionOf, type Resource, type Subresource, type Verb } from './resource.js';

/** Versions of apidiscovery.k8s.io; both have the same documents. */
export type AggregatedVersion = 'v2' | 'v2beta1';

/** A group, version and kind, as every document of discovery names what a resource holds. */
interface ResponseKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** apidiscovery.k8s.io, APISubresourceDiscovery. */
export interface SubresourceDiscovery {
  readonly subresource: string;
  readonly responseKind: ResponseKind;
  readonly verbs: readonly Verb[];
}

/** apidiscovery.k8s.io, APIResourceDiscovery. */
export interface ResourceDiscovery {
  readonly resource: string;
  readonly responseKind: ResponseKind;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly singularResource: string;
  readonly verbs: readonly Verb[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly subresources?: readonly SubresourceDiscovery[];
}

/** apidiscovery.k8s.io, APIGroupDiscovery. */
export interface GroupDiscovery {
  /** Of the core group without a name. */
  readonly metadata: { readonly name?: string };
  /** The preferred one first. */
  readonly versions: readonly {
    readonly version: string;
    readonly freshness: 'Current';
    readonly resources: readonly ResourceDiscovery[];
  }[];
}

/** apidiscovery.k8s.io, APIGroupDiscoveryList. */
export interface GroupDiscoveryList {
  readonly kind: 'APIGroupDiscoveryList';
  readonly apiVersion: string;
  readonly metadata: object;
  readonly items: readonly GroupDiscovery[];
}

/** metav1.APIVersions. */
export interface ApiVersions {
  readonly kind: 'APIVersions';
  readonly versions: readonly string[];
  readonly serverAddressByClientCIDRs: readonly [];
}

/** metav1.GroupVersionForDiscovery. */
export interface GroupVersion {
  readonly groupVersion: string;
  readonly version: string;
}

/** metav1.APIGroup, without kind and apiVersion, as within a list. */
export interface ApiGroup {
  readonly name: string;
  readonly versions: readonly GroupVersion[];
  readonly preferredVersion: GroupVersion;
}

/** metav1.APIGroupList. */
export interface ApiGroupList {
  readonly kind: 'APIGroupList';
  readonly apiVersion: 'v1';
  readonly groups: readonly ApiGroup[];
}

/** metav1.APIResource. */
export interface ApiResource {
  /** The plural; of a subresource with its own name after a slash. */
  readonly name: string;
  /** Empty for subresources. */
  readonly singularName: string;
  readonly namespaced: boolean;
  /** Of the kind, where it is another than the list's. */
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly Verb[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
}

/** metav1.APIResourceList. */
export interface ApiResourceList {
  readonly kind: 'APIResourceList';
  readonly apiVersion: 'v1';
  readonly groupVersion: string;
  readonly resources: readonly ApiResource[];
}

/** The resources of one version of a group that discovery tells of, alphabetically. */
interface Version {
  readonly version: string;
  readonly resources: readonly Resource[];
}

/**
 * Which of two groups a bare name such as `roles` means is the client's choice of the first, and so these come in this
 * order; others follow alphabetically.
 */
const groupOrder = [
  'authentication.k8s.io',
  'authorization.k8s.io',
  'rbac.authorization.k8s.io',
  'authorization.openshift.io',
  'image.openshift.io',
  'oauth.openshift.io',
  'project.openshift.io',
  'template.openshift.io',
  'user.openshift.io',
];

/**
 * Tells clients which resources there are: all in one document for those who ask for it, and one document for each
 * group and version as before (Kubernetes API concepts, "Aggregated discovery").
 */
export class Discovery {
  /** By group, in their order; of a group the version that is declared first is the preferred one. */
  readonly #groups: ReadonlyMap<string, readonly Version[]>;

  /** @param resources all that are served; hidden ones are left out, and groups that have no others */
  constructor(resources: readonly Resource[]) {
    const shown = resources.filter(({ isHidden }) => isHidden !== true);
    const groups = [...new Set(shown.map(({ group }) => group))].sort(compareGroups);
    this.#groups = new Map(groups.map((group) => [group, versionsOf(shown.filter((other) => other.group === group))]));
  }

  /** `/api` or `/apis`, for clients that {@link wantsAggregated}. */
  aggregated(root: 'api' | 'apis', version: AggregatedVersion): GroupDiscoveryList {
    const items = [...this.#groups]
      .filter(([group]) => (group === '') === (root === 'api'))
      .map(([group, versions]) => groupDiscovery(group, versions));
    return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
  }

  /** `/api` */
  apiVersions(): ApiVersions {
    const versions = (this.#groups.get('') ?? []).map(({ version }) => version);
    return { kind: 'APIVersions', versions, serverAddressByClientCIDRs: [] };
  }

  /** `/apis` */
  groupList(): ApiGroupList {
    const groups = [...this.#groups]
      .filter(([group]) => group !== '')
      .map(([group, versions]) => apiGroup(group, versions));
    return { kind: 'APIGroupList', apiVersion: 'v1', groups };
  }

  /**
   * `/apis/{group}`
   *
   * @returns undefined when there is no such group
   */
  group(name: string): (ApiGroup & { readonly kind: 'APIGroup'; readonly apiVersion: 'v1' }) | undefined {
    const versions = name === '' ? undefined : this.#groups.get(name);
    return versions && { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(name, versions) };
  }

  /**
   * `/api/v1` or `/apis/{group}/{version}`
   *
   * @returns undefined when there is no such version
   */
  resourceList(group: string, version: string): ApiResourceList | undefined {
    const found = this.#groups.get(group)?.find((other) => other.version === version);
    return (
      found && {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: apiVersionOf({ group, version }),
        resources: found.resources.flatMap(apiResources),
      }
    );
  }
}

function compareGroups(a: string, b: string): number {
  return rankOf(a) - rankOf(b) || compare(a, b);
}

function rankOf(group: string): number {
  if (group === '') return -1;
  const rank = groupOrder.indexOf(group);
  return rank === -1 ? groupOrder.length : rank;
}

/** By code unit, whatever the language of the machine. */
function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function versionsOf(resources: readonly Resource[]): readonly Version[] {
  const versions = [...new Set(resources.map(({ version }) => version))];
  return versions.map((version) => ({
    version,
    // Of two resources with the same kind the last is the client's choice for that kind: templates after processedtemplates.
    resources: resources.filter((other) => other.version === version).sort((a, b) => compare(a.plural, b.plural)),
  }));
}

function subresourcesOf({ subresources = [] }: Resource): readonly Subresource[] {
  return [...subresources].sort((a, b) => compare(a.name, b.name));
}

function groupDiscovery(group: string, versions: readonly Version[]): GroupDiscovery {
  return {
    metadata: group === '' ? {} : { name: group },
    versions: versions.map(({ version, resources }) => ({
      version,
      freshness: 'Current',
      resources: resources.map(resourceDiscovery),
    })),
  };
}

function resourceDiscovery(resource: Resource): ResourceDiscovery {
  const { group, version, kind } = resource;
  const subresources = subresourcesOf(resource).map((subresource) => ({
    subresource: subresource.name,
    responseKind: {
      group: subresource.group ?? group,
      version: subresource.version ?? version,
      kind: subresource.kind,
    },
    verbs: sorted(subresource.verbs),
  }));
  return {
    resource: resource.plural,
    responseKind: { group, version, kind },
    scope: resource.isNamespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: sorted(resource.verbs),
    ...otherNames(resource),
    ...(subresources.length > 0 && { subresources }),
  };
}

function apiGroup(name: string, versions: readonly Version[]): ApiGroup {
  const groupVersions = versions.map(({ version }) => ({
    groupVersion: apiVersionOf({ group: name, version }),
    version,
  }));
  return { name, versions: groupVersions, preferredVersion: groupVersions[0]! };
}

/** A resource and its subresources. */
function apiResources(resource: Resource): readonly ApiResource[] {
  const { plural, singular, isNamespaced, kind, verbs } = resource;
  return [
    {
      name: plural,
      singularName: singular,
      namespaced: isNamespaced,
      kind,
      verbs: sorted(verbs),
      ...otherNames(resource),
    },
    ...subresourcesOf(resource).map((subresource) => ({
      name: `${plural}/${subresource.name}`,
      singularName: '',
      namespaced: isNamespaced,
      ...(subresource.group !== undefined && { group: subresource.group }),
      ...(subresource.version !== undefined && { version: subresource.version }),
      kind: subresource.kind,
      verbs: sorted(subresource.verbs),
    })),
  ];
}

function otherNames({ shortNames = [], categories = [] }: Resource): Pick<ApiResource, 'shortNames' | 'categories'> {
  return { ...(shortNames.length > 0 && { shortNames }), ...(categories.length > 0 && { categories }) };
}

function sorted(verbs: readonly Verb[]): readonly Verb[] {
  return [...verbs].sort(compare);
}

/**
 * Whether a client asks for all of discovery in one document, and in which version of it.
 *
 * @param accept empty when there was no such header
 * @returns undefined when the client wants the documents of old, or nothing that is known
 */
export function wantsAggregated(accept: string): AggregatedVersion | undefined {
  for (const range of parseMediaRanges(accept).filter(coversJson)) {
    const as = range.parameters.get('as');
    const version = range.parameters.get('v');
    if (as === undefined) return undefined;
    if (as !== 'APIGroupDiscoveryList' || range.parameters.get('g') !== 'apidiscovery.k8s.io') continue;
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

/** The content type by whose parameters alone clients know the aggregated document. */
export function aggregatedContentType(version: AggregatedVersion): string {
  return `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
}

/** k8s.io/apimachinery/pkg/version, Info. */
export interface VersionInfo {
  readonly major: string;
  readonly minor: string;
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly gitTreeState: string;
  readonly buildDate: string;
  readonly goVersion: string;
  readonly compiler: string;
  readonly platform: string;
}

/**
 * `/version`: the version of Kubernetes whose conventions the API follows, and which Weir this is.
 *
 * @param weirVersion that of the package
 */
export function versionInfo(weirVersion: string): VersionInfo {
  return {
    major: '1',
    minor: '36',
    // Build metadata has no plus sign of its own (Semantic Versioning 2.0.0, section 10).
    gitVersion: `v1.36.0+weir.${weirVersion.replaceAll('+', '.')}`,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '',
    goVersion: '',
    compiler: '',
    platform: '',
  };
}
