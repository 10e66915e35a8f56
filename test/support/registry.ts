import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { pino } from 'pino';
import { inject } from 'vitest';
import { loadConfig, type Config } from '../../src/config.js';
import type { BlobStore } from '../../src/blobstore/blob-store.js';
import { policyResources, subjectLookup } from '../../src/auth/policy.js';
import type { Subject } from '../../src/auth/subjects.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openBlobStore, openDatabase } from '../../src/registry-files.js';
import { startRegistry as serve, type RunningRegistry } from '../../src/serve.js';

/** A user name and its password. */
export interface Credentials {
  readonly name: string;
  readonly password: string;
}

/** Who sends a request: somebody by Basic, the bearer of a token, or nobody. */
export type Identity = Credentials | { readonly token: string } | 'nobody';

export const admin: Credentials = { name: 'admin', password: 'admin-secret' };
/** May pull, push and list in every project, make none, and delete nothing. */
export const user: Credentials = { name: 'user', password: 'user-secret' };

/** A request of `TestRegistry.fetch`; `as` is who sends it, the admin when left out. */
export type TestRequest = RequestInit & { readonly as?: Identity };

/** The `Authorization` header of somebody; undefined for nobody. */
export function authorizationOf(identity: Identity): string | undefined {
  if (identity === 'nobody') return undefined;
  if ('token' in identity) return `Bearer ${identity.token}`;
  return `Basic ${Buffer.from(`${identity.name}:${identity.password}`).toString('base64')}`;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of a PostgreSQL server on which registries of tests have databases of their own. */
    databaseServer: string;
  }
}

/** Settings for an empty database of the PostgreSQL server that the tests were given; none for SQLite. */
async function databaseOfServer(): Promise<Readonly<Record<string, string>>> {
  const server = inject('databaseServer') as string | undefined;
  if (server === undefined) return {};
  const { execute } = await import('./postgres.js');
  const url = new URL(server);
  url.pathname = `weir_${randomBytes(8).toString('hex')}`;
  await execute(server, `create database ${url.pathname.slice(1)} template template0`);
  return {
    WEIR_DATABASE_URL: url.href,
    WEIR_DATABASE_POOL_SIZE: '5',
    WEIR_SECRETS_KEYS: randomBytes(32).toString('base64'),
  };
}

/**
 * A registry inside the test process, over plain http on a free port, with a data folder of its own that goes when it
 * stops. Users `admin` and `user` are there.
 *
 * @param environment further settings, by the names of their variables (`WEIR_POLICY_SPARSE`)
 */
export async function startRegistry(environment: Readonly<Record<string, string>> = {}): Promise<TestRegistry> {
  const dataDir = await mkdtemp(join(tmpdir(), 'weir-test-'));
  const registry = new TestRegistry(dataDir, { ...(await databaseOfServer()), ...environment });
  await registry.start();
  await registry.addUser({ ...user, role: 'user' });
  await registry.bind(user.name, 'system:image-builder');
  await registry.bind(user.name, 'registry-viewer');
  return registry;
}

/** What `startRegistry` started. */
export class TestRegistry {
  readonly dataDir: string;
  readonly #environment: Readonly<Record<string, string>>;
  #config: Config | undefined;
  #running: RunningRegistry | undefined;
  #db: Promise<Database> | undefined;
  readonly #tokens = new Map<string, string>();

  constructor(dataDir: string, environment: Readonly<Record<string, string>>) {
    this.dataDir = dataDir;
    this.#environment = environment;
  }

  get config(): Config {
    return this.#config!;
  }

  get running(): RunningRegistry {
    return this.#running!;
  }

  /** Without a slash at its end; another one after each start. */
  get url(): string {
    return this.running.url;
  }

