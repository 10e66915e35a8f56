import type { ObjectKey, ObjectStore, ObjectWrite } from '../metadata/object-store.js';
import { newServiceAccount, serviceAccountKey, type ServiceAccountSecrets } from './service-account-secrets.js';

/**
 * The roles and bindings a project begins with.
 *
 * @param admin name of the user who becomes its administrator
 */
export type ProjectDefaults = (namespace: string, admin?: string) => readonly ObjectWrite[];

/** The service accounts of every project (OpenShift, "Default service accounts and roles"). */
const serviceAccounts = ['builder', 'default', 'deployer'] as const;

/** What is in a project from the start. */
export class ProjectContents {
  readonly #defaults: ProjectDefaults;
  readonly #secrets: ServiceAccountSecrets;

  constructor(defaults: ProjectDefaults, secrets: ServiceAccountSecrets) {
    this.#defaults = defaults;
    this.#secrets = secrets;
  }

  /** To be written in the commit that makes the namespace. */
  async writes(
    namespace: string,
    { admin, now }: { readonly admin?: string | undefined; readonly now: Date },
  ): Promise<readonly ObjectWrite[]> {
    const writes = [...this.#defaults(namespace, admin)];
    for (const name of serviceAccounts) {
      writes.push(...(await this.#secrets.accountWrites(newServiceAccount(namespace, name, now))));
    }
    return writes;
  }

  /** Whether a namespace has nothing of all that: it is older than these contents. */
  async isMissing(store: ObjectStore, namespace: string): Promise<boolean> {
    const keys = [
      ...this.#defaults(namespace).map(keyOf),
      ...serviceAccounts.map((name) => serviceAccountKey(namespace, name)),
    ];
    return !(await isAnyThere(store, keys));
  }
}

/** Whether at least one of some objects exists. */
export async function isAnyThere(store: ObjectStore, keys: readonly ObjectKey[]): Promise<boolean> {
  for (const key of keys) if ((await store.find(key)) !== undefined) return true;
  return false;
}

/** Of what a write is about. */
export function keyOf(write: ObjectWrite): ObjectKey {
  if (write.kind === 'remove') return { resource: write.resource, namespace: write.namespace, name: write.name };
  const { name, namespace = '' } = write.object.metadata;
  return { resource: write.resource, namespace, name };
}
