import Router from '@koa/router';
import Koa, { type Context } from 'koa';
import type { Logger } from 'pino';
import { join } from 'node:path';
import { ensureDefaultPolicy } from './access/default-policy.js';
import { AuditLog } from './audit/audit-log.js';
import { auditTrail } from './audit/audit-middleware.js';
import { AccessTokens } from './auth/access-tokens.js';
import { Authenticator } from './auth/authenticate.js';
import { HtpasswdFile } from './auth/htpasswd.js';
import { Identities } from './auth/identities.js';
import { PasswordChecker } from './auth/passwords.js';
import { AccessPolicy } from './auth/policy.js';
import { RegistryAccess, tokenPath } from './auth/registry-access.js';
import { RepositoryRights } from './auth/repository-rights.js';
import { tokenRoutes } from './auth/routes.js';
import { ServiceAccountTokens } from './auth/service-account-tokens.js';
import { SigningKeys } from './auth/signing-keys.js';
import { RegistryTokens } from './auth/tokens.js';
import type { BlobStore } from './blobstore/blob-store.js';
import { BlobRelay } from './pullthrough/blob-relay.js';
import { canonicalRegistry, splitPlace } from './upstream/upstream-settings.js';
import { durationMs, type Config } from './config.js';
import { makeApiParts } from './api-parts.js';
import { openUpstreams } from './import-parts.js';
import { BlobRedirects } from './distribution/blob-redirects.js';
import { BlobService } from './distribution/blobs.js';
import { CatalogService } from './distribution/catalog.js';
import { ConfigReader } from './distribution/config-reader.js';
import { ociErrors } from './distribution/error-middleware.js';
import { GarbageCollection } from './distribution/garbage-collection.js';
import { ImageSummaries } from './distribution/image-summaries.js';
import { ManifestService } from './distribution/manifests.js';
import { mirrorParameter } from './distribution/mirror-middleware.js';
import { ReferrerService } from './distribution/referrers.js';
import { distributionRoutes, plainPaths, readOnly, unsupported } from './distribution/routes.js';
import { SignatureService } from './distribution/signatures.js';
import { TagService } from './distribution/tags.js';
import { UploadService } from './distribution/uploads.js';
import { ensureOAuthClients } from './identity/oauth-clients.js';
import { identityRoutes } from './identity/oauth-routes.js';
import type { OidcProvider } from './identity/oidc.js';
import { makeCacheParts } from './cache-parts.js';
import type { Job } from './jobs.js';
import type { Resource } from './kube/resource.js';
import { apiRoutes } from './kube/routes.js';
import { ChangeFeed } from './kube/watch.js';
import type { KeyRecords } from './metadata/key-records.js';
import { KyselyAuditRecords } from './metadata/kysely-audit-records.js';
import { KyselyBlobRecords } from './metadata/kysely-blob-records.js';
import { KyselyImagePulls } from './metadata/kysely-image-pulls.js';
import { KyselyImageStore } from './metadata/kysely-image-store.js';
import { KyselyImageSources } from './metadata/kysely-image-sources.js';
import { KyselyInspection } from './metadata/kysely-inspection.js';
import { KyselyImportRecords } from './metadata/kysely-import-records.js';
import { KyselyUpstreamBudgets } from './metadata/kysely-upstream-budgets.js';
import { KyselyKeyRecords } from './metadata/kysely-key-records.js';
import { KyselyObjectStore } from './metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from './metadata/kysely-repository-store.js';
import { KyselyStreamStore } from './metadata/kysely-stream-store.js';
import { KyselyUploadRecords } from './metadata/kysely-upload-records.js';
import { KyselyUserRecords } from './metadata/kysely-user-records.js';
import type { OpenedDatabase } from './metadata/opened-database.js';
import { parseRepositoryName, projectOf } from './oci/repository-name.js';
import { requireHost } from './malformed-requests.js';
import type { Metrics } from './metrics.js';
import { operationsRoutes } from './operations-routes.js';
import { requestLog } from './request-log.js';
import { openSecretBox } from './secret-keys.js';
import { StreamLeftovers } from './streams/stream-leftovers.js';
import { pushLimitsOf, quotaRefusal, StreamLimits } from './streams/stream-limits.js';
import { TagPolicies } from './streams/tag-policies.js';

