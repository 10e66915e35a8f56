import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  identitiesResource,
  identityGroupsKey,
  localProvider,
  usersResource,
  type IdentityObject,
  type UserObject,
} from '../auth/identities.js';
import { timestamp } from '../kube/object-meta.js';
import type { ObjectStore, ObjectWrite } from '../metadata/object-store.js';
import type { UserRecords } from '../metadata/user-records.js';
import { identityName, isProvidedGroupName, isUserName, providerUserName } from './names.js';

/** Somebody whom a provider has vouched for. */
export interface LoginClaim {
  /** `local`, or the name of an identity provider. */
  readonly provider: string;
  /** What the provider calls them; it never changes, and never becomes somebody else's. */
  readonly subject: string;
  /** What they would be called here. */
  readonly preferredName: string;
  readonly fullName?: string;
  /** All the groups the provider has them in; none when left out. */
  readonly groups?: readonly string[];
}

/** Who somebody is here. */
export interface UserReference {
  readonly name: string;
  readonly uid: string;
}

/** Why somebody who is who they say cannot be let in; the message is for them. */
export class LoginRefusedError extends Error {
  override readonly name = 'LoginRefusedError';
}

const retries = 5;
/** OpenID Connect allows 255 (OpenID Connect Core 1.0, section 2). */
const maxSubjectLength = 1024;

/**
 * Finds the User of somebody, or makes it: whoever comes first has a name (OpenShift's mapping method `claim`). Groups
 * are those of this login: what the provider no longer says is gone.
 */
export class Logins {
  readonly #store: ObjectStore;
  readonly #records: UserRecords;
  readonly #now: () => Date;

  constructor(store: ObjectStore, records: UserRecords, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#records = records;
    this.#now = now;
  }

  /** @throws {LoginRefusedError} when the name is somebody else's, or is none */
  async completeLogin(claim: LoginClaim): Promise<UserReference> {
    if (claim.subject === '' || claim.subject.length > maxSubjectLength) {
      throw new LoginRefusedError('the identity provider calls you something that cannot be kept here');
    }
    for (let attempt = 1; ; attempt += 1) {
      const identity = await this.#findIdentity(claim);
      const user = (await this.#mappedUser(claim, identity)) ?? (await this.#claimedUser(claim));
      const writes = this.#writes(claim, { identity, user });
      const { name, uid } = writes.user.metadata;
      if (writes.list.length === 0) return { name, uid };
      const result = await this.#store.commit(writes.list);
      if (result.kind === 'committed') return { name, uid };
      // Somebody else wrote one of the two in between, perhaps the same person in another window.
      if (attempt >= retries) throw new Error(`a login could not be stored: ${result.reason}`);
    }
  }

  async #findIdentity({ provider, subject }: LoginClaim): Promise<IdentityObject | undefined> {
    const key = { resource: identitiesResource, namespace: '', name: identityName(provider, subject) };
    return (await this.#store.find(key)) as IdentityObject | undefined;
  }

  async #findUser(name: string): Promise<UserObject | undefined> {
    return await this.#store.find({ resource: usersResource, namespace: '', name });
  }

  /** The user whom the identity is already for; undefined when there is none, or no longer. */
  async #mappedUser(claim: LoginClaim, identity: IdentityObject | undefined): Promise<UserObject | undefined> {
    if (identity?.user === undefined) return undefined;
    const user = await this.#findUser(identity.user.name);
    if (user?.metadata.uid !== identity.user.uid) return undefined;
    const { name } = user.metadata;
    if (!(user.identities ?? []).includes(identity.metadata.name)) {
      throw new LoginRefusedError(`this login is no longer one of user ${JSON.stringify(name)}; ask an administrator`);
    }
    await this.#requireOpen(claim, user);
    return user;
  }

  /** The user of the preferred name, when it is there and nobody else's; undefined when it has to be made. */
  async #claimedUser(claim: LoginClaim): Promise<UserObject | undefined> {
    const { preferredName: name, provider, subject } = claim;
    if (!isUserName(name)) {
      throw new LoginRefusedError(
        `${JSON.stringify(name)} cannot be a user name here: no spaces, ":", "/" or "%", at most 128 characters`,
      );
    }
    const user = await this.#findUser(name);
    const identities = user?.identities ?? [];
    if (identities.length > 0 && !identities.includes(identityName(provider, subject))) throw nameTaken(name);
    if (provider !== localProvider && (await this.#records.findUser(name)) !== undefined) throw nameTaken(name);
    if (user !== undefined) await this.#requireOpen(claim, user);
    return user;
  }

  async #requireOpen({ provider }: LoginClaim, { metadata }: UserObject): Promise<void> {
    if (metadata.deletionTimestamp !== undefined) {
      throw new LoginRefusedError(`user ${JSON.stringify(metadata.name)} is being deleted`);
    }
    // Whoever was removed between the check of the password and now does not come back.
    if (provider === localProvider && (await this.#records.findUser(metadata.name)) === undefined) {
      throw new LoginRefusedError(`there is no user ${JSON.stringify(metadata.name)} any more`);
    }
  }

  #writes(
    claim: LoginClaim,
    { identity, user }: { readonly identity: IdentityObject | undefined; readonly user: UserObject | undefined },
  ): { readonly user: UserObject; readonly list: readonly ObjectWrite[] } {
    const name = identityName(claim.provider, claim.subject);
    const list: ObjectWrite[] = [];

    const wantedUser: UserObject = {
      ...(user ?? { metadata: this.#newMetadata(claim.preferredName), groups: [] }),
      identities: [...new Set([...(user?.identities ?? []), name])],
      // What an administrator has written stays.
      ...((user?.fullName ?? '') === '' && claim.fullName !== undefined && { fullName: claim.fullName }),
    };
    if (!isDeepStrictEqual(user, wantedUser)) {
      list.push({ kind: user === undefined ? 'create' : 'replace', resource: usersResource, object: wantedUser });
    }

    const groups = [...new Set(claim.groups ?? [])].filter(isProvidedGroupName).sort();
    const extra = Object.entries(identity?.extra ?? {}).filter(([key]) => key !== identityGroupsKey);
    if (groups.length > 0) extra.push([identityGroupsKey, JSON.stringify(groups)]);
    const wantedIdentity: IdentityObject = {
      ...(identity ?? { metadata: this.#newMetadata(name) }),
      providerName: claim.provider,
      providerUserName: providerUserName(claim.subject),
      user: { name: wantedUser.metadata.name, uid: wantedUser.metadata.uid },
      extra: Object.fromEntries(extra),
    };
    if (!isDeepStrictEqual(identity, wantedIdentity)) {
      list.push({
        kind: identity === undefined ? 'create' : 'replace',
        resource: identitiesResource,
        object: wantedIdentity,
        lookups: [wantedUser.metadata.name],
      });
    }
    return { user: wantedUser, list };
  }

  #newMetadata(name: string) {
    return { name, uid: randomUUID(), creationTimestamp: timestamp(this.#now()) };
  }
}

function nameTaken(name: string): LoginRefusedError {
  return new LoginRefusedError(`the user name ${JSON.stringify(name)} is somebody else's here; ask an administrator`);
}
