import { randomUUID } from 'node:crypto';
import { decodeJwt } from 'jose';
import type { ServiceAccountTokens } from '../auth/service-account-tokens.js';
import { generatedName, timestamp } from '../kube/object-meta.js';
import {
  allObjects,
  type ApiObject,
  type ObjectKey,
  type ObjectStore,
  type ObjectWrite,
} from '../metadata/object-store.js';
import type { SecretBox } from './secret-box.js';
import {
  accountAnnotations,
  accountLookup,
  accountOf,
  accountSecretsLookup,
  openSecret,
  sealSecret,
  secretKey,
  secretsResource,
  secretTraits,
  secretTypes,
  type Secret,
} from './secret-object.js';

/** core/v1 ServiceAccount. */
export interface ServiceAccount extends ApiObject {
  readonly secrets?: readonly { readonly name?: string }[];
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly automountServiceAccountToken?: boolean;
}

/** The resource of service accounts in the object store. */
export const serviceAccountsResource = 'serviceaccounts';

/** Where a service account is. */
export function serviceAccountKey(namespace: string, name: string): ObjectKey {
  return { resource: serviceAccountsResource, namespace, name };
}

/** A service account as it begins. */
export function newServiceAccount(namespace: string, name: string, now: Date): ServiceAccount {
  return { metadata: { name, namespace, uid: randomUUID(), creationTimestamp: timestamp(now) } };
}

/** What the secrets of service accounts are made of. */
export interface ServiceAccountSecretsOptions {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly tokens: Pick<ServiceAccountTokens, 'issue'>;
  /**
   * Hosts by which clients know the registry, with the port where it is not 443. Without any, no docker credentials are
   * generated: nobody could say for which host they are.
   */
  readonly registryHosts: readonly string[];
  readonly now?: () => Date;
}

/** On a service account: the secret with its docker credentials. On that secret: whose it is, and that its token goes with it. */
const pullSecretAnnotation = 'openshift.io/internal-registry-pull-secret-ref';
const credentialsAnnotations = {
  account: 'openshift.io/internal-registry-auth-token.service-account',
  binding: 'openshift.io/internal-registry-auth-token.binding',
} as const;

/** OpenShift's own, which says that the password is a token. */
const dockerUser = '<token>';
const dockerEmail = 'serviceaccount@example.org';

const dockerLifetimeSeconds = 30 * 24 * 3600;
const refreshAt = 0.4;
/** Tokens in secrets do not expire in Kubernetes; ours end with the secret, or after ten years. */
const secretLifetimeSeconds = 10 * 365 * 24 * 3600;

/**
 * The secrets that hold tokens of service accounts: those that users ask for, and the docker credentials that every
 * service account has (OpenShift, "Automatically generated image pull secrets").
 */
export class ServiceAccountSecrets {
  readonly #store: ObjectStore;
  readonly #box: SecretBox;
  readonly #tokens: Pick<ServiceAccountTokens, 'issue'>;
  readonly #hosts: readonly string[];
  readonly #now: () => Date;

  constructor({ store, box, tokens, registryHosts, now = () => new Date() }: ServiceAccountSecretsOptions) {
    this.#store = store;
    this.#box = box;
    this.#tokens = tokens;
    this.#hosts = [...new Set(registryHosts)].sort();
    this.#now = now;
  }

  /** What makes a new service account, with its docker credentials. */
  async accountWrites(account: ServiceAccount): Promise<readonly ObjectWrite[]> {
    const object = this.withPullSecret(account);
    return [{ kind: 'create', resource: serviceAccountsResource, object }, ...(await this.secretWrites(object))];
  }

