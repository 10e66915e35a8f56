import { Agent, request } from 'undici';
import type { Login } from '../api-token.js';

/** Where a registry is, and what must be trusted of it. */
export interface RegistryAddress {
  readonly url: string;
  /** PEM; undefined for plain HTTP. */
  readonly caCertificate: string | undefined;
}

export interface Call {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Statuses that are no error; default 200. */
  readonly expected?: readonly number[];
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** One client of one registry: it authenticates as it is told to, and keeps its connections and tokens. */
export class RegistrySession {
  readonly #address: RegistryAddress;
  readonly #login: Login | undefined;
  readonly #agent: Agent;
  /** By the scope they are for. */
  readonly #tokens = new Map<string, string>();

  constructor(address: RegistryAddress, login?: Login) {
    this.#address = address;
    this.#login = login;
    this.#agent = new Agent({ connect: address.caCertificate === undefined ? {} : { ca: address.caCertificate } });
  }

  /**
   * @param target path and query, or a whole URL
   * @param scope what a token must be for, when the registry wants one: `repository:team/app:pull,push`
   * @throws {Error} when the answer has another status than those expected
   */
  async call(target: string, scope: string, { expected = [200], ...call }: Call = {}): Promise<Answer> {
    const url = new URL(target, this.#address.url);
    let answer = await this.#send(url, call, this.#authorization(scope));
    const challenge = answer.headers['www-authenticate'];
    if (answer.status === 401 && !expected.includes(401) && /^bearer /i.test(String(challenge))) {
      this.#tokens.set(scope, await this.#fetchToken(String(challenge), scope));
      answer = await this.#send(url, call, this.#authorization(scope));
    }
    if (expected.includes(answer.status)) return answer;
    throw new Error(`${call.method ?? 'GET'} ${url.href}: ${answer.status}, ${answer.body.toString('utf8')}`);
  }

  close(): Promise<void> {
    return this.#agent.close();
  }

  #authorization(scope: string): Record<string, string> {
    const token = this.#tokens.get(scope);
    return token === undefined ? this.#basic() : { authorization: `Bearer ${token}` };
  }

  #basic(): Record<string, string> {
    if (this.#login === undefined) return {};
    const { username, password } = this.#login;
    return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  }

  /** By the scope that is wanted and not the one of the challenge: a push wants to look, too. */
  async #fetchToken(challenge: string, scope: string): Promise<string> {
    const parameter = (name: string): string => new RegExp(`\\b${name}="([^"]*)"`).exec(challenge)?.[1] ?? '';
    const url = new URL(parameter('realm'));
    url.searchParams.set('service', parameter('service'));
    url.searchParams.set('scope', scope);
    const { status, body } = await this.#send(url, {}, this.#basic());
    if (status === 200) return (JSON.parse(body.toString('utf8')) as { token: string }).token;
    throw new Error(`${url.href}: ${status}, ${body.toString('utf8')}`);
  }

  async #send(url: URL, call: Call, authorization: Record<string, string>): Promise<Answer> {
    const { statusCode, headers, body } = await request(url, {
      dispatcher: this.#agent,
      method: call.method ?? 'GET',
      headers: { ...call.headers, ...authorization },
      body: call.body ?? null,
    });
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) };
  }
}
