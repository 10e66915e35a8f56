import type { ApiObject, ObjectKey, ObjectTraits } from '../metadata/object-store.js';
import type { SealedText, SecretBox } from './secret-box.js';

/** core/v1 Secret. */
export interface Secret extends ApiObject {
  readonly type: string;
  /** Base64 by key. */
  readonly data?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

/** The types of secrets that have rules (core/v1 SecretType). */
export const secretTypes = {
  opaque: 'Opaque',
  serviceAccountToken: 'kubernetes.io/service-account-token',
  dockercfg: 'kubernetes.io/dockercfg',
  dockerConfigJson: 'kubernetes.io/dockerconfigjson',
  basicAuth: 'kubernetes.io/basic-auth',
  sshAuth: 'kubernetes.io/ssh-auth',
  tls: 'kubernetes.io/tls',
} as const;

/** How the secret of a service account says which one (core/v1, ServiceAccountNameKey and ServiceAccountUIDKey). */
export const accountAnnotations = {
  name: 'kubernetes.io/service-account.name',
  uid: 'kubernetes.io/service-account.uid',
} as const;

/** The resource of secrets in the object store. */
export const secretsResource = 'secrets';

/** Lists all secrets that hold a token of a service account. */
export const accountSecretsLookup = 'service-account';

/** Lists those of one service account of their namespace. */
export function accountLookup(account: string): string {
  return `service-account:${account}`;
}

/** Where a secret is. */
export function secretKey(namespace: string, name: string): ObjectKey {
  return { resource: secretsResource, namespace, name };
}

interface StoredSecret extends ApiObject {
  /** The data, encrypted. */
  readonly sealed?: SealedText;
}

/** As it is stored: whoever reads the database, or a copy of it, learns only names and type. */
export function sealSecret(box: SecretBox, object: ApiObject): ApiObject {
  const { data, ...secret } = object as Secret;
  if (data === undefined) return secret;
  return { ...secret, sealed: box.seal(JSON.stringify(data), placeOf(object)) };
}

/** As clients know it. */
export function openSecret(box: SecretBox, object: ApiObject): Secret {
  const { sealed, ...fields } = object as StoredSecret;
  const secret = fields as Secret;
  if (sealed === undefined) return secret;
  return { ...secret, data: JSON.parse(box.open(sealed, placeOf(object))) as Record<string, string> };
}

/** Whether nothing of it is encrypted with an earlier key. */
export function isSealedAnew(box: SecretBox, object: ApiObject): boolean {
  const { sealed } = object as StoredSecret;
  return sealed === undefined || box.isPresent(sealed);
}

/** The same data under another name, or of an object that was made anew, is not what was sealed. */
function placeOf({ metadata: { namespace = '', name, uid } }: ApiObject): string {
  return `secret ${namespace}/${name}/${uid}`;
}

/** What is kept beside a secret. */
export function secretTraits(object: ApiObject): ObjectTraits {
  const account = accountOf(object);
  return account === undefined ? {} : { lookups: [accountSecretsLookup, accountLookup(account.name)] };
}

/** The service account whose token is in a secret; undefined when it is another kind of secret. */
export function accountOf(object: ApiObject): { readonly name: string; readonly uid: string | undefined } | undefined {
  const { type } = object as Secret;
  if (type !== secretTypes.serviceAccountToken && type !== secretTypes.dockercfg) return undefined;
  const annotations = object.metadata.annotations ?? {};
  const name = annotations[accountAnnotations.name];
  return name === undefined || name === '' ? undefined : { name, uid: annotations[accountAnnotations.uid] };
}