/** What the application stands on. */
export interface AppOptions {
  readonly config: Config;
  /** Of this program, as in `0.1.0`. */
  readonly version: string;
  readonly database: OpenedDatabase;
  readonly store: BlobStore;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Fires when the process is going away and should get no new work. */
  readonly stopping: AbortSignal;
}

/** The application, to be put behind a listener. */
export interface App {
  readonly koa: Koa;
  /** Every route but those of the API, for tests that walk them. */
  readonly routers: readonly Router[];
  /** What the API serves, for tests that walk it. */
  readonly resources: readonly Resource[];
  /** What is signed and encrypted with, the same for all processes. */
  readonly keys: KeyRecords;
  readonly collection: GarbageCollection;
  /** Work that is done now and then, beside requests. */
  readonly jobs: readonly Job[];
  /** Waits for what is still being written. */
  readonly close: () => Promise<void>;
}

/** The identity provider of the configuration; undefined when there is none. */
function oidcProvider({ oidc: { issuer, clientId, ...provider } }: Config): OidcProvider | undefined {
  return issuer === undefined || clientId === undefined ? undefined : { issuer, clientId, ...provider };
}

/** Where clients are sent for the bytes of blobs; undefined: nowhere. */
function blobRedirects({ blobstore: { s3 } }: Config, store: BlobStore): BlobRedirects | undefined {
  if (!s3.redirect) return undefined;
  return new BlobRedirects(store, { expireSeconds: s3.redirectExpireSeconds, exclude: s3.redirectExclude });
}

/** A job that has nothing more to do when it has succeeded. */
function once(job: Job): Job {
  let isDone = false;
  return {
    ...job,
    run: async (signal) => {
      if (!isDone) await job.run(signal);
      isDone ||= !signal.aborted;
    },
  };
}

/** How long a change can be watched from. */
const changesKeptMs = 3600_000;
/** What is told of a registry that nobody asks any more. */
const budgetsKeptMs = 7 * 86_400_000;
const refreshMs = 60_000;
const pullsMs = 30_000;
const retentionMs = 600_000;
/** What is newly wanted is imported within so long. */
const importsMs = 500;
const credentialsMs = 600_000;
/** What a store holds of uploads that nobody knows of costs a walk over all that it holds. */
const abandonedMs = 86_400_000;
/** A file of users counts within a second of its change. */
const htpasswdMs = 1000;

