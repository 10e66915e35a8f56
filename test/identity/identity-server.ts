import { createServer, type Server } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Router from '@koa/router';
import bcrypt from 'bcrypt';
import Koa from 'koa';
import { ensureDefaultPolicy } from '../../src/access/default-policy.js';
import { AccessTokens } from '../../src/auth/access-tokens.js';
import { Authenticator } from '../../src/auth/authenticate.js';
import { Identities } from '../../src/auth/identities.js';
import { PasswordChecker } from '../../src/auth/passwords.js';
import { AccessPolicy } from '../../src/auth/policy.js';
import { ServiceAccountTokens } from '../../src/auth/service-account-tokens.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { ensureOAuthClients } from '../../src/identity/oauth-clients.js';
import { identityRoutes, type IdentityRoutesOptions } from '../../src/identity/oauth-routes.js';
import { oauthResources } from '../../src/identity/oauth-resources.js';
import { trustRuleResource } from '../../src/identity/trust-rules.js';
import { userResources } from '../../src/identity/user-resources.js';
import { apiRoutes } from '../../src/kube/routes.js';
import { ChangeFeed } from '../../src/kube/watch.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { ApiObject } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';

/** A clock that tests move. */
export class TestClock {
  #ms = Date.parse('2026-03-01T12:00:00Z');
  readonly now = (): Date => new Date(this.#ms);

  advance(seconds: number): void {
    this.#ms += seconds * 1000;
  }
}

/** What a test of logging in talks to: the OAuth server and the API resources of this folder, over SQLite. */
export class IdentityServer {
  readonly clock = new TestClock();
  readonly #folder: string;
  readonly #db: Database;
  readonly #server: Server;
  readonly #stopping = new AbortController();
  readonly store: KyselyObjectStore;
  readonly records: KyselyUserRecords;
  readonly accessTokens: AccessTokens;
  readonly identities: Identities;

  private constructor(folder: string, db: Database, server: Server) {
    this.#folder = folder;
    this.#db = db;
    this.#server = server;
    this.store = new KyselyObjectStore(db, this.clock.now);
    this.records = new KyselyUserRecords(db, this.clock.now);
    this.accessTokens = new AccessTokens(this.store, this.clock.now);
    this.identities = new Identities(this.store, this.records, this.accessTokens);
  }

  /** Starts one, with admin `root` and user `dev`, whose password is `secret`. */
  static async start(options: Partial<IdentityRoutesOptions> = {}): Promise<IdentityServer> {
    const folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    const db = await openSqlite(join(folder, 'weir.sqlite'));
    const server = new IdentityServer(folder, db, createServer());
    await server.#serve(options);
    await server.addUser('root', 'admin');
    await server.addUser('dev', 'user');
    return server;
  }

  async #serve(options: Partial<IdentityRoutesOptions>): Promise<void> {
    const keys = await SigningKeys.open(new MemoryKeyRecords(), 'registry-tokens');
    const passwords = new PasswordChecker(this.records);
    const authenticator = new Authenticator({
      passwords,
      registryTokens: new RegistryTokens(keys, 300),
      serviceAccountTokens: new ServiceAccountTokens(keys),
      identities: this.identities,
    });
    const policy = new AccessPolicy(this.store);
    await ensureDefaultPolicy(this.store, this.clock.now);
    await ensureOAuthClients(this.store, this.clock.now());
    const router = new Router({ sensitive: true });
    identityRoutes(router, {
      store: this.store,
      records: this.records,
      passwords,
      accessTokens: this.accessTokens,
      publicUrl: undefined,
      accessTokenSeconds: 86_400,
      now: this.clock.now,
      ...options,
    });
    const koa = new Koa();
    koa.silent = true;
    koa.use(
      apiRoutes({
        resources: [
          ...userResources(this.store, this.records),
          ...oauthResources(this.store),
          trustRuleResource(this.store),
        ],
        access: {
          authenticate: (authorization) => authenticator.authenticateApi(authorization),
          allows: (principal, request) => policy.allows(principal, request),
        },
        feed: new ChangeFeed(this.store, this.#stopping.signal),
        publicUrl: undefined,
        version: '0.0.0',
        stopping: this.#stopping.signal,
        now: this.clock.now,
      }),
    );
    koa.use(router.routes());
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- Koa's handler never rejects
    this.#server.on('request', koa.callback());
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  /** Without a slash at its end. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#db.destroy();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** A local user whose password is `secret`. */
  async addUser(name: string, role: 'admin' | 'user'): Promise<void> {
    await this.records.putUser({ name, passwordHash: await bcrypt.hash('secret', 4), role });
  }

  /** Never follows a redirection. @param path below the server's address */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, { redirect: 'manual', ...init });
  }

  /** Logs in as `oc` did before it knew codes. @returns an access token */
  async login(name: string): Promise<string> {
    const response = await this.fetch('/oauth/authorize?client_id=openshift-challenging-client&response_type=token', {
      headers: { 'X-CSRF-Token': '1', Authorization: basic(name, 'secret') },
    });
    const location = new URL(response.headers.get('Location') ?? 'none:');
    return new URLSearchParams(location.hash.slice(1)).get('access_token') ?? '';
  }

  /** A request to the API. @param token of whom; nobody when left out */
  async api(method: string, path: string, { token, body }: { token?: string; body?: object } = {}): Promise<ApiAnswer> {
    const response = await this.fetch(path, {
      method,
      headers: {
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(body !== undefined && {
          'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
        }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as ApiObject & Record<string, unknown> };
  }
}

/** What the API said. */
export interface ApiAnswer {
  readonly status: number;
  readonly body: ApiObject & Record<string, unknown>;
}

/** RFC 7617. */
export function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

export const USR = '/apis/user.openshift.io/v1';
export const OAU = '/apis/oauth.openshift.io/v1';
