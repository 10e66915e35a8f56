import { request } from 'node:https';
import type { Weir } from './weir.js';

/** A user who can log in with a password. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/**
 * An API token for a user, had as command line clients before PKCE had it (RFC 6749 section 4.2, "Implicit Grant"): the
 * password goes in answer to a challenge, and the token comes in the fragment of a redirection.
 *
 * @throws {Error} when the login is refused
 */
export async function fetchApiToken(weir: Weir, { username, password }: Login = weir): Promise<string> {
  const query = new URLSearchParams({ client_id: 'openshift-challenging-client', response_type: 'token' });
  const { status, location } = await authorize(weir, `/oauth/authorize?${query.toString()}`, `${username}:${password}`);
  const fragment = new URLSearchParams(new URL(location ?? '', weir.url).hash.slice(1));
  const token = fragment.get('access_token');
  if (status === 302 && token !== null) return token;
  throw new Error(`login of ${username}: ${status}, Location: ${location ?? '(none)'}`);
}

/** With node:https and not `fetch`, which cannot be told which certificate authority to trust. */
function authorize(
  weir: Weir,
  target: string,
  auth: string,
): Promise<{ readonly status: number; readonly location: string | undefined }> {
  return new Promise((resolve, reject) => {
    // Without this header no client is challenged, lest a browser shows its own dialogue for passwords.
    const headers = { 'x-csrf-token': '1' };
    const outgoing = request(weir.url + target, { ca: weir.caCertificate, auth, headers }, (response) => {
      response.resume();
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, location: response.headers.location });
      });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
