import type { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { Status } from './errors.js';
import type { MergeStrategies } from './patch.js';

/** What can be done to a resource (Kubernetes API verbs). */
export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** Every verb, as most stored resources have them. */
export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

/** One request to a resource, after authentication and authorization. */
export interface Call {
  readonly principal: Principal;
  /** Empty: cluster-scoped, or all namespaces. */
  readonly namespace: string;
  readonly now: Date;
  /** By which address the client called, as in `https://weir.example`. */
  readonly origin: string;
  /** Whether the principal may do something else; in `namespace` unless the request names another. */
  readonly may: (request: {
    readonly verb: string;
    readonly group: string;
    /** With its subresource after a slash. */
    readonly resource: string;
    readonly name?: string;
    readonly namespace?: string;
  }) => Promise<boolean>;
  /** Shown to the user by the client. */
  readonly warn: (text: string) => void;
  /** A parameter of the query; undefined when it is absent or empty. @throws {StatusError} BadRequest when given twice */
  readonly query: (name: string) => string | undefined;
  /** A header of the request; empty when it is absent. */
  readonly header: (name: string) => string;
}

/** A column of the table that `kubectl get` prints (metav1.TableColumnDefinition). */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  /** `name` for the first column. */
  readonly format?: string;
  readonly description: string;
  /** Above 0: only with `-o wide`. */
  readonly priority?: number;
  readonly cell: (object: ApiObject, now: Date) => string | number | null;
}

/** Which objects to list. */
export interface ListQuery {
  /** At most so many; all when undefined. */
  readonly limit: number | undefined;
  /** As given by an earlier page. */
  readonly continue: string | undefined;
  /** Whether an object is in the selection. */
  readonly matches: (object: ApiObject) => boolean;
  /** The selection holds at most the object of this name. */
  readonly name: string | undefined;
  /** The exact values that the field selector asks for, by field. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface ObjectList {
  readonly items: readonly ApiObject[];
  readonly resourceVersion: string;
  /** For the next page; undefined on the last. */
  readonly continue?: string | undefined;
  readonly remainingItemCount?: number;
  /** Further members of the list, beside its metadata and items. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface WriteOptions {
  /** Do all but store it. */
  readonly dryRun: boolean;
}

/** metav1.DeleteOptions, as far as it means anything here. */
export interface RemoveOptions extends WriteOptions {
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

/** What an update makes of the object as it is; undefined when there is none. */
export type ObjectChange = (current: ApiObject | undefined) => ApiObject;

/** How the objects of a resource are kept. A verb without its function answers 405. */
export interface ResourceStorage {
  /** @throws {StatusError} NotFound */
  readonly get?: (call: Call, name: string) => Promise<ApiObject>;
  readonly list?: (call: Call, query: ListQuery) => Promise<ObjectList | Status>;
  /** @returns the object as created; a virtual resource may answer with one of another kind */
  readonly create?: (call: Call, object: ApiObject, options: WriteOptions) => Promise<ApiObject | Status>;
  readonly update?: (
    call: Call,
    name: string,
    change: ObjectChange,
    options: WriteOptions,
  ) => Promise<{ readonly object: ApiObject; readonly isNew: boolean }>;
  /** @returns the last state of the object; or, when it is going away slowly, its present one */
  readonly remove?: (call: Call, name: string, options: RemoveOptions) => Promise<ApiObject>;
  readonly watch?: WatchSource;
}

/** Where the watch of a resource finds its changes in the change log. */
export interface WatchSource {
  /** The resource by which the objects are stored. */
  readonly resource: string;
  /** The stored object as it is shown; at least what selectors look at, when there is `show`. */
  readonly view: (stored: ApiObject) => ApiObject;
  /** Completes what the change log keeps only a part of. What it makes may depend on the call's origin, and on nothing else of it. */
  readonly show?: (call: Call) => (stored: ApiObject, kind: 'ADDED' | 'MODIFIED' | 'DELETED') => Promise<ApiObject>;
  /** Which objects the principal may see; all when left out. It is asked again for every change. */
  readonly visible?: (call: Call) => (object: ApiObject) => Promise<boolean>;
}

/** A part of a resource with a path of its own, such as `serviceaccounts/token`. */
export interface Subresource {
  readonly name: string;
  readonly kind: string;
  /** Of the kind; those of the parent when left out. */
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
  readonly schema: z.ZodType;
  readonly get?: (call: Call, name: string) => Promise<ApiObject>;
  /** In place of `get`: answers with a list of the kind. */
  readonly list?: (call: Call, name: string, query: ListQuery) => Promise<ObjectList>;
  /** Of the objects in the list. */
  readonly columns?: readonly Column[];
  readonly create?: (call: Call, name: string, object: ApiObject, options: WriteOptions) => Promise<ApiObject>;
  readonly update?: ResourceStorage['update'];
}

/** A resource as it is declared to the kernel, which serves it in every form that clients ask for. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly isNamespaced: boolean;
  readonly verbs: readonly Verb[];
  /** One sentence for `kubectl explain`. */
  readonly description: string;
  /** Of the fields beside apiVersion, kind and metadata. */
  readonly schema: z.ZodType;
  /** After the name; when it was created when left out. */
  readonly columns?: readonly Column[];
  readonly mergeStrategies?: MergeStrategies;
  /** Beside `metadata.name` and `metadata.namespace`. */
  readonly fieldSelectors?: readonly string[];
  /** Served, but not in discovery: lists that clients insist on. */
  readonly isHidden?: boolean;
  /** Verbs for which the storage itself decides what the caller may see; anyone who is logged in may ask. */
  readonly selfFiltered?: readonly Verb[];
  readonly storage: ResourceStorage;
  readonly subresources?: readonly Subresource[];
}

/** `v1`, or `rbac.authorization.k8s.io/v1`. */
export function apiVersionOf({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === '' ? version : `${group}/${version}`;
}