/** Makes the adapters, hands them to the services, and mounts the routes. */
export async function createApp({
  config,
  version,
  database,
  store,
  log,
  metrics,
  stopping,
}: AppOptions): Promise<App> {
  const { db, now } = database;
  const objects = new KyselyObjectStore(db, now, database.pollMs);
  const onChange = () => {
    objects.announce();
  };
  database.onChange(onChange);
  const repositories = new KyselyRepositoryStore(db, now, onChange);
  const streams = new KyselyStreamStore(db, now, onChange);
  const images = new KyselyImageStore(db, now, onChange);
  const blobRecords = new KyselyBlobRecords(db, now);
  const uploadRecords = new KyselyUploadRecords(db, now);
  const inspection = new KyselyInspection(db);
  const users = new KyselyUserRecords(db, now);
  const auditRecords = new KyselyAuditRecords(db);

  const box = await openSecretBox(config);
  const keyRecords = new KyselyKeyRecords(db, box);
  const keysFolder = join(config.dataDir, 'keys');
  const keys = await SigningKeys.open(keyRecords, 'registry-tokens', { earlierFolder: keysFolder, now });
  const tokens = new RegistryTokens(keys, config.tokens.lifetimeSeconds, now);
  // Keys of their own, because these tokens may live for years and rotation forgets old keys after a day.
  const accountKeys = await SigningKeys.open(keyRecords, 'service-account-tokens', {
    earlierFolder: join(keysFolder, 'service-accounts'),
    now,
  });
  const serviceAccountTokens = new ServiceAccountTokens(accountKeys, now);
  const accessTokens = new AccessTokens(objects, now);
  const passwords = new PasswordChecker(users);
  const identities = new Identities(objects, users, accessTokens, now);
  const authenticator = new Authenticator({ passwords, registryTokens: tokens, serviceAccountTokens, identities });
  const policy = new AccessPolicy(objects);
  const tagPolicies = new TagPolicies(objects);
  const streamLimits = new StreamLimits(objects);

  const importRecords = new KyselyImportRecords(db);
  const budgets = new KyselyUpstreamBudgets(db, now);
  const upstreams = await openUpstreams(config, { version, budgets, importRecords, now });
  const parts = makeApiParts({
    config,
    now,
    box,
    metrics,
    upstreams,
    budgets,
    objects,
    repositories,
    streams,
    images,
    tagPolicies,
    streamLimits,
    users,
    auditRecords,
    policy,
    serviceAccountTokens,
    authenticateToken: (token) => authenticator.authenticateApi(`Bearer ${token}`),
  });
  const { resources, projects, removal, accountSecrets, keyless, resealSecrets, ensureProjects, imports } = parts;
  const { caches } = parts;
  await ensureDefaultPolicy(objects, now);
  await ensureProjects();
  await ensureOAuthClients(objects, now());

  const refuseRepository = async (project: string) => {
    const limit = await streamLimits.of(project);
    return limit.quotas.length === 0 ? undefined : quotaRefusal(await streams.countStreams(project), limit);
  };
  const cache = makeCacheParts({
    config,
    now,
    caches,
    upstream: upstreams.upstream,
    access: imports.access,
    repositories,
    streams,
    pulls: new KyselyImagePulls(db),
    tagPolicies,
    streamLimits,
    refuseRepository,
    log,
  });
  const rights = new RepositoryRights(
    policy,
    {
      repositoryExists: (repository) => repositories.repositoryExists(repository),
      projectExists: (project) => projects.exists(project),
      mayCreateProject: (principal, project) => projects.mayCreateForPush(principal, project),
      createProject: async (principal, project) => {
        await projects.createForPush(principal, project);
      },
      refuseRepository,
    },
    { anonymousPull: config.anonymous.pull },
  );
  const access = new RegistryAccess({
    authenticator,
    policy,
    rights,
    anonymousPull: config.anonymous.pull,
    publicUrl: config.publicUrl,
    refusePush: (repository) => cache.manifests.refusePush(repository),
  });

  const parseName = (text: string) => parseRepositoryName(text, config.defaultProject);

  const graceMs = config.collection.graceSeconds * 1000;
  const expireMs = config.uploads.expireSeconds * 1000;
  const uploads = new UploadService({
    store,
    uploads: uploadRecords,
    blobs: blobRecords,
    graceMs,
    expireMs,
    savesHashes: config.blobstore.kind === 's3',
    now,
  });

  const ownHost = config.publicUrl === undefined ? undefined : canonicalRegistry(new URL(config.publicUrl).host);
  const relay = new BlobRelay({
    upstream: upstreams.upstream,
    sources: new KyselyImageSources(db),
    store,
    blobs: blobRecords,
    uploads,
    accessOf: (project, isInsecure) => imports.access.of(project, isInsecure),
    cacheSourceOf: (repository) => cache.manifests.cacheSourceOf(repository),
    isOwn: (registry) => registry === ownHost,
    mayKeep: async (repository, size) => {
      if (config.maintenance.readOnly) return false;
      return (await pushLimitsOf(streamLimits, projectOf(repository))).refuseSize(size) === undefined;
    },
    keep: config.pullThrough.keep,
    keepSource: config.pullThrough.keepSource,
    onFetch: ({ registry, outcome, bytes }) => {
      metrics.blobFetches.inc({ registry: upstreams.labelOf(registry), outcome });
      metrics.fetchedBytes.inc({ registry: upstreams.labelOf(registry) }, bytes);
    },
  });
  const configs = new ConfigReader(blobRecords, store);
  const distribution = distributionRoutes(
    { access, parseName },
    {
      blobs: new BlobService(store, blobRecords, graceMs, now, relay),
      uploads,
      redirects: blobRedirects(config, store),
      manifests: new ManifestService({
        store: repositories,
        configs,
        findRules: tagPolicies.find,
        findLimits: (project) => pushLimitsOf(streamLimits, project),
        sparse: config.policy.sparse,
        graceMs,
        obtain: (repository, digest) => relay.obtain(repository, digest),
        now,
      }),
      // Nothing comes while the registry is being worked on.
      remoteManifests: config.maintenance.readOnly ? undefined : cache.manifests,
      tags: new TagService(repositories),
      referrers: new ReferrerService(repositories),
      catalog: new CatalogService(repositories),
      signatures: new SignatureService({ repositories, images }),
    },
  );
  const auth = new Router({ sensitive: true });
  tokenRoutes(auth, {
    authenticator,
    identities,
    rights,
    keyless,
    serviceAccountTokens,
    users,
    tokens,
    keys,
    parseName,
    refreshLifetimeSeconds: config.tokens.refreshLifetimeSeconds,
    now,
  });
  const identity = new Router({ sensitive: true });
  identityRoutes(identity, {
    store: objects,
    records: users,
    passwords,
    accessTokens,
    publicUrl: config.publicUrl,
    accessTokenSeconds: config.oauth.accessTokenSeconds,
    oidc: oidcProvider(config),
    now,
  });
  const operations = new Router({ sensitive: true });
  operationsRoutes(operations, { access, database, store, metrics, isDraining: () => stopping.aborted });

  const api = apiRoutes({
    resources,
    access: {
      authenticate: (authorization) => authenticator.authenticateApi(authorization),
      allows: (principal, request) => policy.allows(principal, request),
    },
    feed: new ChangeFeed(objects, stopping),
    publicUrl: config.publicUrl,
    version,
    stopping,
    now,
  });
  const audit = new AuditLog(auditRecords, {
    log,
    ...(config.audit.file !== undefined && { file: config.audit.file }),
    retentionDays: config.audit.retentionDays,
  });

  const koa = new Koa();
  koa.use((_ctx, next) => {
    objects.arrive();
    return next();
  });
  koa.use(requestLog(log, metrics));
  koa.use(
    auditTrail(audit, {
      loginPaths: [tokenPath, '/oauth/token', '/oauth/login', `/oauth/callback/${config.oidc.name}`],
      now,
    }),
  );
  koa.use(ociErrors);
  koa.use(requireHost);
  // It looks at its paths itself, and refuses in its own form.
  koa.use(api);
  koa.use(plainPaths);
  koa.use(
    mirrorParameter({
      findRepository: (registry, path) => caches.findRepository(registry, path),
      ownHost: config.publicUrl === undefined ? undefined : new URL(config.publicUrl).host,
    }),
  );
  if (config.maintenance.readOnly) koa.use(readOnly);
  // Pulls and pushes first: every router that is asked costs its share of a small request.
  const routers = [distribution, operations, auth, identity];
  for (const router of routers) koa.use(router.routes());
  koa.use(unsupported(distribution));
  koa.on('error', (error: unknown, ctx?: Context) => {
    // A client that went away is no error of ours; the request log says so.
    if (ctx?.res.destroyed === true) return;
    log.error({ err: error, id: ctx?.state['requestId'] as string | undefined }, 'unexpected error');
  });

  const collection = new GarbageCollection(store, blobRecords, uploads, now);
  const summaries = new ImageSummaries(images, configs);
  const leftovers = new StreamLeftovers(streams, durationMs(config.history.deletedTagRetention));
  const configuredRegistries = upstreams.registries.map(({ registry }) => splitPlace(registry).registry);
  const refresh = async () => {
    const at = now();
    await users.removeExpiredRefreshTokens(at);
    await objects.removeExpired(at);
    await budgets.forgetUnused(new Date(at.getTime() - budgetsKeptMs), configuredRegistries);
    await objects.pruneChanges(new Date(at.getTime() - changesKeptMs));
    metrics.blobs.set(await blobRecords.countBlobs());
    metrics.uploadsOpen.set(await uploadRecords.countUploads());
    const { waiting, due, failing, oldestDueAt } = await importRecords.count(at);
    for (const [state, count] of Object.entries({ waiting, due, failing }))
      metrics.importsWaiting.set({ state }, count);
    metrics.importDelaySeconds.set(oldestDueAt === undefined ? 0 : (at.getTime() - oldestDueAt.getTime()) / 1000);
  };
  await refresh();
  const jobs: Job[] = [
    {
      name: 'collection',
      intervalMs: config.collection.intervalSeconds * 1000,
      run: (signal) => collection.run(signal),
    },
    { name: 'refresh', intervalMs: refreshMs, run: refresh },
    {
      name: 'abandoned uploads',
      intervalMs: Math.min(abandonedMs, expireMs),
      run: async (signal) => {
        const before = new Date(now().getTime() - expireMs);
        const isKnown = async (id: string) => (await uploadRecords.findUpload(id)) !== undefined;
        const isLeftover = (location: string) => inspection.isLeftover(location);
        await store.removeAbandoned?.({ before, isKnown, isLeftover, signal });
      },
    },
    { name: 'pulls of caches', intervalMs: pullsMs, run: () => cache.recorder.flush() },
    { name: 'removed streams', intervalMs: refreshMs, run: (signal) => leftovers.run(signal, now()) },
    once({ name: 'image summaries', intervalMs: refreshMs, run: (signal) => summaries.run(signal) }),
    { name: 'project removal', intervalMs: refreshMs, run: (signal) => removal.run(signal) },
    {
      name: 'service account credentials',
      intervalMs: credentialsMs,
      run: (signal) => accountSecrets.run(signal),
    },
    once({
      name: 'secret keys',
      intervalMs: refreshMs,
      run: async (signal) => {
        await keyRecords.reseal();
        await resealSecrets(signal);
      },
    }),
    {
      name: 'audit retention',
      intervalMs: refreshMs,
      run: (signal) => audit.removeOldRecords(now(), signal),
    },
  ];
  // While the registry is being worked on nothing comes and goes by itself.
  if (!config.maintenance.readOnly) {
    jobs.push({ name: 'cache retention', intervalMs: retentionMs, run: (signal) => cache.retention.run(signal) });
  }
  if (config.imports.automatic && !config.maintenance.readOnly) {
    jobs.push({ name: 'imports', intervalMs: importsMs, run: (signal) => imports.job.run(signal) });
  }
  if (config.auth.htpasswd !== undefined) {
    const file = new HtpasswdFile(config.auth.htpasswd, users);
    const refreshUsers = async () => {
      for (const { line, reason } of (await file.refresh()) ?? []) {
        log.warn({ file: config.auth.htpasswd, line, reason }, 'a line of the htpasswd file was not taken');
      }
    };
    await refreshUsers();
    jobs.push({ name: 'htpasswd', intervalMs: htpasswdMs * 0.8, run: refreshUsers });
  }

  return {
    koa,
    routers,
    resources,
    keys: keyRecords,
    collection,
    jobs,
    close: async () => {
      await removal.stop();
      await cache.recorder.flush();
      await relay.close();
      await upstreams.close();
      await audit.close();
    },
  };
}
