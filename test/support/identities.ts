import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { AccessTokens } from '../../src/auth/access-tokens.js';
import { SigningKeys, type SigningPurpose } from '../../src/auth/signing-keys.js';
import { KyselyKeyRecords } from '../../src/metadata/kysely-key-records.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { openSecretBox } from '../../src/secret-keys.js';
import type { Credentials, TestRegistry } from './registry.js';

/** A ClusterRole that somebody is given; everywhere when it names no namespace. */
export interface Grant {
  readonly role: string;
  readonly namespace?: string;
}

/** Adds a user with a password; without a grant, somebody who may log in and no more. */
export async function addPerson(registry: TestRegistry, name: string, grant?: Grant): Promise<Credentials> {
  const person: Credentials = { name, password: `${name}-secret` };
  await registry.addUser({ ...person, role: 'user' });
  if (grant !== undefined) await registry.bind(name, grant.role, grant.namespace);
  return person;
}

/** authentication.k8s.io TokenRequestSpec. */
export interface TokenRequestSpec {
  readonly audiences?: readonly string[];
  readonly expirationSeconds?: number;
}

/** A token of a service account, asked for through the API as its admin would. */
export async function serviceAccountToken(
  registry: TestRegistry,
  namespace: string,
  name: string,
  spec: TokenRequestSpec = {},
): Promise<string> {
  const response = await registry.api(`/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
    method: 'POST',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec },
  });
  if (response.status !== 201) throw new Error(`no token: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { readonly status: { readonly token: string } }).status.token;
}

/** An API token as a login gives it. @param lifetimeSeconds below 0 for one that has expired */
export async function apiTokenFor(registry: TestRegistry, who: Credentials, lifetimeSeconds: number): Promise<string> {
  const response = await registry.api('/apis/user.openshift.io/v1/users/~', { as: who });
  const { metadata } = (await response.json()) as { readonly metadata: { readonly uid: string } };
  const { token } = await new AccessTokens(new KyselyObjectStore(await registry.openDatabase())).issue({
    user: { name: who.name, uid: metadata.uid },
    clientName: 'openshift-challenging-client',
    scopes: ['user:full'],
    lifetimeSeconds,
  });
  return token;
}

/** The key that a registry signs with now. */
export async function currentKeyOf(
  registry: TestRegistry,
  purpose: SigningPurpose,
): Promise<{ readonly id: string; readonly key: CryptoKey }> {
  const records = new KyselyKeyRecords(await registry.openDatabase(), await openSecretBox(registry.config));
  return (await SigningKeys.open(records, purpose)).current();
}

/** All that a signed token says, signed anew by the registry's own key. @param expiresIn seconds from now */
export async function signedAgain(registry: TestRegistry, token: string, expiresIn: number): Promise<string> {
  const { kid } = decodeProtectedHeader(token);
  for (const purpose of ['registry-tokens', 'service-account-tokens'] as const) {
    const { id, key } = await currentKeyOf(registry, purpose);
    if (id === kid) return signLike(token, key, expiresIn);
  }
  throw new Error('the token was not signed by the registry');
}

/** All that a signed token says, under the name of the registry's key, signed by another. */
export async function forged(token: string): Promise<string> {
  const { privateKey } = await generateKeyPair('ES256');
  return signLike(token, privateKey, 300);
}

function signLike(token: string, key: CryptoKey, expiresIn: number): Promise<string> {
  const { kid } = decodeProtectedHeader(token);
  const exp = Math.floor(Date.now() / 1000) + expiresIn;
  return new SignJWT({ ...decodeJwt(token), iat: exp - 600, nbf: exp - 600, exp })
    .setProtectedHeader({ alg: 'ES256', kid: kid!, typ: 'JWT' })
    .sign(key);
}
