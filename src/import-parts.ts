import { readFile } from 'node:fs/promises';
import { imageGroup } from './auth/authorize.js';
import type { AccessPolicy } from './auth/policy.js';
import { groupsOfServiceAccount, serviceAccountName } from './auth/subjects.js';
import type { Config } from './config.js';
import { projectOf, streamNameOf } from './oci/repository-name.js';
import { ImageReader } from './imports/image-reader.js';
import { imageStreamImportResource } from './imports/image-stream-imports.js';
import { ImportJob } from './imports/import-job.js';
import { ImportSchedule } from './imports/import-schedule.js';
import { ProjectAccess } from './imports/project-access.js';
import { TagImporter } from './imports/tag-importer.js';
import type { Resource } from './kube/resource.js';
import type { ImageStore } from './metadata/image-store.js';
import type { ImportRecords } from './metadata/import-records.js';
import type { ObjectStore } from './metadata/object-store.js';
import type { StreamStore } from './metadata/stream-store.js';
import type { UpstreamBudgets } from './metadata/upstream-budgets.js';
import { boundedLabel, type Metrics } from './metrics.js';
import type { AllowedRegistries } from './streams/allowed-registries.js';
import type { StreamService } from './streams/stream-service.js';
import type { PullSecrets } from './streams/stream-subresources.js';
import { guardedFetch } from './upstream/guarded-fetch.js';
import { RegistryClient } from './upstream/registry-client.js';
import { splitPlace, type UpstreamRegistry } from './upstream/upstream-settings.js';
import type { Upstream } from './upstream/upstream.js';

/** Other registries, and what is known of them. */
export interface UpstreamParts {
  readonly upstream: Upstream;
  readonly registries: readonly UpstreamRegistry[];
  readonly importRecords: ImportRecords;
  /** Reaches no address that only this machine can, but for those that are allowed. */
  readonly fetch: typeof fetch;
  /** As metrics call a registry, of which people may name any number. */
  readonly labelOf: (registry: string) => string;
  readonly close: () => Promise<void>;
}

/** What brings images of other registries into streams. */
export interface ImportParts {
  readonly resource: Resource;
  readonly access: ProjectAccess;
  readonly job: ImportJob;
}

/** Opens the client for other registries. @throws when a file that the configuration names cannot be read */
export async function openUpstreams(
  { upstreams }: Config,
  {
    version,
    budgets,
    importRecords,
    now,
  }: {
    readonly version: string;
    readonly budgets: UpstreamBudgets;
    readonly importRecords: ImportRecords;
    readonly now: () => Date;
  },
): Promise<UpstreamParts> {
  const registries = await Promise.all(upstreams.registries.map(readRegistry));
  const connection = {
    allowPrivate: upstreams.allowPrivate,
    timeoutMs: upstreams.timeoutSeconds * 1000,
    environment: {
      http_proxy: upstreams.httpProxy,
      https_proxy: upstreams.httpsProxy,
      no_proxy: upstreams.noProxy,
    },
  };
  const client = new RegistryClient({ ...connection, registries, budgets, userAgent: `weir/${version}`, now });
  return {
    upstream: client,
    registries,
    importRecords,
    fetch: guardedFetch(connection),
    labelOf: boundedLabel(['docker.io', ...registries.map(({ registry }) => splitPlace(registry).registry)]),
    close: () => client.close(),
  };
}

/** With what its files hold. */
async function readRegistry({
  passwordFile,
  caFile,
  ...settings
}: Config['upstreams']['registries'][number]): Promise<UpstreamRegistry> {
  return {
    ...settings,
    ...(passwordFile !== undefined && { password: (await readFile(passwordFile, 'utf8')).trim() }),
    ...(caFile !== undefined && { ca: await readFile(caFile, 'utf8') }),
  };
}

/** Puts together what imports images, for those who ask and for the job. */
export function makeImportParts({
  config,
  now,
  objects,
  streams,
  images,
  service,
  secrets,
  allowedRegistries,
  ownHosts,
  upstreams: { upstream, registries, importRecords, labelOf },
  metrics,
  policy,
}: {
  readonly config: Config;
  readonly now: () => Date;
  readonly objects: ObjectStore;
  readonly policy: AccessPolicy;
  readonly streams: StreamStore;
  readonly images: ImageStore;
  readonly service: StreamService;
  readonly secrets: PullSecrets;
  readonly allowedRegistries: AllowedRegistries;
  readonly ownHosts: readonly string[];
  readonly upstreams: UpstreamParts;
  readonly metrics: Metrics;
}): ImportParts {
  const { intervalSeconds, minIntervalSeconds, maxTagsPerRepository } = config.imports;
  const access = new ProjectAccess(objects, secrets, registries);
  const schedule = new ImportSchedule(objects, {
    intervalMs: intervalSeconds * 1000,
    minIntervalMs: minIntervalSeconds * 1000,
  });
  const reader = new ImageReader({ upstream, access, streams });
  const maxTags = maxTagsPerRepository === -1 ? Infinity : maxTagsPerRepository;
  const importer = new TagImporter({
    store: streams,
    service,
    reader,
    upstream,
    access,
    schedule,
    ownHosts,
    maxTags,
    now,
    // As the images of a project are pulled when nobody says who pulls.
    mayFollow: (project, own) =>
      policy.allows(
        { name: serviceAccountName(project, 'default'), groups: groupsOfServiceAccount(project) },
        {
          kind: 'resource',
          verb: 'get',
          group: imageGroup,
          resource: 'imagestreams/layers',
          namespace: projectOf(own),
          name: streamNameOf(own),
        },
      ),
  });
  return {
    resource: imageStreamImportResource({
      store: streams,
      images,
      service,
      reader,
      schedule,
      allowedRegistries,
      maxTags,
      publicUrl: config.publicUrl,
      maxItems: config.history.shownEvents,
    }),
    access,
    job: new ImportJob({
      records: importRecords,
      importer,
      now,
      onLook: ({ registry, isScheduled, result, reason }) => {
        metrics.imports.inc({
          registry: labelOf(registry),
          scheduled: String(isScheduled),
          result,
          reason: reason ?? '',
        });
      },
    }),
  };
}
