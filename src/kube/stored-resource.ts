import {
  namespacesResource,
  type ApiObject,
  type ObjectKey,
  type ObjectStore,
  type ObjectTraits,
  type ObjectWrite,
  type WriteRefusal,
} from '../metadata/object-store.js';
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  qualifiedName,
  type StatusCause,
  type StatusError,
} from './errors.js';
import {
  changedMeta,
  generatedName,
  metaCauses,
  nameCauses,
  newMeta,
  timestamp,
  type NameRule,
} from './object-meta.js';
import type {
  Call,
  ListQuery,
  ObjectChange,
  ObjectList,
  ResourceStorage,
  WriteOptions,
  RemoveOptions,
} from './resource.js';
import { deepEqual, type JsonValue } from './json.js';

/** The names of a resource that is kept in the object store. */
export interface StoredNames {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
  /** The resource by which the objects are stored, where they are those of another one. */
  readonly storedAs?: string;
}

/** The rules of a stored resource. What is left out has no rule. */
export interface StoredStrategy {
  readonly nameRule?: NameRule;
  /** The object as it will be created: defaults, and nothing that is not the client's to say. */
  readonly prepareCreate?: (call: Call, object: ApiObject) => ApiObject | Promise<ApiObject>;
  /** The object as it will be stored in place of `old`. */
  readonly prepareUpdate?: (call: Call, object: ApiObject, old: ApiObject) => ApiObject | Promise<ApiObject>;
  /** Every cause that speaks against it; `old` is what it replaces. */
  readonly validate?: (object: ApiObject, old: ApiObject | undefined) => readonly StatusCause[];
  /** @throws {StatusError} when the caller may not do this, whatever the rules of roles say */
  readonly mayWrite?: (call: Call, object: ApiObject, old: ApiObject | undefined) => Promise<void> | void;
  readonly mayRemove?: (call: Call, object: ApiObject) => Promise<void> | void;
  readonly traits?: (object: ApiObject) => ObjectTraits;
  /** Before it is written, and after it was read: for what must not lie in the database as it is. */
  readonly seal?: (object: ApiObject) => ApiObject;
  readonly open?: (object: ApiObject) => ApiObject;
  /** Further writes of the same commit. */
  readonly alongside?: (call: Call, created: ApiObject) => readonly ObjectWrite[] | Promise<readonly ObjectWrite[]>;
  /** The lookup to list by, when the query asks for it. */
  readonly lookup?: (query: ListQuery) => string | undefined;
}

/** Objects read at a time, whatever the length of a list. */
const pageSize = 500;
const retries = 5;

/** Storage in the object store with the usual rules of Kubernetes: compare-and-swap, finalizers, generated names. */
export class StoredResource implements ResourceStorage {
  readonly #store: ObjectStore;
  readonly #names: StoredNames;
  readonly #strategy: StoredStrategy;
  readonly #resource: string;
  readonly watch: NonNullable<ResourceStorage['watch']>;

