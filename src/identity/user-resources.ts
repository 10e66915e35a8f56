import { z } from 'zod';
import {
  identitiesResource,
  identityGroupsKey,
  usersResource,
  type IdentityObject,
  type UserObject,
} from '../auth/identities.js';
import { accessTokensResource } from '../auth/access-tokens.js';
import { forbidden, type StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue, timestamp } from '../kube/object-meta.js';
import { allVerbs, type Call, type RemoveOptions, type Resource, type ResourceStorage } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import type { UserRecords } from '../metadata/user-records.js';
import { authorizationCodesResource } from './authorization-codes.js';
import { groupNameCauses, isProvidedGroupName, isProviderName, userNameCauses } from './names.js';
import { removeLookedUp } from './removal.js';

const group = 'user.openshift.io';
const userNames = { group, plural: 'users', kind: 'User', isNamespaced: false } as const;
const groupNames = { group, plural: 'groups', kind: 'Group', isNamespaced: false } as const;
const identityNames = { group, plural: 'identities', kind: 'Identity', isNamespaced: false } as const;

/** Whoever asks. */
const self = '~';

/** user.openshift.io Group. */
export interface GroupObject extends ApiObject {
  readonly users?: readonly string[];
}

/**
 * The resource of users. They are made at their first login; one made here waits for whoever logs in by that name.
 * Deleting one takes away their tokens, their identities and their password.
 */
export function userResource(store: ObjectStore, records: UserRecords): Resource {
  const stored = new StoredResource(store, userNames, {
    nameRule: 'path-segment',
    prepareCreate: (_call, object) => withUserDefaults(object),
    prepareUpdate: (_call, object) => withUserDefaults(object),
    validate: (object, old) => [
      ...(old === undefined ? userNameCauses(object.metadata.name, 'metadata.name') : []),
      ...userCauses(object),
    ],
  });
  const storage: ResourceStorage = {
    get: (call, name) => (name === self ? ownUser(store, call) : stored.get(call, name)),
    list: stored.list,
    create: stored.create,
    update: stored.update,
    remove: (call, name, options) => removeUser({ store, records, stored }, call, name, options),
    watch: stored.watch,
  };
  return {
    ...userNames,
    version: 'v1',
    singular: 'user',
    verbs: allVerbs,
    description:
      'User is somebody who has logged in. Tokens, roles and groups speak of them by name. The user "~" is whoever asks.',
    schema: z.object({
      fullName: z.string().optional().describe('What the user is called by people.'),
      identities: z.array(z.string()).optional().describe('Names of the identities by which the user logs in.'),
      groups: z.array(z.string()).optional().describe('Of the user "~" only; a Group says who is in it.'),
    }),
    columns: [
      {
        name: 'UID',
        type: 'string',
        description: 'Unique among all users that ever were.',
        cell: ({ metadata }) => metadata.uid,
      },
      {
        name: 'Full Name',
        type: 'string',
        description: 'What the user is called by people.',
        cell: (user) => (user as UserObject).fullName ?? '',
      },
      {
        name: 'Identities',
        type: 'string',
        description: 'Names of the identities by which the user logs in.',
        cell: (user) => ((user as UserObject).identities ?? []).join(', '),
      },
    ],
    mergeStrategies: { identities: { kind: 'set' }, groups: { kind: 'set' } },
    storage,
  };
}

function withUserDefaults(user: UserObject): UserObject {
  return { ...user, identities: distinct(user.identities), groups: distinct(user['groups'] as string[] | undefined) };
}

function userCauses(user: UserObject): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [index, name] of (user.identities ?? []).entries()) {
    if (!isIdentityName(name)) causes.push(invalidValue(`identities[${index}]`, name, identityRule));
  }
  if ((user['groups'] as readonly string[]).length > 0) {
    causes.push({
      reason: 'FieldValueForbidden',
      field: 'groups',
      message: 'Forbidden: a user is put into a group by its Group object',
    });
  }
  return causes;
}

