/** metav1.ObjectMeta, as far as objects here have it. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  /** Opaque to clients: to be compared for equality only. */
  readonly resourceVersion?: string;
  readonly generation?: number;
  /** RFC 3339, to the second. */
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly unknown[];
}

/** An API object; beside its metadata it has the fields of its kind. */
export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

/** Where an object is. */
export interface ObjectKey {
  /** Plural and group, as in `roles.rbac.authorization.k8s.io`; the plural alone in the core group. */
  readonly resource: string;
  /** Empty for what is in no namespace. */
  readonly namespace: string;
  readonly name: string;
}

/** The resource whose objects are namespaces: nothing is created in one that is not there or is going away. */
export const namespacesResource = 'namespaces';

/** What is kept beside an object. */
export interface ObjectTraits {
  /** Values by which the object can be listed. */
  readonly lookups?: readonly string[];
  /** From then on the object does not count, and is removed some time. */
  readonly expiresAt?: Date;
}

/** One step of a commit. Name and namespace of an object are those in its metadata. */
export type ObjectWrite =
  | ({ readonly kind: 'create'; readonly resource: string; readonly object: ApiObject } & ObjectTraits)
  | ({
      readonly kind: 'replace';
      readonly resource: string;
      /** With the resourceVersion it was made from. */
      readonly object: ApiObject;
    } & ObjectTraits)
  | ({ readonly kind: 'remove'; readonly version?: string; readonly uid?: string } & ObjectKey);

/** Why a commit was refused, all of it: */
export type WriteRefusal =
  /** there is an object of that name; */
  | 'exists'
  /** the object has another resourceVersion or uid by now; */
  | 'conflict'
  /** there is no object of that name; */
  | 'absent'
  /** the namespace it is to be in is not there; */
  | 'namespace-absent'
  /** the namespace it is to be in is going away; */
  | 'namespace-terminating'
  /** the namespace to be removed still holds something. */
  | 'namespace-in-use';

/** What came of a commit. */
export type CommitResult =
  | {
      readonly kind: 'committed';
      /** One for each write, with its new resourceVersion; the last state of what was removed. */
      readonly objects: readonly ApiObject[];
    }
  | {
      readonly kind: 'refused';
      readonly reason: WriteRefusal;
      /** Of the write that could not be. */ readonly index: number;
    };

/** Which objects to list. */
export interface ObjectQuery {
  readonly resource: string;
  /** Left out: in all namespaces. */
  readonly namespace?: string;
  /** Only those that were written with this value among their lookups. */
  readonly lookup?: string;
  readonly limit: number;
  /** Only those after this one, in the order of namespace and name. */
  readonly after?: { readonly namespace: string; readonly name: string };
}

/** Some objects in the order of namespace and name. */
export interface ObjectPage {
  readonly objects: readonly ApiObject[];
  /** The resourceVersion of the list: every later change is after it in the change log. */
  readonly version: number;
  readonly isLast: boolean;
}

/** One line of the change log. */
export interface Change {
  readonly version: number;
  readonly resource: string;
  readonly kind: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** After the change, with its resourceVersion; the last state of what was deleted. */
  readonly object: ApiObject;
  /** Before the change; undefined for what was added. */
  readonly previous: ApiObject | undefined;
}

/**
 * API objects, replaced by resourceVersion, and the log of their changes. All resources share one sequence of versions,
 * which is the order of the commits.
 */
export interface ObjectStore {
  /** @returns undefined when there is none, or when it has expired */
  find(key: ObjectKey): Promise<ApiObject | undefined>;

  list(query: ObjectQuery): Promise<ObjectPage>;

  /** Writes all or nothing, with a line in the change log for each write. */
  commit(writes: readonly ObjectWrite[]): Promise<CommitResult>;

  /** The version of the last change of anyone. */
  currentVersion(): Promise<number>;

  /**
   * A number that grows with every change of one of the resources: the version of the last one; when that is no longer
   * kept, the version through which changes are not. It may also grow when nothing has changed.
   */
  lastChangeOf(resources: readonly string[]): Promise<number>;

  /**
   * Changes after a version, oldest first.
   *
   * @param resource only changes of this one; of all when left out
   * @returns the changes and the version through which they are complete; undefined when some are no longer kept
   */
  readChanges(
    after: number,
    options: { readonly resource?: string; readonly limit: number },
  ): Promise<{ readonly changes: readonly Change[]; readonly through: number } | undefined>;

  /** Resolves when something was committed after a version, when the signal fires, or some time after so many milliseconds. */
  waitForChange(after: number, options: { readonly signal: AbortSignal; readonly withinMs?: number }): Promise<void>;

  /** Forgets changes made before a time. @returns how many */
  pruneChanges(before: Date): Promise<number>;

  /**
   * Removes some of the objects in a namespace, of whatever resource, with a line in the change log for each.
   *
   * @param except resources that are left alone
   * @returns how many; 0 when there are none
   */
  removeInNamespace(
    namespace: string,
    options: { readonly limit: number; readonly except?: readonly string[] },
  ): Promise<number>;

  /** Removes some objects that have expired, with their lines in the change log. @returns how many */
  removeExpired(now: Date): Promise<number>;
}

/** Read at a time, whatever the length of a list. */
const pageSize = 500;

/** All objects of a query, page by page, in the order of namespace and name. */
export async function* allObjects(
  store: Pick<ObjectStore, 'list'>,
  query: Omit<ObjectQuery, 'limit' | 'after'>,
): AsyncGenerator<ApiObject> {
  for (let after: ObjectQuery['after']; ;) {
    const page = await store.list({ ...query, limit: pageSize, ...(after !== undefined && { after }) });
    yield* page.objects;
    const last = page.objects.at(-1);
    if (page.isLast || last === undefined) return;
    after = { namespace: last.metadata.namespace ?? '', name: last.metadata.name };
  }
}

/** The number in a resourceVersion; undefined when it is none of ours. */
export function parseVersion(resourceVersion: string): number | undefined {
  return /^(0|[1-9]\d{0,14})$/.test(resourceVersion) ? Number(resourceVersion) : undefined;
}
