import { openshiftDefaults, projectDefaults } from './access/default-policy.js';
import { rbacResources } from './access/rbac-resources.js';
import { reviewResources } from './access/reviews.js';
import { auditRecordResource } from './audit/audit-record-resource.js';
import type { AccessPolicy } from './auth/policy.js';
import type { Principal } from './auth/principal.js';
import type { ServiceAccountTokens } from './auth/service-account-tokens.js';
import { cachesOptions, requestLimits } from './cache-parts.js';
import type { Config } from './config.js';
import { IssuerKeys } from './identity/issuer-keys.js';
import { oauthResources } from './identity/oauth-resources.js';
import { KeylessExchange, trustRuleResource } from './identity/trust-rules.js';
import { userResources } from './identity/user-resources.js';
import type { Resource } from './kube/resource.js';
import type { AuditRecords } from './metadata/audit-records.js';
import type { Metrics } from './metrics.js';
import type { ImageStore } from './metadata/image-store.js';
import type { ObjectStore } from './metadata/object-store.js';
import type { RepositoryStore } from './metadata/repository-store.js';
import type { StreamStore } from './metadata/stream-store.js';
import type { UpstreamBudgets } from './metadata/upstream-budgets.js';
import type { UserRecords } from './metadata/user-records.js';
import { configMapResource } from './projects/config-maps.js';
import { eventResource } from './projects/events.js';
import { limitRangeResource } from './projects/limit-ranges.js';
import { namespaceResources } from './projects/namespaces.js';
import { ensureProjects } from './projects/project-bootstrap.js';
import { ProjectContents } from './projects/project-contents.js';
import { ProjectRemoval } from './projects/project-removal.js';
import { projectRequestResource } from './projects/project-requests.js';
import { ProjectService } from './projects/project-service.js';
import type { SecretBox } from './projects/secret-box.js';
import { resourceQuotaResource } from './projects/resource-quotas.js';
import { resealSecrets } from './projects/secret-rotation.js';
import { secretResource, SecretReader } from './projects/secrets.js';
import { ServiceAccountSecrets } from './projects/service-account-secrets.js';
import { serviceAccountResource } from './projects/service-accounts.js';
import { workloadResources } from './projects/workloads.js';
import { UpstreamCaches, upstreamCacheResource } from './pullthrough/upstream-caches.js';
import { upstreamResource } from './pullthrough/upstreams.js';
import { parseAllowedRegistries } from './streams/allowed-registries.js';
import { makeImportParts, type ImportParts, type UpstreamParts } from './import-parts.js';
import { imageSignatureResource } from './streams/image-signatures.js';
import { imageResource } from './streams/images.js';
import { StreamService } from './streams/stream-service.js';
import type { StreamLimits } from './streams/stream-limits.js';
import { streamResources } from './streams/stream-resources.js';
import { tagPolicyResource, type TagPolicies } from './streams/tag-policies.js';

/** What the resources of the API are kept in and decided by. */
export interface ApiPartsOptions {
  readonly config: Config;
  readonly now: () => Date;
  readonly box: SecretBox;
  readonly objects: ObjectStore;
  readonly repositories: RepositoryStore;
  readonly streams: StreamStore;
  readonly images: ImageStore;
  readonly tagPolicies: TagPolicies;
  readonly streamLimits: StreamLimits;
  readonly users: UserRecords;
  readonly auditRecords: AuditRecords;
  readonly policy: AccessPolicy;
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly authenticateToken: (token: string) => Promise<Principal | undefined>;
  readonly upstreams: UpstreamParts;
  readonly budgets: UpstreamBudgets;
  readonly metrics: Metrics;
}

/** The resources of the API, and what else works on the same objects. */
export interface ApiParts {
  readonly resources: readonly Resource[];
  readonly projects: ProjectService;
  readonly removal: ProjectRemoval;
  readonly accountSecrets: ServiceAccountSecrets;
  readonly keyless: KeylessExchange;
  /** Seals every secret with the newest key; to be run once after a start. */
  readonly resealSecrets: (signal: AbortSignal) => Promise<unknown>;
  /** Brings images of other registries into streams. */
  readonly imports: ImportParts;
  readonly caches: UpstreamCaches;
  /** Makes the projects that exist from the start. */
  readonly ensureProjects: () => Promise<void>;
}

/** Puts together every resource that is declared to the API kernel. */
export function makeApiParts(options: ApiPartsOptions): ApiParts {
  const { config, now, box, objects: store, repositories, users, policy, serviceAccountTokens: tokens } = options;
  const { defaultProject } = config;
  const { selfProvisioning, createOnPush, requestMessage: message } = config.projects;
  const registryHosts = config.publicUrl === undefined ? [] : [new URL(config.publicUrl).host];
  const accountSecrets = new ServiceAccountSecrets({ store, box, tokens, registryHosts, now });
  const defaults = (namespace: string, admin?: string) => projectDefaults(namespace, now(), admin);
  const contents = new ProjectContents(defaults, accountSecrets);
  const removal = new ProjectRemoval(store, repositories);
  const allowedRegistries = parseAllowedRegistries(config.imports.allowedRegistries, registryHosts[0]);
  const secrets = new SecretReader(store, box);
  const cacheOptions = cachesOptions(allowedRegistries, registryHosts[0]);
  const service = new StreamService({
    store: options.streams,
    findRules: options.tagPolicies.find,
    limits: options.streamLimits,
    allowedRegistries,
    ownHosts: registryHosts,
  });
  const imports = makeImportParts({ ...options, service, secrets, allowedRegistries, ownHosts: registryHosts });

  const resources = [
    ...namespaceResources({ store, policy, contents, removal, defaultProject }),
    projectRequestResource({ store, contents, selfProvisioning, message }),
    secretResource({ store, box, accounts: accountSecrets }),
    configMapResource(store),
    serviceAccountResource({ store, secrets: accountSecrets, tokens }),
    resourceQuotaResource(store),
    limitRangeResource(store),
    eventResource({ store, now }),
    ...workloadResources(store),
    ...rbacResources(store, policy),
    ...reviewResources(policy, options.authenticateToken),
    ...userResources(store, users),
    ...oauthResources(store),
    trustRuleResource(store),
    ...streamResources({
      store: options.streams,
      images: options.images,
      objects: store,
      service,
      findRules: options.tagPolicies.find,
      secrets,
      publicUrl: config.publicUrl,
      maxItems: config.history.shownEvents,
    }),
    imageResource({ images: options.images, objects: store, graceMs: config.collection.graceSeconds * 1000 }),
    imageSignatureResource(options.images),
    tagPolicyResource(store),
    upstreamCacheResource(store, cacheOptions),
    upstreamResource(options.budgets, requestLimits(options.upstreams.registries)),
    imports.resource,
    auditRecordResource(options.auditRecords),
  ];
  return {
    resources,
    projects: new ProjectService({ store, policy, contents, createOnPush, selfProvisioning, now }),
    removal,
    accountSecrets,
    imports,
    caches: new UpstreamCaches(store, cacheOptions),
    keyless: new KeylessExchange(store, new IssuerKeys({ fetch: options.upstreams.fetch }), now),
    resealSecrets: (signal) => resealSecrets(store, box, signal),
    ensureProjects: () =>
      ensureProjects({ store, contents, defaultProject, now, openshiftDefaults: () => openshiftDefaults(now()) }),
  };
}
