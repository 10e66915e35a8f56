import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ensureDefaultPolicy } from '../../src/access/default-policy.js';
import { rbacResources } from '../../src/access/rbac-resources.js';
import { reviewResources } from '../../src/access/reviews.js';
import { AccessPolicy } from '../../src/auth/policy.js';
import type { Principal } from '../../src/auth/principal.js';
import { requireAccess } from '../../src/kube/access.js';
import { decodeObject } from '../../src/kube/decode.js';
import type { JsonObject } from '../../src/kube/json.js';
import type { ListQuery, ObjectList, Resource, ResourceStorage, Verb } from '../../src/kube/resource.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { namespacesResource, type ApiObject, type ObjectStore } from '../../src/metadata/object-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { apiCall, loggedIn, master } from '../support/api-call.js';
import { temporaryFolder } from '../support/temporary-folder.js';

export const rbac = 'rbac.authorization.k8s.io';
export const now = new Date('2024-05-01T12:00:00Z');

/** Which object of which resource, and who asks. */
export interface Target {
  readonly as?: Principal;
  /** Group and plural, as in `rbac.authorization.k8s.io/roles`; the group left out: that of roles. */
  readonly resource: string;
  readonly namespace?: string;
}

/** Everything selected. */
const everything: ListQuery = {
  limit: undefined,
  continue: undefined,
  matches: () => true,
  name: undefined,
  fields: {},
};

/**
 * The resources of `src/access`, called as the kernel calls them: bodies are decoded, and the rules asked whether the
 * caller may.
 */
export class AccessApi {
  readonly store: ObjectStore;
  readonly policy: AccessPolicy;
  readonly #resources: readonly Resource[];

  constructor(store: ObjectStore) {
    this.store = store;
    this.policy = new AccessPolicy(store);
    this.#resources = [
      ...rbacResources(store, this.policy),
      ...reviewResources(this.policy, (token) =>
        Promise.resolve(token === 'sha256~good' ? loggedIn('ada', 'devs') : undefined),
      ),
    ];
  }

  resource(name: string): Resource {
    const slash = name.indexOf('/');
    const group = slash === -1 ? rbac : name.slice(0, slash);
    const found = this.#resources.find((each) => each.group === group && each.plural === name.slice(slash + 1));
    if (found === undefined) throw new Error(`there is no resource ${name}`);
    return found;
  }

  async create(target: Target, body: JsonObject): Promise<JsonObject> {
    const { resource, storage, call } = await this.#begin(target, 'create');
    const object = decodeObject(body, resource, { fieldValidation: 'Strict', warn: () => undefined });
    return (await storage.create!(call, object, { dryRun: false })) as unknown as JsonObject;
  }

  /** @param change what becomes of the object as it is shown, before it is decoded again */
  async update(target: Target, name: string, change: (object: ApiObject) => object): Promise<ApiObject> {
    const { resource, storage, call } = await this.#begin(target, 'update', name);
    const { object } = await storage.update!(
      call,
      name,
      (current) =>
        decodeObject(change(current!) as JsonObject, resource, { fieldValidation: 'Strict', warn: () => undefined }),
      { dryRun: false },
    );
    return object;
  }

  async get(target: Target, name: string): Promise<ApiObject> {
    const { storage, call } = await this.#begin(target, 'get', name);
    return storage.get!(call, name);
  }

  async list(target: Target): Promise<ObjectList> {
    const { storage, call } = await this.#begin(target, 'list');
    return (await storage.list!(call, everything)) as ObjectList;
  }

  async remove(target: Target, name: string): Promise<void> {
    const { storage, call } = await this.#begin(target, 'delete', name);
    await storage.remove!(call, name, { dryRun: false, uid: undefined, resourceVersion: undefined });
  }

  /** Gives somebody a ClusterRole in a namespace, or everywhere. */
  async bind(user: string, role: string, namespace = ''): Promise<void> {
    await this.create(
      { resource: namespace === '' ? 'clusterrolebindings' : 'rolebindings', namespace },
      {
        metadata: { generateName: `${role}-` },
        subjects: [{ kind: 'User', name: user }],
        roleRef: { kind: 'ClusterRole', name: role },
      },
    );
  }

  async #begin({ as = master, resource: name, namespace = '' }: Target, verb: Verb, object?: string) {
    const resource = this.resource(name);
    if (!(resource.selfFiltered ?? []).includes(verb)) {
      await requireAccess(
        { authenticate: () => Promise.resolve(undefined), allows: (who, request) => this.policy.allows(who, request) },
        as,
        {
          kind: 'resource',
          verb,
          group: resource.group,
          resource: resource.plural,
          ...(namespace !== '' && { namespace }),
          ...(object !== undefined && { name: object }),
        },
      );
    }
    const storage: ResourceStorage = resource.storage;
    return { resource, storage, call: apiCall({ principal: as, namespace, policy: this.policy, now }) };
  }
}

/** An object store in an SQLite file that goes with the test. */
export async function openStore(file?: string): Promise<ObjectStore> {
  const db = await openSqlite(file ?? join(await temporaryFolder(), 'weir.sqlite'));
  onTestFinished(() => db.destroy());
  return new KyselyObjectStore(db);
}

/** With the default roles, and with namespaces `team` and `other`. */
export async function startAccessApi(): Promise<AccessApi> {
  const file = join(await temporaryFolder(), 'weir.sqlite');
  await writeFile(file, await (prepared ??= prepare()));
  return new AccessApi(await openStore(file));
}

/** The SQLite file that every test of a test file begins with: made once, since there are many. */
let prepared: Promise<Buffer> | undefined;

async function prepare(): Promise<Buffer> {
  const file = join(await temporaryFolder(), 'weir.sqlite');
  const db = await openSqlite(file);
  const store = new KyselyObjectStore(db);
  await ensureDefaultPolicy(store, () => now);
  for (const name of ['team', 'other']) await makeNamespace(store, name);
  await db.destroy();
  return readFile(file);
}

export async function makeNamespace(store: ObjectStore, name: string): Promise<void> {
  const metadata = { name, uid: `uid-of-${name}`, creationTimestamp: '2024-05-01T12:00:00Z' };
  await store.commit([{ kind: 'create', resource: namespacesResource, object: { metadata } }]);
}
