import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { AccessPolicy } from '../../src/auth/policy.js';
import { decodeObject } from '../../src/kube/decode.js';
import type { JsonObject, JsonValue } from '../../src/kube/json.js';
import { KyselyImagePulls } from '../../src/metadata/kysely-image-pulls.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyStreamStore } from '../../src/metadata/kysely-stream-store.js';
import type { ApiObject, ObjectStore } from '../../src/metadata/object-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import type { Digest } from '../../src/oci/digest.js';
import { parseReference, parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { CacheFiller, type CacheLimits } from '../../src/pullthrough/cache-filler.js';
import { CachedManifests } from '../../src/pullthrough/cached-manifests.js';
import { PullRecorder } from '../../src/pullthrough/pull-recorder.js';
import {
  UpstreamCaches,
  upstreamCacheResource,
  type UpstreamCachesOptions,
} from '../../src/pullthrough/upstream-caches.js';
import { TagPolicies, tagPolicyResource } from '../../src/streams/tag-policies.js';
import { apiCall, master } from '../support/api-call.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { FakeUpstream } from './fake-upstream.js';

/** Nothing stands against any registry, and nobody said what this one is called. */
export const openCaches: UpstreamCachesOptions = { refuse: () => undefined, ownHost: undefined };

/** As a client sends it: decoded by the kind's schema, then stored. */
export async function createCache(
  store: ObjectStore,
  spec: JsonValue,
  {
    name = 'upstream',
    namespace = 'hub',
    options = openCaches,
  }: { readonly name?: string; readonly namespace?: string; readonly options?: UpstreamCachesOptions } = {},
): Promise<ApiObject> {
  const resource = upstreamCacheResource(store, options);
  const body: JsonObject = { apiVersion: 'weir.dev/v1', kind: 'UpstreamCache', metadata: { name }, spec };
  const object = decodeObject(body, resource, { fieldValidation: 'Strict', warn: () => undefined });
  const call = apiCall({ principal: master, namespace, policy: new AccessPolicy(store) });
  return (await resource.storage.create!(call, object, { dryRun: false })) as ApiObject;
}

export const alpine = parseRepositoryName('hub/library/alpine');
export const hubAlpine = 'docker.io/library/alpine';

/** What a cache has in the other registry and here, with a clock that stands still. */
export class CacheSetup {
  now = new Date('2026-01-01T00:00:00Z');
  readonly upstream = new FakeUpstream();
  readonly errors: unknown[] = [];
  /** Changed by tests of what a project limits. */
  limits: CacheLimits = { refuseSize: () => undefined };
  repositoryRefusal: string | undefined;

  private constructor(
    readonly objects: KyselyObjectStore,
    readonly repositories: KyselyRepositoryStore,
    readonly streams: KyselyStreamStore,
    readonly pulls: KyselyImagePulls,
    readonly caches: UpstreamCaches,
    readonly policies: TagPolicies,
  ) {}

  /** In an empty database with the projects `hub` and `team`; it goes with the test. */
  static async open(options: UpstreamCachesOptions = openCaches): Promise<CacheSetup> {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    await addProjects(db, ['hub', 'team']);
    const objects = new KyselyObjectStore(db);
    const clock: { of?: CacheSetup } = {};
    const now = () => clock.of!.now;
    clock.of = new CacheSetup(
      objects,
      new KyselyRepositoryStore(db, now),
      new KyselyStreamStore(db, now),
      new KyselyImagePulls(db),
      new UpstreamCaches(objects, options),
      new TagPolicies(objects),
    );
    return clock.of;
  }

  readonly recorder = { note: (_repository: RepositoryName, _image: Digest): void => undefined };

  /** A process of its own: what it remembers is nobody else's. */
  service({
    patienceMs,
    recorder = this.recorder,
  }: { readonly patienceMs?: number; readonly recorder?: Pick<PullRecorder, 'note'> } = {}): CachedManifests {
    const filler = new CacheFiller({
      upstream: this.upstream,
      accessOf: (project, isInsecure) =>
        Promise.resolve({
          credentials: () => ({ username: 'u', password: 'p', origin: `secret ${project}/pull` }),
          isInsecure,
        }),
      repositories: this.repositories,
      streams: this.streams,
      findRules: this.policies.find,
      findLimits: () => Promise.resolve(this.limits),
      refuseRepository: () => Promise.resolve(this.repositoryRefusal),
    });
    return new CachedManifests({
      caches: this.caches,
      filler,
      repositories: this.repositories,
      pulls: recorder,
      onError: (error) => this.errors.push(error),
      now: () => this.now,
      ...(patienceMs !== undefined && { patienceMs }),
    });
  }

  after(seconds: number): void {
    this.now = new Date(this.now.getTime() + seconds * 1000);
  }

  /** As a pull does: asked for, then looked up. */
  async pull(
    service: CachedManifests,
    reference: string,
    repository: RepositoryName = alpine,
  ): Promise<{ readonly digest: string | undefined; readonly warning: string | undefined }> {
    const parsed = parseReference(reference);
    const prepared = await service.prepare(repository, parsed);
    const found = await this.repositories.readManifest(repository, parsed);
    if (found !== undefined) prepared?.served(found.digest);
    return { digest: found?.digest, warning: prepared?.warning };
  }

  async protect(tags: readonly string[]): Promise<void> {
    const resource = tagPolicyResource(this.objects);
    const call = apiCall({ principal: master, namespace: 'hub' });
    const spec = { protect: [{ tags: [...tags] }] };
    const body: JsonObject = { apiVersion: 'weir.dev/v1', kind: 'TagPolicy', metadata: { name: 'kept' }, spec };
    const object = decodeObject(body, resource, { fieldValidation: 'Strict', warn: () => undefined });
    await resource.storage.create!(call, object, { dryRun: false });
  }

  /** Events of a tag, newest first. */
  events(tag: string, repository: RepositoryName = alpine) {
    return this.repositories.listTagEvents(repository, parseTag(tag), 100);
  }
}
