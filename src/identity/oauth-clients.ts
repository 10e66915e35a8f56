import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { timestamp } from '../kube/object-meta.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';

/** OAuth clients as the object store names them. */
export const oauthClientsResource = 'oauthclients.oauth.openshift.io';

/** What `oc login` with a user name and a password calls itself. */
export const challengingClient = 'openshift-challenging-client';
/** Of tokens that people ask for with a browser, at `/oauth/token/request`. */
export const browserClient = 'openshift-browser-client';
/** What `oc login --web` calls itself. */
export const cliClient = 'openshift-cli-client';

/** Where a page stands for clients that take a code or a token out of an address themselves. */
export const implicitPath = '/oauth/token/implicit';

/** The only scope there is: everything the user may do. */
export const fullScope = 'user:full';

/** oauth.openshift.io OAuthClient. */
export interface OAuthClientObject extends ApiObject {
  /** Of a client that has a secret; nobody is shown it. */
  readonly secretHash?: string;
  /** Whether it gets a Basic challenge, and no page to log in. */
  readonly respondWithChallenges?: boolean;
  readonly redirectURIs?: readonly string[];
  readonly grantMethod?: 'auto' | 'prompt';
  readonly accessTokenMaxAgeSeconds?: number;
  readonly scopeRestrictions?: readonly { readonly literals?: readonly string[] }[];
}

type BuiltIn = Pick<OAuthClientObject, 'respondWithChallenges' | 'redirectURIs' | 'grantMethod'>;

const builtIn: Readonly<Record<string, BuiltIn>> = {
  [challengingClient]: { respondWithChallenges: true, redirectURIs: [implicitPath], grantMethod: 'auto' },
  [browserClient]: { redirectURIs: [implicitPath], grantMethod: 'auto' },
  [cliClient]: {
    redirectURIs: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
    grantMethod: 'auto',
  },
};

/** Makes the clients that `oc` takes for granted, as far as they are not there. */
export async function ensureOAuthClients(store: ObjectStore, now: Date = new Date()): Promise<void> {
  for (const [name, client] of Object.entries(builtIn)) {
    if ((await store.find({ resource: oauthClientsResource, namespace: '', name })) !== undefined) continue;
    const object = { metadata: { name, uid: randomUUID(), creationTimestamp: timestamp(now) }, ...client };
    // Refused when another process was faster.
    await store.commit([{ kind: 'create', resource: oauthClientsResource, object }]);
  }
}

/** Whether the client is for people of this server, who need not be told that it will act for them. */
export function isBuiltIn({ metadata }: OAuthClientObject): boolean {
  return Object.hasOwn(builtIn, metadata.name);
}

/**
 * Whether a client may be sent to an address: only one that is written exactly like one of its own (RFC 9700, section
 * 2.1). An entry that is a path is on this server. The command line client listens on whichever port is free on its
 * machine (RFC 8252, section 7.3).
 *
 * @param origin by which this server was called
 */
export function mayRedirect(client: OAuthClientObject, redirectUri: string, origin: string): boolean {
  const given = client.metadata.name === cliClient ? withoutLoopbackPort(redirectUri) : redirectUri;
  return redirectUrisOf(client, origin).includes(given);
}

/** The addresses a client may be sent to, in full. */
export function redirectUrisOf({ redirectURIs = [] }: OAuthClientObject, origin: string): readonly string[] {
  return redirectURIs.map((uri) => (uri.startsWith('/') ? origin + uri : uri));
}

function withoutLoopbackPort(uri: string): string {
  const [, host, port, path] =
    /^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost)):([1-9]\d{0,4})(\/[\w/]*)$/.exec(uri) ?? [];
  return host !== undefined && Number(port) <= 65_535 ? `${host}${path}` : uri;
}

/** What is wrong with an address that a client wants to be sent to; undefined when nothing is. */
export function wrongRedirectUri(uri: string): string | undefined {
  if (/^\/[\w.-]+(\/[\w.-]+)*$/.test(uri) && !/\/\.\.?(\/|$)/.test(uri)) return undefined;
  // A URL is written with printable ASCII (RFC 3986, section 2); browsers take a backslash for a slash.
  if (!/^[!-~]+$/.test(uri) || /[\\"<>^`{|}]/.test(uri) || !URL.canParse(uri)) {
    return 'must be an absolute URL, or a path on this server';
  }
  if (uri.includes('#')) return 'may not have a fragment (RFC 6749, section 3.1.2)';
  const { protocol, username, password } = new URL(uri);
  if (username !== '' || password !== '' || /^https?:\/\/[^/?]*@/i.test(uri)) return 'may not have a user name';
  if (protocol === 'http:' || protocol === 'https:') {
    return /^https?:\/\/[^/]/.test(uri) ? undefined : 'must be written with two slashes';
  }
  // Schemes of an app's own are names of a domain turned round (RFC 8252, section 7.1); others may run a script.
  return /^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:$/.test(protocol) ? undefined : 'must be of scheme https or http';
}

/** Secrets are random, so a fast hash is enough for them; shorter ones could be guessed. */
export const minSecretLength = 16;

/** What is stored of a client's secret. */
export function hashClientSecret(secret: string, salt = randomBytes(16).toString('base64url')): string {
  const digest = createHash('sha256').update(`${salt}\0${secret}`).digest('base64url');
  return `sha256:${salt}:${digest}`;
}

/** Whether somebody who calls themselves by the name of a client is it; one without a secret shows none. */
export function isClientSecret({ secretHash }: OAuthClientObject, secret: string): boolean {
  if (secretHash === undefined) return secret === '';
  const [, salt = ''] = secretHash.split(':');
  const given = Buffer.from(hashClientSecret(secret, salt));
  const kept = Buffer.from(secretHash);
  return given.length === kept.length && timingSafeEqual(given, kept);
}
