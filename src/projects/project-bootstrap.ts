import { allObjects, namespacesResource, type ObjectStore, type ObjectWrite } from '../metadata/object-store.js';
import { bareLookup, namespaceKey, namespaceTraits } from './namespace-object.js';
import { isAnyThere, keyOf, type ProjectContents } from './project-contents.js';
import { createProject } from './project-service.js';

/** What is there from the first start on. */
export interface BootstrapOptions {
  readonly store: ObjectStore;
  readonly contents: ProjectContents;
  /** Where images without a project are. */
  readonly defaultProject: string;
  /** What lets everybody read what is shared in the project `openshift`. */
  readonly openshiftDefaults: () => readonly ObjectWrite[];
  readonly now?: () => Date;
}

const sharedProject = 'openshift';

/**
 * Makes the projects that must be there, and gives the usual contents to every project that an earlier version made without
 * them. What somebody took out of a project stays out. To be called at every start.
 */
export async function ensureProjects({
  store,
  contents,
  defaultProject,
  openshiftDefaults,
  now = () => new Date(),
}: BootstrapOptions): Promise<void> {
  for (const name of new Set([defaultProject, sharedProject])) {
    const more = name === sharedProject ? openshiftDefaults() : [];
    const isThere = (await store.find(namespaceKey(name))) !== undefined;
    if (!isThere && (await createProject(store, contents, name, { more, now: now() })) === 'created') continue;
    if (!(await isAnyThere(store, more.map(keyOf)))) await addContents(store, more);
  }
  for await (const namespace of allObjects(store, { resource: namespacesResource, lookup: bareLookup })) {
    const { name, deletionTimestamp } = namespace.metadata;
    if (deletionTimestamp === undefined && (await contents.isMissing(store, name))) {
      await addContents(store, await contents.writes(name, { now: now() }));
    }
    // Refused when another process has done the same, or somebody has changed it: then the next start looks again.
    const traits = namespaceTraits(namespace);
    await store.commit([{ kind: 'replace', resource: namespacesResource, object: namespace, ...traits }]);
  }
}

async function addContents(store: ObjectStore, writes: readonly ObjectWrite[]): Promise<void> {
  if (writes.length === 0) return;
  const result = await store.commit(writes);
  // Another process starts at the same time, or somebody deletes the project: it has what it should have.
  if (result.kind === 'committed' || ['exists', 'namespace-absent', 'namespace-terminating'].includes(result.reason)) {
    return;
  }
  throw new Error(`default objects could not be made: ${result.reason} at write ${result.index}`);
}
