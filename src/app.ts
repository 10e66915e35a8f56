import Router from '@koa/router';
import Koa from 'koa';
import type { Logger } from 'pino';
import { join } from 'node:path';
import { Authenticator } from './auth/authenticate.js';
import { PasswordChecker } from './auth/passwords.js';
import { RegistryAccess } from './auth/registry-access.js';
import { tokenRoutes } from './auth/routes.js';
import { SigningKeys } from './auth/signing-keys.js';
import { RegistryTokens } from './auth/tokens.js';
import type { BlobStore } from './blobstore/blob-store.js';
import type { Config } from './config.js';
import { BlobService } from './distribution/blobs.js';
import { CatalogService } from './distribution/catalog.js';
import { ociErrors } from './distribution/error-middleware.js';
import { GarbageCollection } from './distribution/garbage-collection.js';
import { ManifestService } from './distribution/manifests.js';
import { ReferrerService } from './distribution/referrers.js';
import { distributionRoutes, plainPaths, unsupported } from './distribution/routes.js';
import { TagService } from './distribution/tags.js';
import { UploadService } from './distribution/uploads.js';
import { KyselyBlobRecords } from './metadata/kysely-blob-records.js';
import { KyselyRepositoryStore } from './metadata/kysely-repository-store.js';
import { KyselyUploadRecords } from './metadata/kysely-upload-records.js';
import { KyselyUserRecords } from './metadata/kysely-user-records.js';
import type { Database } from './metadata/schema.js';
import { parseRepositoryName } from './oci/repository-name.js';
import { requireHost } from './malformed-requests.js';
import type { Metrics } from './metrics.js';
import { operationsRoutes } from './operations-routes.js';
import { requestLog } from './request-log.js';

/** What the application stands on. */
export interface AppOptions {
  readonly config: Config;
  readonly db: Database;
  readonly store: BlobStore;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** True while the process is going away and should get no new work. */
  readonly isDraining: () => boolean;
}

/** The application, to be put behind a listener. */
export interface App {
  readonly koa: Koa;
  /** Every route, for tests that walk them. */
  readonly routers: readonly Router[];
  readonly collection: GarbageCollection;
  /** Work that is done now and then, beside requests. */
  readonly refresh: () => Promise<void>;
}

/** Makes the adapters, hands them to the services, and mounts the routes. */
export async function createApp({ config, db, store, log, metrics, isDraining }: AppOptions): Promise<App> {
  const repositories = new KyselyRepositoryStore(db);
  const blobRecords = new KyselyBlobRecords(db);
  const uploadRecords = new KyselyUploadRecords(db);
  const users = new KyselyUserRecords(db);

  const keys = await SigningKeys.open(join(config.dataDir, 'keys'));
  const tokens = new RegistryTokens(keys, config.tokens.lifetimeSeconds);
  const passwords = new PasswordChecker(users);
  const authenticator = new Authenticator(passwords, tokens);
  const access = new RegistryAccess(authenticator, config.publicUrl);

  const parseName = (text: string) => parseRepositoryName(text, config.defaultProject);

  const graceMs = config.collection.graceSeconds * 1000;
  const expireMs = config.uploads.expireSeconds * 1000;
  const uploads = new UploadService({ store, uploads: uploadRecords, blobs: blobRecords, graceMs, expireMs });

  const distribution = distributionRoutes(
    { access, parseName },
    {
      blobs: new BlobService(store, blobRecords, graceMs),
      uploads,
      manifests: new ManifestService(repositories, config.policy.sparse, graceMs),
      tags: new TagService(repositories),
      referrers: new ReferrerService(repositories),
      catalog: new CatalogService(repositories),
    },
  );
  const auth = new Router({ sensitive: true });
  tokenRoutes(auth, {
    authenticator,
    passwords,
    users,
    tokens,
    keys,
    parseName,
    refreshLifetimeSeconds: config.tokens.refreshLifetimeSeconds,
  });
  const operations = new Router({ sensitive: true });
  operationsRoutes(operations, { access, db, store, metrics, isDraining });

  const koa = new Koa();
  koa.use(requestLog(log, metrics));
  koa.use(ociErrors);
  koa.use(requireHost);
  koa.use(plainPaths);
  const routers = [operations, auth, distribution];
  for (const router of routers) koa.use(router.routes());
  koa.use(unsupported(distribution));
  koa.on('error', (error: unknown, ctx?: Koa.Context) => {
    // A client that went away is no error of ours; the request log says so.
    if (ctx?.res.destroyed === true) return;
    log.error({ err: error, id: ctx?.state['requestId'] as string | undefined }, 'unexpected error');
  });

  return {
    koa,
    routers,
    collection: new GarbageCollection(store, blobRecords, uploads),
    refresh: async () => {
      await users.removeExpiredRefreshTokens(new Date());
      metrics.blobs.set(await blobRecords.countBlobs());
      metrics.uploadsOpen.set(await uploadRecords.countUploads());
    },
  };
}