/** Who asks, with all their groups; made up for those who have no User. @throws {StatusError} Forbidden */
async function ownUser(store: ObjectStore, { principal, now }: Call): Promise<ApiObject> {
  if (principal.kind === 'anonymous') {
    throw forbidden(userNames, self, `User ${JSON.stringify(principal.name)} is nobody in particular`);
  }
  const { name, uid, groups } = principal;
  if (principal.kind === 'user') {
    const user = await store.find({ resource: usersResource, namespace: '', name });
    if (user !== undefined && (uid === undefined || uid === user.metadata.uid)) return { ...user, groups };
  }
  return { metadata: { name, uid: uid ?? '', creationTimestamp: timestamp(now) }, identities: [], groups };
}

interface UserParts {
  readonly store: ObjectStore;
  readonly records: UserRecords;
  readonly stored: StoredResource;
}

async function removeUser(
  { store, records, stored }: UserParts,
  call: Call,
  name: string,
  options: RemoveOptions,
): Promise<ApiObject> {
  // Whether it is there, and the one that is meant.
  const user = await stored.remove(call, name, { ...options, dryRun: true });
  const record = await records.findUser(name);
  if (record?.role === 'admin' && (await records.countAdmins()) === 1) {
    throw forbidden(userNames, name, 'it is the last administrator with a password');
  }
  if (options.dryRun) return user;
  // The password goes first: when the rest fails, the User is still there to be deleted again.
  await records.removeUser(name);
  const removed = await stored.remove(call, name, { ...options, uid: user.metadata.uid });
  for (const resource of [accessTokensResource, authorizationCodesResource, identitiesResource]) {
    await removeLookedUp(store, resource, name);
  }
  return removed;
}

/** The resource of groups. What an identity provider says of its users' groups is in their identities instead. */
export function groupResource(store: ObjectStore): Resource {
  return {
    ...groupNames,
    version: 'v1',
    singular: 'group',
    verbs: allVerbs,
    description: 'Group is a set of users; roles that are given to the group are given to all of them.',
    schema: z.object({ users: z.array(z.string()).optional().describe('Names of the users in the group.') }),
    columns: [
      {
        name: 'Users',
        type: 'string',
        description: 'Names of the users in the group.',
        cell: (object) => ((object as GroupObject).users ?? []).join(', '),
      },
    ],
    mergeStrategies: { users: { kind: 'set' } },
    storage: new StoredResource(store, groupNames, {
      nameRule: 'path-segment',
      prepareCreate: (_call, object) => withDistinctUsers(object),
      prepareUpdate: (_call, object) => withDistinctUsers(object),
      validate: (object, old) => [
        ...(old === undefined ? groupNameCauses(object.metadata.name, 'metadata.name') : []),
        ...((object as GroupObject).users ?? []).flatMap((name, index) => userNameCauses(name, `users[${index}]`)),
      ],
      // By which a user's groups are found.
      traits: (object) => ({ lookups: (object as GroupObject).users ?? [] }),
    }),
  };
}

function withDistinctUsers(object: GroupObject): GroupObject {
  return { ...object, users: distinct(object.users) };
}

