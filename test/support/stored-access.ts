import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { AggregationRule } from '../../src/auth/aggregation.js';
import { groupsResource, identitiesResource, usersResource } from '../../src/auth/identities.js';
import { policyResources, subjectLookup } from '../../src/auth/policy.js';
import type { PolicyRule } from '../../src/auth/rules.js';
import type { Subject } from '../../src/auth/subjects.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { ApiObject, ObjectStore, ObjectTraits } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { addProjects } from './projects.js';
import { temporaryFolder } from './temporary-folder.js';

/** A database as one process sees it. */
export interface OpenDatabase {
  readonly db: Database;
  readonly objects: KyselyObjectStore;
  readonly users: KyselyUserRecords;
}

/** Opens one SQLite file twice, as two processes do; it goes with the test. */
export async function openTwice(
  projects: readonly string[],
): Promise<{ readonly here: OpenDatabase; readonly there: OpenDatabase }> {
  const path = join(await temporaryFolder(), 'weir.sqlite');
  const open = async (): Promise<OpenDatabase> => {
    const db = await openSqlite(path);
    onTestFinished(() => db.destroy());
    return { db, objects: new KyselyObjectStore(db), users: new KyselyUserRecords(db) };
  };
  const here = await open();
  await addProjects(here.db, projects);
  return { here, there: await open() };
}

/** Where an object is, as tests say it: in no namespace unless they name one. */
export interface Place {
  readonly name: string;
  readonly namespace?: string;
}

/** Creates an object, or replaces the one of that name with its uid. */
export async function put(
  store: ObjectStore,
  resource: string,
  { name, namespace = '', ...metadata }: Place & { readonly uid?: string; readonly labels?: Record<string, string> },
  fields: object,
  traits: ObjectTraits = {},
): Promise<ApiObject> {
  const existing = await store.find({ resource, namespace, name });
  const object: ApiObject = {
    ...fields,
    metadata: {
      name,
      ...(namespace !== '' && { namespace }),
      uid: existing?.metadata.uid ?? randomUUID(),
      ...metadata,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...(existing !== undefined && { resourceVersion: existing.metadata.resourceVersion! }),
    },
  };
  const kind = existing === undefined ? 'create' : 'replace';
  const result = await store.commit([{ kind, resource, object, ...traits }]);
  if (result.kind === 'refused') throw new Error(`${resource} ${name} was refused: ${result.reason}`);
  return result.objects[0]!;
}

/** Removes an object that is there. */
export async function remove(store: ObjectStore, resource: string, { name, namespace = '' }: Place): Promise<void> {
  const result = await store.commit([{ kind: 'remove', resource, namespace, name }]);
  if (result.kind === 'refused') throw new Error(`${resource} ${name} was not removed: ${result.reason}`);
}

/** A role: of the cluster, or of a namespace when the place names one. */
export function putRole(
  store: ObjectStore,
  place: Place & { readonly labels?: Record<string, string> },
  fields: { readonly rules?: readonly PolicyRule[]; readonly aggregationRule?: AggregationRule },
): Promise<ApiObject> {
  return put(
    store,
    place.namespace === undefined ? policyResources.clusterRoles : policyResources.roles,
    place,
    fields,
  );
}

/** A binding: of the cluster, or of a namespace when the place names one. */
export function putBinding(
  store: ObjectStore,
  place: Place,
  role: { readonly kind?: 'ClusterRole' | 'Role'; readonly name: string },
  subjects: readonly Subject[],
): Promise<ApiObject> {
  return put(
    store,
    place.namespace === undefined ? policyResources.clusterRoleBindings : policyResources.roleBindings,
    place,
    {
      subjects,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role.kind ?? 'ClusterRole', name: role.name },
    },
    { lookups: subjects.map((subject) => subjectLookup(subject, place.namespace ?? '')) },
  );
}

/** A user.openshift.io Group. */
export function putGroup(store: ObjectStore, name: string, users: readonly string[]): Promise<ApiObject> {
  return put(store, groupsResource, { name }, { users }, { lookups: users });
}

/** A user.openshift.io User who came through these providers, with an Identity for each. */
export async function putUser(
  store: ObjectStore,
  name: string,
  identities: readonly { readonly provider: string; readonly extra?: Readonly<Record<string, string>> }[],
): Promise<ApiObject> {
  const names = identities.map(({ provider }) => `${provider}:${name}`);
  const user = await put(store, usersResource, { name }, { identities: names });
  for (const { provider, extra } of identities) {
    await put(
      store,
      identitiesResource,
      { name: `${provider}:${name}` },
      {
        providerName: provider,
        providerUserName: name,
        user: { name, uid: user.metadata.uid },
        ...(extra !== undefined && { extra }),
      },
      { lookups: [name] },
    );
  }
  return user;
}
