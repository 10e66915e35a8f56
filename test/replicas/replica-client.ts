import { NoAnswerError, RegistryClient, type Answer, type Call } from '../faults/registry-client.js';
import { password } from '../faults/registry-process.js';

/**
 * A client of a registry that is being disturbed: whoever is told of a failure of the server's (5xx) knows as little as who is
 * told nothing, and takes it for the same.
 */
export class UncertainClient extends RegistryClient {
  /** How many requests had no answer that says what was done. */
  unknown = 0;
  requests = 0;

  override async send(method: string, target: string, call?: Call): Promise<Answer> {
    this.requests += 1;
    try {
      const answer = await super.send(method, target, call);
      if (answer.status < 500) return answer;
      throw new NoAnswerError(`${method} ${target}: ${answer.status} ${answer.body.toString('utf8').slice(0, 300)}`);
    } catch (error) {
      if (error instanceof NoAnswerError) this.unknown += 1;
      throw error;
    }
  }
}

/** A token of the admin for `/apis` (RFC 6749 section 4.2, "Implicit Grant"). @throws {Error} when the login is refused */
export async function fetchToken(url: string): Promise<string> {
  const query = new URLSearchParams({ client_id: 'openshift-challenging-client', response_type: 'token' });
  const { status, headers } = await fetch(`${url}/oauth/authorize?${query.toString()}`, {
    redirect: 'manual',
    // Without the second header no client is challenged.
    headers: { authorization: `Basic ${btoa(`admin:${password}`)}`, 'x-csrf-token': '1' },
  });
  const location = headers.get('location') ?? '';
  const token = new URLSearchParams(URL.canParse(location, url) ? new URL(location, url).hash.slice(1) : '');
  const found = token.get('access_token');
  if (found === null) throw new Error(`the login was answered with ${status}, Location: ${location}`);
  return found;
}

/** An object of `/apis`, as JSON. @throws {Error} when the status is not 2xx, or not 404 when that is allowed */
export async function fetchApi<Body>(
  { url, token }: { readonly url: string; readonly token: string },
  path: string,
  body?: object,
): Promise<Body> {
  const response = await fetch(url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Body;
}