  /** A service account that names the secret which {@link secretWrites} makes, in the place of one it named before. */
  withPullSecret(account: ServiceAccount): ServiceAccount {
    if (this.#hosts.length === 0) return account;
    const { metadata, secrets = [], imagePullSecrets = [] } = account;
    const before = metadata.annotations?.[pullSecretAnnotation];
    const name = generatedName(`${metadata.name}-dockercfg-`);
    const isOther = (reference: { readonly name?: string }) => reference.name !== before;
    return {
      ...account,
      metadata: { ...metadata, annotations: { ...metadata.annotations, [pullSecretAnnotation]: name } },
      secrets: [...secrets.filter(isOther), { name }],
      imagePullSecrets: [...imagePullSecrets.filter(isOther), { name }],
    };
  }

  /** What makes the docker credentials that a service account names. */
  async secretWrites({ metadata }: ApiObject): Promise<readonly ObjectWrite[]> {
    const name = metadata.annotations?.[pullSecretAnnotation];
    if (this.#hosts.length === 0 || name === undefined) return [];
    const secret = await this.#withDockerCredentials({
      metadata: {
        name,
        namespace: metadata.namespace!,
        uid: randomUUID(),
        creationTimestamp: timestamp(this.#now()),
        annotations: {
          [accountAnnotations.name]: metadata.name,
          [accountAnnotations.uid]: metadata.uid,
          [credentialsAnnotations.account]: metadata.name,
          [credentialsAnnotations.binding]: 'bound',
        },
      },
      type: secretTypes.dockercfg,
    });
    return [
      { kind: 'create', resource: secretsResource, object: sealSecret(this.#box, secret), ...secretTraits(secret) },
    ];
  }

  /**
   * A token secret with the token of the service account that its annotation names.
   *
   * @returns the path of the annotation when there is no such service account
   */
  async withToken(namespace: string, secret: Secret): Promise<Secret | string> {
    const wanted = accountOf(secret);
    if (wanted === undefined) return secret;
    const account = await this.#store.find(serviceAccountKey(namespace, wanted.name));
    if (account === undefined) return `metadata.annotations[${accountAnnotations.name}]`;
    const { uid } = account.metadata;
    if ((wanted.uid ?? uid) !== uid) return `metadata.annotations[${accountAnnotations.uid}]`;
    const { metadata } = secret;
    const { token } = await this.#tokens.issue({
      namespace,
      name: wanted.name,
      uid,
      lifetimeSeconds: secretLifetimeSeconds,
      secret: { name: metadata.name, uid: metadata.uid },
    });
    const own = { token: base64(token), namespace: base64(namespace) };
    return {
      ...secret,
      metadata: { ...metadata, annotations: { ...metadata.annotations, [accountAnnotations.uid]: uid } },
      data: { ...secret.data, ...own },
    };
  }

  /** Removes the secrets of a service account that is gone. */
  async removeSecretsOf({ metadata }: ApiObject): Promise<void> {
    const query = {
      resource: secretsResource,
      namespace: metadata.namespace!,
      lookup: accountLookup(metadata.name),
    };
    for await (const secret of allObjects(this.#store, query)) {
      if (accountOf(secret)?.uid === metadata.uid) await this.#removeSecret(secret);
    }
  }

  /**
   * Gives docker credentials to service accounts that have none, renews those that were used up to the last 40 % of their
   * time or are for other hosts, and removes secrets of service accounts that are gone.
   *
   * @param signal ends the run between two steps
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#hosts.length > 0) {
      for await (const account of allObjects(this.#store, { resource: serviceAccountsResource })) {
        if (signal.aborted) return;
        await this.#renew(account);
      }
    }
    for await (const secret of allObjects(this.#store, { resource: secretsResource, lookup: accountSecretsLookup })) {
      if (signal.aborted) return;
      if (await this.#isForgotten(secret)) await this.#removeSecret(secret);
    }
  }

  async #renew(account: ServiceAccount): Promise<void> {
    const { namespace = '', annotations, uid } = account.metadata;
    const name = annotations?.[pullSecretAnnotation];
    const stored = name === undefined ? undefined : await this.#store.find(secretKey(namespace, name));
    if (stored === undefined || !isCredentialsOf(stored, uid)) {
      const object = this.withPullSecret(account);
      // Whoever came in between has the account changed, or its namespace deleted: the next run looks again.
      await this.#store.commit([
        { kind: 'replace', resource: serviceAccountsResource, object },
        ...(await this.secretWrites(object)),
      ]);
      return;
    }
    const secret = openSecret(this.#box, stored);
    if (secret.immutable === true || this.#isFresh(secret)) return;
    const renewed = await this.#withDockerCredentials(secret);
    await this.#store.commit([
      { kind: 'replace', resource: secretsResource, object: sealSecret(this.#box, renewed), ...secretTraits(renewed) },
    ]);
  }

  async #withDockerCredentials(secret: Secret): Promise<Secret> {
    const { metadata } = secret;
    const account = accountOf(secret)!;
    const { token } = await this.#tokens.issue({
      namespace: metadata.namespace!,
      name: account.name,
      uid: account.uid!,
      lifetimeSeconds: dockerLifetimeSeconds,
      secret: { name: metadata.name, uid: metadata.uid },
    });
    const auth = base64(`${dockerUser}:${token}`);
    const entry = { username: dockerUser, password: token, email: dockerEmail, auth };
    const config = Object.fromEntries(this.#hosts.map((host) => [host, entry]));
    return { ...secret, data: { '.dockercfg': base64(JSON.stringify(config)) } };
  }

  #isFresh({ data }: Secret): boolean {
    try {
      const text = Buffer.from(data?.['.dockercfg'] ?? '', 'base64').toString('utf8');
      const config = JSON.parse(text) as Readonly<Record<string, { readonly password: string }>>;
      if (Object.keys(config).sort().join() !== this.#hosts.join()) return false;
      const { iat, exp } = decodeJwt(Object.values(config)[0]!.password);
      const leftSeconds = exp! - this.#now().getTime() / 1000;
      return leftSeconds > (exp! - iat!) * refreshAt;
    } catch {
      // Somebody has written something else over it.
      return false;
    }
  }

  /** Its service account is not there, is another one of that name, or names other docker credentials. */
  async #isForgotten(secret: ApiObject): Promise<boolean> {
    const { name, namespace = '' } = secret.metadata;
    const of = accountOf(secret);
    // Without the uid it is a user's own dockercfg that was only annotated.
    if (of?.uid === undefined) return false;
    const account = await this.#store.find(serviceAccountKey(namespace, of.name));
    if (account?.metadata.uid !== of.uid) return true;
    return isCredentialsOf(secret, of.uid) && account.metadata.annotations?.[pullSecretAnnotation] !== name;
  }

  async #removeSecret({ metadata }: ApiObject): Promise<void> {
    await this.#store.commit([
      {
        kind: 'remove',
        ...secretKey(metadata.namespace ?? '', metadata.name),
        version: metadata.resourceVersion!,
        uid: metadata.uid,
      },
    ]);
  }
}

/** Whether a secret holds docker credentials that were generated for this service account. */
function isCredentialsOf(object: ApiObject, uid: string): boolean {
  const { type, metadata } = object as Secret;
  return (
    type === secretTypes.dockercfg &&
    metadata.annotations?.[credentialsAnnotations.account] !== undefined &&
    accountOf(object)?.uid === uid
  );
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
