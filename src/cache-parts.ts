import type { Logger } from 'pino';
import type { Config } from './config.js';
import type { ProjectAccess } from './imports/project-access.js';
import type { ImagePulls } from './metadata/image-pulls.js';
import type { RepositoryStore } from './metadata/repository-store.js';
import type { StreamStore } from './metadata/stream-store.js';
import { parsePullSpec } from './oci/pull-spec.js';
import { CacheFiller } from './pullthrough/cache-filler.js';
import { CacheRetention } from './pullthrough/cache-retention.js';
import { CachedManifests } from './pullthrough/cached-manifests.js';
import { PullRecorder } from './pullthrough/pull-recorder.js';
import type { FindRequestLimit } from './pullthrough/upstreams.js';
import type { UpstreamCaches, UpstreamCachesOptions } from './pullthrough/upstream-caches.js';
import { registryRefusal, type AllowedRegistries } from './streams/allowed-registries.js';
import { pushLimitsOf, type StreamLimits } from './streams/stream-limits.js';
import type { TagPolicies } from './streams/tag-policies.js';
import { UpstreamSettings, type UpstreamRegistry } from './upstream/upstream-settings.js';
import type { Upstream } from './upstream/upstream.js';

const defaultWindowSeconds = 21_600;

/** What the projects do that are caches of other registries. */
export interface CacheParts {
  readonly manifests: CachedManifests;
  readonly recorder: PullRecorder;
  readonly retention: CacheRetention;
}

/** What stands against a registry that a project is to be a cache of. */
export function cachesOptions(allowed: AllowedRegistries, ownHost: string | undefined): UpstreamCachesOptions {
  return {
    ownHost,
    refuse: ({ registry, path }, admission) =>
      registryRefusal(allowed, parsePullSpec(`${registry}/${path === '' ? '' : `${path}/`}any`), admission),
  };
}

/** The administrator's budget of a registry. */
export function requestLimits(registries: readonly UpstreamRegistry[]): FindRequestLimit {
  const settings = new UpstreamSettings(registries);
  return (registry) => {
    const place = { registry, path: '' };
    const requests = settings.get(place, 'requests');
    const windowSeconds = settings.get(place, 'windowSeconds') ?? defaultWindowSeconds;
    return requests === undefined ? undefined : { requests, windowMs: windowSeconds * 1000 };
  };
}

/** Puts together what fills caches and clears them. */
export function makeCacheParts({
  config,
  now,
  caches,
  upstream,
  access,
  repositories,
  streams,
  pulls,
  tagPolicies,
  streamLimits,
  refuseRepository,
  log,
}: {
  readonly config: Config;
  readonly now: () => Date;
  readonly caches: UpstreamCaches;
  readonly upstream: Upstream;
  readonly access: ProjectAccess;
  readonly repositories: RepositoryStore;
  readonly streams: StreamStore;
  readonly pulls: ImagePulls;
  readonly tagPolicies: TagPolicies;
  readonly streamLimits: StreamLimits;
  readonly refuseRepository: (project: string) => Promise<string | undefined>;
  readonly log: Logger;
}): CacheParts {
  const findRules = tagPolicies.find;
  const filler = new CacheFiller({
    upstream,
    accessOf: (project, isInsecure) => access.of(project, isInsecure),
    repositories,
    streams,
    findRules,
    findLimits: (project) => pushLimitsOf(streamLimits, project),
    refuseRepository,
  });
  const recorder = new PullRecorder(pulls, now);
  const manifests = new CachedManifests({
    caches,
    filler,
    repositories,
    pulls: recorder,
    now,
    onError: (error) => {
      log.error({ err: error }, 'a cache could not be filled');
    },
  });
  const graceMs = config.collection.graceSeconds * 1000;
  return {
    manifests,
    recorder,
    retention: new CacheRetention({
      caches,
      recorder,
      pulls,
      repositories,
      findRules,
      graceMs,
      now,
    }),
  };
}
