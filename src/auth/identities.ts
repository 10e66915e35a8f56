import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import type { UserRecord, UserRecords } from '../metadata/user-records.js';
import type { AccessTokenObject, AccessTokens } from './access-tokens.js';
import { anonymous, authenticatedGroup, mastersGroup, type Basis, type Principal } from './principal.js';
import { groupsOfServiceAccount, serviceAccountName } from './subjects.js';

/** Resources that say who somebody is, as the object store names them. */
export const usersResource = 'users.user.openshift.io';
export const identitiesResource = 'identities.user.openshift.io';
export const groupsResource = 'groups.user.openshift.io';

/** Where an Identity keeps the groups its provider named at the last login: a JSON array. */
export const identityGroupsKey = 'weir.dev/groups';
/** The provider of users with a password here. */
export const localProvider = 'local';
/** Of those who came with an API token. */
const oauthGroup = 'system:authenticated:oauth';

const remembered = 10_000;

/** user.openshift.io User. */
export interface UserObject extends ApiObject {
  readonly fullName?: string;
  /** Names of Identity objects. */
  readonly identities?: readonly string[];
}

/** user.openshift.io Identity. */
export interface IdentityObject extends ApiObject {
  readonly providerName: string;
  readonly providerUserName: string;
  readonly user?: { readonly name: string; readonly uid: string };
  readonly extra?: Readonly<Record<string, string>>;
}

/** An administrator may have written anything there. */
function parseGroups(text: string): readonly string[] {
  try {
    const groups = JSON.parse(text) as unknown;
    return Array.isArray(groups) ? groups.filter((name) => typeof name === 'string') : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

/** Changes with the password, and tells nothing about it. */
export function passwordStamp({ passwordHash }: Pick<UserRecord, 'passwordHash'>): string {
  let stamp = stamps.get(passwordHash);
  if (stamp === undefined) {
    stamp = createHash('sha256').update(passwordHash).digest('base64url').slice(0, 16);
    stamps.set(passwordHash, stamp);
  }
  return stamp;
}

/** It is asked for at every request. */
const stamps = new LRUCache<string, string>({ max: remembered });

/**
 * From what somebody showed to who they are now. It is asked at every request: what a token stands on is looked up each
 * time, so that taking it away counts at once, in every process.
 */
export class Identities {
  readonly #store: ObjectStore;
  readonly #users: UserRecords;
  readonly #tokens: AccessTokens;
  /** Groups by user, while no group and no identity changes. */
  readonly #groups = new LRUCache<string, Promise<readonly string[]>>({ max: remembered });
  #version: number | undefined;

  constructor(store: ObjectStore, users: UserRecords, tokens: AccessTokens) {
    this.#store = store;
    this.#users = users;
    this.#tokens = tokens;
  }

  /** @returns undefined when what it stands on is gone */
  async resolve(basis: Basis): Promise<Principal | undefined> {
    switch (basis.kind) {
      case 'nobody':
        return anonymous;
      case 'password': {
        const record = await this.#users.findUser(basis.user);
        if (record === undefined || passwordStamp(record) !== basis.stamp) return undefined;
        return this.ofLocalUser(record);
      }
      case 'access-token':
        return this.#ofAccessToken(basis);
      case 'service-account':
        return this.#ofServiceAccount(basis);
    }
  }

  /** A local user who has shown the password. */
  async ofLocalUser(record: UserRecord): Promise<Principal> {
    return {
      kind: 'user',
      name: record.name,
      groups: [
        ...(record.role === 'admin' ? [mastersGroup] : []),
        ...(await this.#groupsOf(record.name)),
        authenticatedGroup,
      ],
      basis: { kind: 'password', user: record.name, stamp: passwordStamp(record) },
    };
  }

  async #ofAccessToken(basis: Extract<Basis, { kind: 'access-token' }>): Promise<Principal | undefined> {
    const token = await this.#tokens.find(basis.name);
    if (token === undefined) return undefined;
    const { userName: name, userUID: uid } = token;
    const user = (await this.#store.find({ resource: usersResource, namespace: '', name })) as UserObject | undefined;
    if (user?.metadata.uid !== uid) return undefined;
    const record = await this.#users.findUser(name);
    const identities = user.identities ?? [];
    const isLocal = identities.includes(`${localProvider}:${name}`);
    // A local user who was removed has nobody left who could log in.
    if (record === undefined && isLocal && identities.length === 1) return undefined;
    // Nor does somebody of the same name who came later get what was another's.
    if (record !== undefined && isLocal && (await this.#isOlderThanUser(token))) return undefined;
    return {
      kind: 'user',
      name,
      uid,
      groups: [
        ...(record?.role === 'admin' && isLocal ? [mastersGroup] : []),
        ...(await this.#groupsOf(name)),
        authenticatedGroup,
        oauthGroup,
      ],
      basis,
    };
  }

  /** Whether a token was given before the local user of its name was made. */
  async #isOlderThanUser({ userName, metadata }: AccessTokenObject): Promise<boolean> {
    const made = await this.#users.findCreationTime(userName);
    return made !== undefined && Date.parse(metadata.creationTimestamp) < Math.floor(made.getTime() / 1000) * 1000;
  }

  async #ofServiceAccount(basis: Extract<Basis, { kind: 'service-account' }>): Promise<Principal | undefined> {
    const { namespace, name, uid, secret } = basis;
    const account = await this.#store.find({ resource: 'serviceaccounts', namespace, name });
    if (account?.metadata.uid !== uid) return undefined;
    if (secret !== undefined) {
      const bound = await this.#store.find({ resource: 'secrets', namespace, name: secret.name });
      if (bound?.metadata.uid !== secret.uid) return undefined;
    }
    return {
      kind: 'service-account',
      name: serviceAccountName(namespace, name),
      uid,
      groups: groupsOfServiceAccount(namespace),
      basis,
    };
  }

  /** Names of the groups a user is in: Group objects, and what identity providers said at the last login. */
  async #groupsOf(user: string): Promise<readonly string[]> {
    const version = await this.#store.lastChangeOf([groupsResource, identitiesResource]);
    if (version !== this.#version) {
      this.#groups.clear();
      this.#version = version;
    }
    const known = this.#groups.get(user);
    if (known !== undefined) return known;
    const loading = this.#loadGroups(user);
    this.#groups.set(user, loading);
    loading.catch(() => {
      if (this.#groups.peek(user) === loading) this.#groups.delete(user);
    });
    return loading;
  }

  async #loadGroups(user: string): Promise<readonly string[]> {
    const names = new Set<string>();
    for await (const { metadata } of allObjects(this.#store, { resource: groupsResource, lookup: user }))
      names.add(metadata.name);
    for await (const identity of allObjects(this.#store, { resource: identitiesResource, lookup: user })) {
      const { extra } = identity as IdentityObject;
      for (const name of parseGroups(extra?.[identityGroupsKey] ?? '[]')) names.add(name);
    }
    // Nobody outside gives what is ours to give.
    return [...names].filter((name) => !name.startsWith('system:')).sort();
  }
}
