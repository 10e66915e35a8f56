import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { checkMaySendCredentials, type Connection } from './api-client.js';
import { ClientError } from './client-error.js';
import { sendRequest, type PlainAnswer } from './json-request.js';
import { plainText } from './plain-text.js';

/** The client of `oc login -u`, which is asked for a password with a challenge. */
const clientId = 'openshift-challenging-client';

const tokenSchema = z.object({ access_token: z.string().min(1) });
const errorSchema = z.object({ error: z.string(), error_description: z.string().nullish() });

/** Somebody with a password. */
export interface PasswordLogin {
  readonly name: string;
  readonly password: string;
}

/**
 * An API token for a password, by the flow of `oc login -u` (RFC 6749, section 4.1, with the PKCE of RFC 7636). The
 * password is sent to nobody but the server that was named, and only once that has asked for one.
 *
 * @throws {ClientError} when the password is wrong, or the server is none that gives tokens for passwords
 */
export async function logInWithPassword(
  { server, trust }: Omit<Connection, 'token'>,
  { name, password }: PasswordLogin,
): Promise<string> {
  checkMaySendCredentials(server);
  if (name === '' || name.includes(':')) throw new ClientError('a user name is not empty and has no colon in it');
  const verifier = randomBytes(32).toString('base64url');
  const url = new URL('/oauth/authorize', server);
  url.search = new URLSearchParams({
    client_id: clientId,
    response_type: 'code',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString();
  const authorize = (authorization: Readonly<Record<string, string>>): Promise<PlainAnswer> =>
    sendRequest({
      method: 'GET',
      url,
      trust,
      // Only programs send it; without, a server shows a page to log in on.
      headers: { Accept: 'application/json', 'X-CSRF-Token': '1', ...authorization },
    });

  const challenge = await authorize({});
  if (challenge.status !== 401 || !/^basic\b/i.test(challenge.headers['www-authenticate'] ?? '')) {
    throw new ClientError(`${server.host} does not ask for a password; is this the address of a Weir server?`);
  }
  const answer = await authorize({ Authorization: basic(name, password) });
  if (answer.status === 401) {
    throw new ClientError(`${server.host} does not let ${name} in: the user name or the password is wrong`, {
      status: 401,
    });
  }
  if (answer.status !== 302) throw refused(server, answer);
  return redeem({ server, trust }, { code: codeOf(server, answer), verifier });
}

async function redeem(
  { server, trust }: Omit<Connection, 'token'>,
  { code, verifier }: { readonly code: string; readonly verifier: string },
): Promise<string> {
  const answer = await sendRequest({
    method: 'POST',
    url: new URL('/oauth/token', server),
    trust,
    headers: {
      Accept: 'application/json',
      'Content-Type': 'application/x-www-form-urlencoded',
      Authorization: basic(clientId, ''),
    },
    body: new URLSearchParams({ grant_type: 'authorization_code', code, code_verifier: verifier }).toString(),
  });
  if (answer.status !== 200) throw refused(server, answer);
  const token = tokenSchema.safeParse(parseJson(answer.text));
  if (!token.success) throw new ClientError(`${server.host} gives no token, though it took the password`);
  return token.data.access_token;
}

function codeOf(server: URL, { headers }: PlainAnswer): string {
  const location = headers.location ?? '';
  const query = URL.canParse(location, server.origin) ? new URL(location, server).searchParams : new URLSearchParams();
  const code = query.get('code');
  if (code !== null && code !== '') return code;
  const why = query.get('error_description') ?? query.get('error') ?? 'it does not say why';
  throw new ClientError(`${server.host} does not let you in: ${plainText(why).slice(0, 500)}`);
}

function refused(server: URL, answer: PlainAnswer): ClientError {
  const said = errorSchema.safeParse(parseJson(answer.text)).data;
  const why = said === undefined ? `it answers ${answer.status}` : (said.error_description ?? said.error);
  return new ClientError(`${server.host} does not let you in: ${plainText(why).slice(0, 500)}`, {
    status: answer.status,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}
