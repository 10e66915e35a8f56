import { policyResources } from '../auth/policy.js';
import { allObjects, namespacesResource, type ObjectStore } from '../metadata/object-store.js';
import type { RepositoryStore } from '../metadata/repository-store.js';
import { namespaceKey, terminatingLookup } from './namespace-object.js';

/** Rows, or objects, that go in one transaction: others wait no longer than that. */
const atOnce = 100;
/** Role bindings that go together with their namespace. */
const bindingsAtOnce = 200;
/** Something came in between so many times: the next run goes on. */
const maxRefusals = 5;

/**
 * Removes what is in projects that were deleted, and at the end the projects. Every step is small and leaves nothing
 * that another run, after a crash or in another process, could not go on from.
 *
 * Role bindings go last and together with the namespace, so that its members see it going until it is gone.
 */
export class ProjectRemoval {
  readonly #objects: ObjectStore;
  readonly #repositories: Pick<RepositoryStore, 'removeRepositories'>;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #again = false;

  constructor(objects: ObjectStore, repositories: Pick<RepositoryStore, 'removeRepositories'>) {
    this.#objects = objects;
    this.#repositories = repositories;
  }

  /** Begins at once and waits for nothing; what fails is left to the next run. */
  start(): void {
    this.#again = true;
    this.#running ??= this.#runWhileAsked().finally(() => {
      this.#running = undefined;
    });
  }

  /** Starts nothing more and waits for what was started. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Removes all projects that are going away. @param signal ends the run between two steps */
  async run(signal: AbortSignal): Promise<void> {
    const query = { resource: namespacesResource, lookup: terminatingLookup };
    for await (const { metadata } of allObjects(this.#objects, query)) {
      if (signal.aborted) return;
      await this.#remove(metadata.name, signal);
    }
  }

  async #runWhileAsked(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#again && !signal.aborted) {
      this.#again = false;
      try {
        await this.run(signal);
      } catch {
        // The job runs into the same and tells of it.
        return;
      }
    }
  }

  async #remove(project: string, signal: AbortSignal): Promise<void> {
    const except = [policyResources.roleBindings];
    for (let refusals = 0; refusals < maxRefusals && !signal.aborted;) {
      if ((await this.#repositories.removeRepositories(project, atOnce)) > 0) continue;
      if ((await this.#objects.removeInNamespace(project, { limit: atOnce, except })) > 0) continue;
      if (await this.#removeNamespace(project)) return;
      refusals += 1;
    }
  }

  /** @returns false when something is left in it */
  async #removeNamespace(project: string): Promise<boolean> {
    const namespace = await this.#objects.find(namespaceKey(project));
    // Another process was faster, and somebody may have made a new one since.
    if (namespace?.metadata.deletionTimestamp === undefined) return true;
    const resource = policyResources.roleBindings;
    const bindings = await this.#objects.list({ resource, namespace: project, limit: bindingsAtOnce });
    if (!bindings.isLast) {
      while ((await this.#objects.removeInNamespace(project, { limit: atOnce })) > 0);
      return false;
    }
    const result = await this.#objects.commit([
      ...bindings.objects.map(
        ({ metadata }) => ({ kind: 'remove', resource, namespace: project, name: metadata.name }) as const,
      ),
      { kind: 'remove', ...namespaceKey(project), uid: namespace.metadata.uid },
    ]);
    return result.kind === 'committed';
  }
}