  constructor(store: ObjectStore, names: StoredNames, strategy: StoredStrategy = {}) {
    this.#store = store;
    this.#names = names;
    this.#strategy = strategy;
    this.#resource = names.storedAs ?? qualifiedName(names);
    this.watch = { resource: this.#resource, view: this.#open };
  }

  readonly get = async (call: Call, name: string): Promise<ApiObject> => {
    const object = await this.#store.find(this.#key(call, name));
    if (object === undefined) throw notFound(this.#names, name);
    return this.#open(object);
  };

  readonly list = async (call: Call, query: ListQuery): Promise<ObjectList> => {
    if (query.name !== undefined && (call.namespace !== '' || !this.#names.isNamespaced)) {
      const version = await this.#store.currentVersion();
      const object = await this.#store.find(this.#key(call, query.name));
      const items = object === undefined ? [] : [this.#open(object)].filter(query.matches);
      return { items, resourceVersion: String(version) };
    }
    return listPaged(query, async (after, limit) => {
      const lookup = this.#strategy.lookup?.(query);
      const page = await this.#store.list({
        resource: this.#resource,
        ...(call.namespace !== '' && { namespace: call.namespace }),
        ...(lookup !== undefined && { lookup }),
        ...(after !== undefined && { after }),
        limit,
      });
      return { ...page, objects: page.objects.map(this.#open) };
    });
  };

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const { name: sentName = '', generateName } = sent.metadata as { name?: string; generateName?: string };
    const isGenerated = sentName === '' && generateName !== undefined && generateName !== '';
    for (let attempt = 1; ; attempt += 1) {
      const name = isGenerated ? generatedName(generateName) : sentName;
      const object = await this.#prepareNew(call, sent, name);
      await this.#strategy.mayWrite?.(call, object, undefined);
      const key = this.#key(call, name);
      if (dryRun) {
        const refusal = await this.#wouldRefuse(key);
        if (refusal !== undefined) throw this.#refused(refusal, call, name);
        return object;
      }
      const result = await this.#store.commit([
        { kind: 'create', resource: this.#resource, object: this.#seal(object), ...this.#strategy.traits?.(object) },
        ...((await this.#strategy.alongside?.(call, object)) ?? []),
      ]);
      if (result.kind === 'committed') return this.#open(result.objects[0]!);
      if (result.reason === 'exists' && isGenerated && attempt < retries) continue;
      throw this.#refused(result.reason, call, name);
    }
  };

  readonly update = async (
    call: Call,
    name: string,
    change: ObjectChange,
    { dryRun }: WriteOptions,
  ): Promise<{ object: ApiObject; isNew: boolean }> => {
    for (let attempt = 1; ; attempt += 1) {
      const stored = await this.#store.find(this.#key(call, name));
      const old = stored && this.#open(stored);
      const wanted = change(old);
      if (old === undefined) throw notFound(this.#names, name);
      const object = await this.#prepareChanged(call, wanted, old);
      if (isSame(object, old)) return { object: old, isNew: false };
      await this.#strategy.mayWrite?.(call, object, old);
      if (dryRun) return { object, isNew: false };
      const isGone =
        object.metadata.deletionTimestamp !== undefined &&
        (object.metadata.finalizers ?? []).length === 0 &&
        (old.metadata.finalizers ?? []).length > 0;
      const result = await this.#store.commit([
        isGone
          ? { kind: 'remove', ...this.#key(call, name), version: old.metadata.resourceVersion! }
          : {
              kind: 'replace',
              resource: this.#resource,
              object: this.#seal(object),
              ...this.#strategy.traits?.(object),
            },
      ]);
      if (result.kind === 'committed') {
        return { object: isGone ? object : this.#open(result.objects[0]!), isNew: false };
      }
      // Whoever named a resourceVersion is told by `change` at the next attempt that it is not the present one.
      if (attempt >= retries) throw conflict(this.#names, name);
    }
  };

  readonly remove = async (call: Call, name: string, options: RemoveOptions): Promise<ApiObject> => {
    for (let attempt = 1; ; attempt += 1) {
      const stored = await this.#store.find(this.#key(call, name));
      if (stored === undefined) throw notFound(this.#names, name);
      const object = this.#open(stored);
      checkPreconditions(this.#names, object, options);
      await this.#strategy.mayRemove?.(call, object);
      if (options.dryRun) return object;
      const isHeld = (object.metadata.finalizers ?? []).length > 0;
      if (isHeld && object.metadata.deletionTimestamp !== undefined) return object;
      const version = object.metadata.resourceVersion!;
      const going = {
        ...object,
        metadata: { ...object.metadata, deletionTimestamp: timestamp(call.now), deletionGracePeriodSeconds: 0 },
      };
      const result = await this.#store.commit([
        isHeld
          ? { kind: 'replace', resource: this.#resource, object: this.#seal(going), ...this.#strategy.traits?.(going) }
          : { kind: 'remove', ...this.#key(call, name), version },
      ]);
      if (result.kind === 'committed') return this.#open(result.objects[0]!);
      if (result.reason === 'absent') throw notFound(this.#names, name);
      if (attempt >= retries) throw conflict(this.#names, name);
    }
  };

  /** Why the store would refuse to create an object; undefined when it would not. */
  async #wouldRefuse(key: ObjectKey): Promise<WriteRefusal | undefined> {
    if (key.namespace !== '') {
      const namespace = await this.#store.find({ resource: namespacesResource, namespace: '', name: key.namespace });
      if (namespace === undefined) return 'namespace-absent';
      if (namespace.metadata.deletionTimestamp !== undefined) return 'namespace-terminating';
    }
    return (await this.#store.find(key)) === undefined ? undefined : 'exists';
  }

  #refused(reason: WriteRefusal, call: Call, name: string): StatusError {
    switch (reason) {
      case 'exists':
        return alreadyExists(this.#names, name);
      case 'namespace-absent':
        return notFound({ group: '', plural: namespacesResource }, call.namespace);
      case 'namespace-terminating':
        return forbidden(
          this.#names,
          name,
          `unable to create new content in namespace ${call.namespace} because it is being terminated`,
        );
      case 'conflict':
      case 'absent':
      case 'namespace-in-use':
        return conflict(this.#names, name);
    }
  }

  readonly #open = (stored: ApiObject): ApiObject => this.#strategy.open?.(stored) ?? stored;

  #seal(object: ApiObject): ApiObject {
    return this.#strategy.seal?.(object) ?? object;
  }

  #key(call: Call, name: string): ObjectKey {
    return { resource: this.#resource, namespace: this.#names.isNamespaced ? call.namespace : '', name };
  }

  async #prepareNew(call: Call, sent: ApiObject, name: string): Promise<ApiObject> {
    const { apiVersion: _apiVersion, kind: _kind, ...fields } = sent;
    const bare: ApiObject = {
      ...fields,
      metadata: newMeta(sent.metadata as never, { name, namespace: this.#key(call, name).namespace, now: call.now }),
    };
    const object = (await this.#strategy.prepareCreate?.(call, bare)) ?? bare;
    this.#check(object, undefined);
    return object;
  }

  async #prepareChanged(call: Call, wanted: ApiObject, old: ApiObject): Promise<ApiObject> {
    const { apiVersion: _apiVersion, kind: _kind, ...fields } = wanted;
    checkPreconditions(this.#names, old, {
      uid: wanted.metadata.uid === '' ? undefined : wanted.metadata.uid,
      resourceVersion: wanted.metadata.resourceVersion === '' ? undefined : wanted.metadata.resourceVersion,
    });
    const bare: ApiObject = { ...fields, metadata: changedMeta(old.metadata, wanted.metadata as never) };
    const object = (await this.#strategy.prepareUpdate?.(call, bare, old)) ?? bare;
    this.#check(object, old);
    return object;
  }

  #check(object: ApiObject, old: ApiObject | undefined): void {
    const { name } = object.metadata;
    const causes: StatusCause[] = [];
    if (old === undefined) {
      if (name === '') {
        causes.push({
          reason: 'FieldValueRequired',
          field: 'metadata.name',
          message: 'Required value: name or generateName is required',
        });
      } else causes.push(...nameCauses(name, this.#strategy.nameRule ?? 'subdomain'));
    }
    causes.push(...metaCauses(object.metadata), ...(this.#strategy.validate?.(object, old) ?? []));
    if (causes.length > 0) throw invalid(this.#names, name, causes);
  }
}

/** What every writer may ask the object to be. @throws {StatusError} Conflict */
export function checkPreconditions(
  names: StoredNames,
  object: ApiObject,
  { uid, resourceVersion }: { readonly uid: string | undefined; readonly resourceVersion: string | undefined },
): void {
  const { name } = object.metadata;
  if (uid !== undefined && uid !== object.metadata.uid) {
    throw conflict(
      names,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${object.metadata.uid}`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
    throw conflict(names, name);
  }
}

/** Where a list goes on: the last object that was looked at, and the version of the first page. */
interface Position {
  readonly version: string;
  readonly namespace: string;
  readonly name: string;
}

/**
 * Reads pages until enough objects match. A later page has the version of the first: a watch from there misses nothing.
 *
 * @param isEnough asked after each object that was looked at: whether the list ends there, however many were asked for
 */
export async function listPaged(
  query: ListQuery,
  read: (
    after: { readonly namespace: string; readonly name: string } | undefined,
    limit: number,
  ) => Promise<{ readonly objects: readonly ApiObject[]; readonly version: number; readonly isLast: boolean }>,
  isEnough: () => boolean = () => false,
): Promise<ObjectList> {
  const from = query.continue === undefined ? undefined : parsePosition(query.continue);
  const wanted = query.limit ?? Infinity;
  const items: ApiObject[] = [];
  let after: { readonly namespace: string; readonly name: string } | undefined = from;
  let version = from?.version;
  let size = Math.min(pageSize, wanted);
  for (;;) {
    const page = await read(after, size);
    version ??= String(page.version);
    for (const [index, object] of page.objects.entries()) {
      after = { namespace: object.metadata.namespace ?? '', name: object.metadata.name };
      if (query.matches(object)) items.push(object);
      if (items.length < wanted && !isEnough()) continue;
      const isLast = page.isLast && index === page.objects.length - 1;
      return { items, resourceVersion: version, continue: isLast ? undefined : writePosition({ version, ...after }) };
    }
    if (page.isLast || page.objects.length === 0) return { items, resourceVersion: version };
    // A selector may pass over most objects: from then on they are not read by the few that are still wanted.
    size = pageSize;
  }
}

function writePosition({ version, namespace, name }: Position): string {
  return Buffer.from(JSON.stringify([version, namespace, name])).toString('base64url');
}

function parsePosition(text: string): Position {
  try {
    const [version, namespace, name] = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as unknown[];
    if (typeof version === 'string' && typeof namespace === 'string' && typeof name === 'string') {
      return { version, namespace, name };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  throw badRequest('continue key is not valid: expected the value of metadata.continue of the page before');
}

/** Whether an update would change nothing. */
function isSame(object: ApiObject, old: ApiObject): boolean {
  return deepEqual(withoutType(object), withoutType(old));
}

function withoutType({ apiVersion: _apiVersion, kind: _kind, ...object }: ApiObject): JsonValue {
  return object as unknown as JsonValue;
}