  async start(): Promise<void> {
    this.#config = loadConfig(
      { path: join(this.dataDir, 'weir.yaml'), required: false },
      {
        WEIR_LISTEN: '127.0.0.1:0',
        WEIR_DATA_DIR: this.dataDir,
        WEIR_TLS_MODE: 'off',
        WEIR_ADMIN_PASSWORD: admin.password,
        WEIR_SHUTDOWN_GRACE_SECONDS: '1',
        // Streams of tests name registries that nobody is to be asked for.
        WEIR_IMPORTS_AUTOMATIC: 'false',
        ...this.#environment,
      },
    );
    this.#running = await serve(this.#config, pino({ level: 'silent' }));
  }

  /** Stops and starts again on the same data folder. */
  async restart(): Promise<void> {
    await this.running.stop();
    await this.start();
  }

  /** Stops, and removes the data folder. */
  async stop(): Promise<void> {
    await this.#running?.stop();
    await (await this.#db)?.destroy();
    await this.#dropDatabase();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  async #dropDatabase(): Promise<void> {
    const { WEIR_DATABASE_URL: database } = this.#environment;
    const server = inject('databaseServer') as string | undefined;
    if (database === undefined || server === undefined) return;
    const { execute } = await import('./postgres.js');
    await execute(server, `drop database if exists ${new URL(database).pathname.slice(1)} with (force)`);
  }

  /** A second connection to the database, for looking behind the API; it is closed by `stop`. */
  openDatabase(): Promise<Database> {
    this.#db ??= openDatabase(this.config).then(({ db }) => db);
    return this.#db;
  }

  /** The same bytes as the registry's own blob store. */
  openBlobStore(): Promise<BlobStore> {
    return openBlobStore(this.config);
  }

  /** bcrypt at its lowest cost, which the registry takes like any other. */
  async addUser({ name, password, role }: Credentials & { readonly role: 'admin' | 'user' }): Promise<void> {
    const users = new KyselyUserRecords(await this.openDatabase());
    await users.putUser({ name, passwordHash: await bcrypt.hash(password, 4), role });
  }

  /**
   * Gives a ClusterRole to somebody, behind the API.
   *
   * @param who a user by name, or any subject
   * @param namespace everywhere when left out
   */
  async bind(who: string | Subject, role: string, namespace?: string): Promise<void> {
    const apiGroup = 'rbac.authorization.k8s.io';
    const subject: Subject = typeof who === 'string' ? { kind: 'User', apiGroup, name: who } : who;
    const uid = randomUUID();
    const result = await new KyselyObjectStore(await this.openDatabase()).commit([
      {
        kind: 'create',
        resource: namespace === undefined ? policyResources.clusterRoleBindings : policyResources.roleBindings,
        object: {
          metadata: {
            name: `test-${uid}`,
            ...(namespace !== undefined && { namespace }),
            uid,
            creationTimestamp: '2026-01-01T00:00:00Z',
          },
          subjects: [subject],
          roleRef: { apiGroup, kind: 'ClusterRole', name: role },
        },
        lookups: [subjectLookup(subject, namespace ?? '')],
      },
    ]);
    if (result.kind === 'refused') throw new Error(`role not bound: ${result.reason}`);
  }

  /** An API token of a local user, by the flow of `oc login`. */
  async apiToken({ name, password }: Credentials): Promise<string> {
    const query = new URLSearchParams({
      client_id: 'openshift-challenging-client',
      response_type: 'token',
      redirect_uri: `${this.url}/oauth/token/implicit`,
    });
    const response = await this.fetch(`/oauth/authorize?${query.toString()}`, {
      as: { name, password },
      headers: { 'X-CSRF-Token': '1' },
      redirect: 'manual',
    });
    const location = response.headers.get('Location') ?? '';
    const token = new URLSearchParams(location.slice(location.indexOf('#') + 1)).get('access_token');
    if (token === null) throw new Error(`no API token: ${response.status} ${await response.text()}`);
    return token;
  }

  /** Makes a project, as the admin would. */
  async addProject(name: string): Promise<void> {
    const response = await this.api('/apis/project.openshift.io/v1/projects', {
      method: 'POST',
      body: { metadata: { name } },
    });
    if (response.status !== 201) throw new Error(`no project: ${response.status} ${await response.text()}`);
  }

  /** A request to the API in JSON; `as` is whose API token is shown, the admin's when left out. */
  async api(
    path: string,
    {
      as = admin,
      body,
      headers,
      ...init
    }: Omit<RequestInit, 'body'> & { readonly as?: Identity; readonly body?: unknown } = {},
  ): Promise<Response> {
    const identity = typeof as === 'object' && 'password' in as ? { token: await this.#tokenOf(as) } : as;
    return this.fetch(path, {
      as: identity,
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...(headers as object) },
      ...init,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  async #tokenOf(who: Credentials): Promise<string> {
    const known = this.#tokens.get(who.name) ?? (await this.apiToken(who));
    this.#tokens.set(who.name, known);
    return known;
  }

  /** `fetch` with credentials. @param path below the registry's address, or a whole URL as `Location` may be */
  fetch(path: string, { as = admin, headers, ...init }: TestRequest = {}): Promise<Response> {
    const all = new Headers(headers);
    const authorization = authorizationOf(as);
    if (authorization !== undefined && !all.has('Authorization')) all.set('Authorization', authorization);
    // A body that is a stream has no length, and fetch wants to hear that its sender does not wait for the answer.
    return fetch(new URL(path, this.url), { duplex: 'half', ...init, headers: all });
  }

  /**
   * A token from the token endpoint.
   *
   * @param scopes as in `repository:library/app:pull,push`
   */
  async token(scopes: readonly string[], as: Credentials | 'nobody' = admin): Promise<string> {
    const query = new URLSearchParams({ service: 'weir-registry' });
    for (const scope of scopes) query.append('scope', scope);
    const response = await this.fetch(`/auth/token?${query.toString()}`, { as });
    if (response.status !== 200) throw new Error(`no token: ${response.status} ${await response.text()}`);
    return ((await response.json()) as { token: string }).token;
  }
}
