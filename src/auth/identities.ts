import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import type { UserRecord, UserRecords } from '../metadata/user-records.js';
import { accessTokensResource, type AccessTokens } from './access-tokens.js';
import { anonymous, authenticatedGroup, mastersGroup, type Basis, type Principal } from './principal.js';
import { RememberedAnswers } from './remembered-answers.js';
import type { ServiceAccountBasis } from './service-account-tokens.js';
import { groupsOfServiceAccount, serviceAccountName } from './subjects.js';

/** Resources that say who somebody is, as the object store names them. */
export const usersResource = 'users.user.openshift.io';
export const identitiesResource = 'identities.user.openshift.io';
export const groupsResource = 'groups.user.openshift.io';

const serviceAccountsResource = 'serviceaccounts';
const secretsResource = 'secrets';

/** Where an Identity keeps the groups its provider named at the last login: a JSON array. */
export const identityGroupsKey = 'weir.dev/groups';
/** The provider of users with a password here. */
export const localProvider = 'local';
/** Of those who came with an API token. */
const oauthGroup = 'system:authenticated:oauth';

const rememberedStamps = 10_000;

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

type AccessTokenBasis = Extract<Basis, { kind: 'access-token' }>;

/** Whose an API token is, as far as it stands in objects. */
interface TokenOwner {
  readonly name: string;
  readonly uid: string;
  /** Whether it is the local user of that name, maybe among others. */
  readonly isLocal: boolean;
  readonly hasNoOtherIdentity: boolean;
  /** To the second, as the time after which it may have expired. */
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
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
const stamps = new LRUCache<string, string>({ max: rememberedStamps });

/**
 * From what somebody showed to who they are now. It is asked at every request: what a token stands on is looked up each
 * time, so that taking it away counts at once, in every process.
 */
export class Identities {
  readonly #store: ObjectStore;
  readonly #users: UserRecords;
  readonly #tokens: AccessTokens;
  readonly #now: () => Date;
  readonly #groups: RememberedAnswers<readonly string[]>;
  readonly #localUsers: RememberedAnswers<Principal>;
  readonly #tokenOwners: RememberedAnswers<TokenOwner | undefined>;
  readonly #serviceAccounts: RememberedAnswers<Principal | undefined>;

  constructor(store: ObjectStore, users: UserRecords, tokens: AccessTokens, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#users = users;
    this.#tokens = tokens;
    this.#now = now;
    const whileUnchanged =
      (...resources: readonly string[]) =>
      () =>
        store.lastChangeOf(resources);
    const whileGroupsUnchanged = whileUnchanged(groupsResource, identitiesResource);
    this.#groups = new RememberedAnswers(whileGroupsUnchanged);
    this.#localUsers = new RememberedAnswers(whileGroupsUnchanged);
    this.#tokenOwners = new RememberedAnswers(whileUnchanged(accessTokensResource, usersResource));
    this.#serviceAccounts = new RememberedAnswers(whileUnchanged(serviceAccountsResource, secretsResource));
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

  /** A local user who has shown the password. @param record as it is now */
  ofLocalUser({ name, role, passwordHash }: UserRecord): Promise<Principal> {
    const stamp = passwordStamp({ passwordHash });
    return this.#localUsers.get(JSON.stringify([name, role, stamp]), async () => ({
      kind: 'user',
      name,
      groups: [...(role === 'admin' ? [mastersGroup] : []), ...(await this.#groupsOf(name)), authenticatedGroup],
      basis: { kind: 'password', user: name, stamp },
    }));
  }

  async #ofAccessToken(basis: AccessTokenBasis): Promise<Principal | undefined> {
    const owner = await this.#ownerOf(basis);
    if (owner === undefined) return undefined;
    const { name, uid, isLocal } = owner;
    // Local users are no objects whose changes have a version, so their rows are looked at each time.
    const record = await this.#users.findUser(name);
    // A local user who was removed has nobody left who could log in.
    if (record === undefined && isLocal && owner.hasNoOtherIdentity) return undefined;
    // Nor does somebody of the same name who came later get what was another's.
    if (record !== undefined && isLocal && (await this.#isOlderThanUser(owner))) return undefined;
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

  async #ownerOf({ name }: AccessTokenBasis): Promise<TokenOwner | undefined> {
    const known = await this.#tokenOwners.get(name, () => this.#findOwner(name));
    // To expire is no change: about then, the store is asked each time whether the token still counts.
    return known === undefined || this.#now().getTime() < known.expiresAtMs ? known : this.#findOwner(name);
  }

  async #findOwner(tokenName: string): Promise<TokenOwner | undefined> {
    const token = await this.#tokens.find(tokenName);
    if (token === undefined) return undefined;
    const { userName: name, userUID: uid } = token;
    const user = (await this.#store.find({ resource: usersResource, namespace: '', name })) as UserObject | undefined;
    if (user?.metadata.uid !== uid) return undefined;
    const identities = user.identities ?? [];
    const isLocal = identities.includes(`${localProvider}:${name}`);
    const issuedAtMs = Date.parse(token.metadata.creationTimestamp);
    return {
      name,
      uid,
      isLocal,
      hasNoOtherIdentity: identities.length === 1,
      issuedAtMs,
      expiresAtMs: issuedAtMs + token.expiresIn * 1000,
    };
  }

  /** Whether a token was given before the local user of its name was made. */
  async #isOlderThanUser({ name, issuedAtMs }: TokenOwner): Promise<boolean> {
    const made = await this.#users.findCreationTime(name);
    return made !== undefined && issuedAtMs < Math.floor(made.getTime() / 1000) * 1000;
  }

  #ofServiceAccount(basis: ServiceAccountBasis): Promise<Principal | undefined> {
    const { namespace, name, uid, secret } = basis;
    const key = JSON.stringify([namespace, name, uid, ...(secret === undefined ? [] : [secret.name, secret.uid])]);
    return this.#serviceAccounts.get(key, () => this.#findServiceAccount(basis));
  }

  async #findServiceAccount(basis: ServiceAccountBasis): Promise<Principal | undefined> {
    const { namespace, name, uid, secret } = basis;
    const account = await this.#store.find({ resource: serviceAccountsResource, namespace, name });
    if (account?.metadata.uid !== uid) return undefined;
    if (secret !== undefined) {
      const bound = await this.#store.find({ resource: secretsResource, namespace, name: secret.name });
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
  #groupsOf(user: string): Promise<readonly string[]> {
    return this.#groups.get(user, () => this.#findGroups(user));
  }

  async #findGroups(user: string): Promise<readonly string[]> {
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
