import { z } from 'zod';
import { RememberedAnswers } from '../auth/remembered-answers.js';
import { forbidden, invalid, qualifiedName } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';
import { allVerbs, type Call, type Column, type Resource } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import { parseDuration } from '../oci/duration.js';
import { projectOf, type RepositoryName } from '../oci/repository-name.js';
import { isWildcardMatch } from '../oci/wildcards.js';
import { canonicalRegistry, canonicalRepository, isPathPrefix } from '../upstream/upstream-settings.js';
import type { UpstreamRepository } from '../upstream/upstream.js';
import { upstreamCacheCauses, upstreamCacheSpecSchema, type UpstreamCacheSpec } from './upstream-cache-spec.js';

const names = { group: 'weir.dev', plural: 'upstreamcaches', kind: 'UpstreamCache', isNamespaced: true } as const;
const upstreamCachesResource = qualifiedName(names);

const defaultFreshSeconds = 300;
const defaultMissingSeconds = 60;

/** weir.dev UpstreamCache. */
interface UpstreamCacheObject extends ApiObject {
  readonly spec: UpstreamCacheSpec;
}

/** Why images may not come from a registry; undefined when they may. */
export type RefuseUpstream = (
  place: UpstreamRepository,
  options: { readonly isInsecure: boolean },
) => string | undefined;

/** What stands against a registry. */
export interface UpstreamCachesOptions {
  readonly refuse: RefuseUpstream;
  /** Under which Weir itself is called, as in `weir.example:5000`; undefined when nobody said. */
  readonly ownHost: string | undefined;
}

/** A project whose repositories are those of another registry. */
export interface UpstreamCache {
  readonly project: string;
  /** In its one spelling: `docker.io` for Docker Hub. */
  readonly registry: string;
  /** What the names of its repositories begin with; empty for nothing. */
  readonly path: string;
  readonly freshMs: number;
  readonly missingMs: number;
  /** Undefined: for ever. */
  readonly keepUnpulledMs: number | undefined;
  readonly isInsecure: boolean;
  readonly takesTag: (tag: string) => boolean;
  /** Whether it is found by clients that look for the other registry here. */
  readonly isMirror: boolean;
  /** Why nothing may come from there any more; undefined when it may. */
  readonly refusal: string | undefined;
}

/** Where a repository of a cache project is from. */
export function sourceOf({ registry, path }: UpstreamCache, repository: RepositoryName): UpstreamRepository {
  const below = repository.slice(projectOf(repository).length + 1);
  return canonicalRepository({ registry, path: path === '' ? below : `${path}/${below}` });
}

function column(name: string, description: string, cell: (spec: UpstreamCacheSpec) => string): Column {
  return { name, type: 'string', description, cell: (object) => cell((object as UpstreamCacheObject).spec) };
}

/** The resource of caches: an object makes its project one through which another registry is pulled. */
export function upstreamCacheResource(store: ObjectStore, { refuse, ownHost }: UpstreamCachesOptions): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'upstreamcache',
    shortNames: ['ucache'],
    verbs: allVerbs,
    description:
      'UpstreamCache makes a project a cache of another registry: what is pulled from it comes from there and is kept, and nothing is pushed to it. A project has at most one.',
    schema: z.object({ spec: upstreamCacheSpecSchema }),
    columns: [
      column('Upstream', 'The registry, and what the names of its repositories begin with.', ({ registry, path }) =>
        [registry, path ?? ''].filter((part) => part !== '').join('/'),
      ),
      column(
        'Fresh',
        'How long a tag is served before the registry is asked again.',
        ({ freshSeconds }) => `${freshSeconds ?? defaultFreshSeconds}s`,
      ),
      column('Keeps', 'How long an image stays that nobody pulls.', ({ keepUnpulled }) => keepUnpulled ?? ''),
      ageColumn,
    ],
    storage: new StoredResource(store, names, {
      validate: (object) => upstreamCacheCauses((object as UpstreamCacheObject).spec),
      mayWrite: async (call, object, old) => {
        const { metadata, spec } = object as UpstreamCacheObject;
        await requireMirrorRight(call, metadata.name, spec);
        const why = isOwn(spec.registry, ownHost, call)
          ? 'is this registry itself, which needs no cache'
          : refuse(placeOf(spec), { isInsecure: spec.insecure === true });
        if (why !== undefined) {
          throw invalid(names, metadata.name, [invalidValue('spec.registry', spec.registry, why)]);
        }
        if (old !== undefined) return;
        const { objects } = await store.list({
          resource: upstreamCachesResource,
          namespace: call.namespace,
          limit: 1,
        });
        const [first] = objects;
        if (first === undefined) return;
        throw forbidden(
          names,
          metadata.name,
          `the project is a cache already, by ${JSON.stringify(first.metadata.name)}; change or delete that`,
        );
      },
    }),
  };
}