/** The resource of identities, which say by which logins a user is known. They are written at every login. */
export function identityResource(store: ObjectStore): Resource {
  return {
    ...identityNames,
    version: 'v1',
    singular: 'identity',
    verbs: allVerbs,
    description: 'Identity is somebody as an identity provider knows them, and the user they are here.',
    schema: z.object({
      providerName: z.string().optional().describe('The identity provider.'),
      providerUserName: z.string().optional().describe('What the provider calls them.'),
      user: z
        .object({ name: z.string().optional(), uid: z.string().optional() })
        .optional()
        .describe('The User they are here.'),
      extra: z
        .record(z.string(), z.string())
        .optional()
        .describe(`What else the provider says; ${identityGroupsKey} has their groups as a JSON array.`),
    }),
    columns: [
      identityColumn('IDP Name', 'The identity provider.', ({ providerName }) => providerName),
      identityColumn('IDP User Name', 'What the provider calls them.', ({ providerUserName }) => providerUserName),
      identityColumn('User Name', 'The user they are here.', ({ user }) => user?.name),
      identityColumn('User UID', 'The uid of that user.', ({ user }) => user?.uid),
    ],
    storage: new StoredResource(store, identityNames, {
      nameRule: 'path-segment',
      prepareCreate: (_call, object) => withFoundUser(store, object as IdentityObject),
      prepareUpdate: (_call, object) => withFoundUser(store, object as IdentityObject),
      validate: (object) => identityCauses(object as IdentityObject),
      traits: (object) => {
        const { user } = object as IdentityObject;
        return { lookups: user === undefined ? [] : [user.name] };
      },
    }),
  };
}

function identityColumn(name: string, description: string, cell: (identity: IdentityObject) => string | undefined) {
  return {
    name,
    type: 'string' as const,
    description,
    cell: (object: ApiObject) => cell(object as IdentityObject) ?? '',
  };
}

/** With the uid of its user, when it names one that is there; `identityCauses` speaks against every other. */
async function withFoundUser(store: ObjectStore, identity: IdentityObject): Promise<IdentityObject> {
  const { user: sent, ...rest } = identity;
  const { name = '', uid = '' }: Partial<NonNullable<IdentityObject['user']>> = sent ?? {};
  if (name === '' && uid === '') return rest;
  const user = await store.find({ resource: usersResource, namespace: '', name });
  return {
    ...rest,
    user: { name, uid: uid === '' ? (user?.metadata.uid ?? '') : user?.metadata.uid === uid ? uid : '' },
  };
}

const identityRule = 'is the name of an identity provider, a colon, and what the provider calls somebody';

function isIdentityName(name: string): boolean {
  const colon = name.indexOf(':');
  return isProviderName(name.slice(0, Math.max(colon, 0))) && /^[^/%\s\p{C}]+$/u.test(name.slice(colon + 1));
}

function identityCauses({ metadata, providerName, providerUserName, user, extra }: IdentityObject): StatusCause[] {
  const causes: StatusCause[] = [];
  if ((providerName as string | undefined) === undefined) causes.push(requiredValue('providerName'));
  if ((providerUserName as string | undefined) === undefined) causes.push(requiredValue('providerUserName'));
  const { name } = metadata;
  if (!isIdentityName(name)) causes.push(invalidValue('metadata.name', name, identityRule));
  else if (causes.length === 0 && name !== `${providerName}:${providerUserName}`) {
    causes.push(invalidValue('metadata.name', name, `must be "${providerName}:${providerUserName}"`));
  }
  if (user?.uid === '') {
    causes.push({
      reason: 'FieldValueNotFound',
      field: 'user',
      message: `Not found: ${JSON.stringify(user.name)}: there is no user of this name and uid`,
    });
  }
  const groups = extra?.[identityGroupsKey];
  if (groups !== undefined && !isGroupList(groups)) {
    causes.push(
      invalidValue(
        `extra[${identityGroupsKey}]`,
        groups,
        'must be a JSON array of names of groups, none of the system',
      ),
    );
  }
  return causes;
}

/** As those who look for the groups of a user will read it. */
function isGroupList(text: string): boolean {
  try {
    const list = z.array(z.string()).safeParse(JSON.parse(text));
    return list.success && list.data.every(isProvidedGroupName);
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function distinct(names: readonly string[] = []): readonly string[] {
  return [...new Set(names)];
}

/** The resources that say who somebody is (group user.openshift.io). */
export function userResources(store: ObjectStore, records: UserRecords): readonly Resource[] {
  return [groupResource(store), identityResource(store), userResource(store, records)];
}