/**
 * Of a mirror clients want the images of the other registry, and never heard of the project: what people tag in it they would
 * take for those. So whoever may write in one project only may not say that it is one.
 *
 * @throws {StatusError} Forbidden
 */
async function requireMirrorRight(call: Call, name: string, { mirror }: UpstreamCacheSpec): Promise<void> {
  if (mirror !== true) return;
  const { group, plural: resource } = names;
  if (await call.may({ verb: 'update', group, resource, namespace: '' })) return;
  throw forbidden(names, name, 'spec.mirror: takes the right to write caches in all projects');
}

function placeOf({ registry, path = '' }: UpstreamCacheSpec): UpstreamRepository {
  return { registry: canonicalRegistry(registry), path };
}

/** A cache of itself would ask itself for ever. */
function isOwn(registry: string, ownHost: string | undefined, { origin }: Pick<Call, 'origin'>): boolean {
  return [ownHost ?? '', new URL(origin).host].map(canonicalRegistry).includes(canonicalRegistry(registry));
}

/** All caches there are, ready to be asked. */
interface CacheIndex {
  readonly ofProjects: ReadonlyMap<string, UpstreamCache>;
  /** Those that are mirrors, in the order in which they are preferred. */
  readonly ofRegistries: ReadonlyMap<string, readonly UpstreamCache[]>;
}

/**
 * The cache projects. Everything is read through the version of the last change of any of them, so a change counts from
 * the moment it is committed, by whichever process.
 */
export class UpstreamCaches {
  readonly #store: Pick<ObjectStore, 'list'>;
  readonly #options: UpstreamCachesOptions;
  readonly #index: RememberedAnswers<CacheIndex>;

  constructor(store: Pick<ObjectStore, 'list' | 'lastChangeOf'>, options: UpstreamCachesOptions) {
    this.#store = store;
    this.#options = options;
    this.#index = new RememberedAnswers(() => store.lastChangeOf([upstreamCachesResource]));
  }

  /** Undefined when the project is none; asked with every pull. */
  async of(project: string): Promise<UpstreamCache | undefined> {
    return (await this.#read()).ofProjects.get(project);
  }

  /** All of them, in the order of their projects. */
  async list(): Promise<readonly UpstreamCache[]> {
    return [...(await this.#read()).ofProjects.values()];
  }

  /**
   * Where a repository of another registry is found here: of several mirrors in the one with the longest path, and of
   * those in the first by name.
   *
   * @param registry as a client calls it
   * @param path of the repository there
   * @returns the name of the repository here, not yet checked; undefined when no project is a mirror of it
   */
  async findRepository(registry: string, path: string): Promise<string | undefined> {
    const caches = (await this.#read()).ofRegistries.get(canonicalRegistry(registry));
    const cache = caches?.find((each) => path !== each.path && isPathPrefix(each.path, path));
    if (cache === undefined) return undefined;
    return `${cache.project}/${cache.path === '' ? path : path.slice(cache.path.length + 1)}`;
  }

  #read(): Promise<CacheIndex> {
    return this.#index.get('', async () => {
      const ofProjects = new Map<string, UpstreamCache>();
      for await (const object of allObjects(this.#store, { resource: upstreamCachesResource })) {
        const cache = this.#toCache(object as UpstreamCacheObject);
        // Two that were created at the same moment: the first by name counts.
        if (!ofProjects.has(cache.project)) ofProjects.set(cache.project, cache);
      }
      const ofRegistries = new Map<string, readonly UpstreamCache[]>();
      const mirrors = [...ofProjects.values()].filter(({ isMirror }) => isMirror);
      for (const cache of mirrors.sort((a, b) => b.path.length - a.path.length)) {
        ofRegistries.set(cache.registry, [...(ofRegistries.get(cache.registry) ?? []), cache]);
      }
      return { ofProjects, ofRegistries };
    });
  }

  #toCache({ metadata, spec }: UpstreamCacheObject): UpstreamCache {
    const place = placeOf(spec);
    const isInsecure = spec.insecure === true;
    const { freshSeconds = defaultFreshSeconds, missingSeconds = defaultMissingSeconds, keepUnpulled, tags } = spec;
    return {
      ...place,
      project: metadata.namespace ?? '',
      freshMs: freshSeconds * 1000,
      missingMs: missingSeconds * 1000,
      keepUnpulledMs: keepUnpulled === undefined ? undefined : parseDuration(keepUnpulled),
      isInsecure,
      isMirror: spec.mirror === true,
      takesTag: tags === undefined ? () => true : (tag) => isTaken(tags, tag),
      // The administrator may have changed their mind after it was made.
      refusal: this.#options.refuse(place, { isInsecure }),
    };
  }
}

function isTaken(patterns: readonly string[], tag: string): boolean {
  const isAny = (some: readonly string[]) => some.some((pattern) => isWildcardMatch(pattern, tag));
  return (
    isAny(patterns.filter((pattern) => !pattern.startsWith('!'))) &&
    !isAny(patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1)))
  );
}
