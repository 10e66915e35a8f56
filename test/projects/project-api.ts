import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import Koa from 'koa';
import { onTestFinished } from 'vitest';
import { ensureDefaultPolicy, openshiftDefaults, projectDefaults } from '../../src/access/default-policy.js';
import { AccessPolicy } from '../../src/auth/policy.js';
import { ServiceAccountTokens } from '../../src/auth/service-account-tokens.js';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { apiRoutes } from '../../src/kube/routes.js';
import { ChangeFeed } from '../../src/kube/watch.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { configMapResource } from '../../src/projects/config-maps.js';
import { eventResource } from '../../src/projects/events.js';
import { limitRangeResource } from '../../src/projects/limit-ranges.js';
import { namespaceResources } from '../../src/projects/namespaces.js';
import { ensureProjects } from '../../src/projects/project-bootstrap.js';
import { ProjectContents } from '../../src/projects/project-contents.js';
import { ProjectRemoval } from '../../src/projects/project-removal.js';
import { projectRequestResource, type ProjectRequestOptions } from '../../src/projects/project-requests.js';
import { resourceQuotaResource } from '../../src/projects/resource-quotas.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { secretResource } from '../../src/projects/secrets.js';
import { ServiceAccountSecrets } from '../../src/projects/service-account-secrets.js';
import { serviceAccountResource } from '../../src/projects/service-accounts.js';
import { workloadResources } from '../../src/projects/workloads.js';
import { loggedIn } from '../support/api-call.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

/** Everything about projects over one database, as one process has it. */
export interface ProjectParts {
  readonly db: Database;
  readonly store: KyselyObjectStore;
  readonly repositories: KyselyRepositoryStore;
  readonly policy: AccessPolicy;
  readonly box: SecretBox;
  readonly tokens: ServiceAccountTokens;
  readonly accountSecrets: ServiceAccountSecrets;
  readonly contents: ProjectContents;
  readonly removal: ProjectRemoval;
  /** May be put forward. */
  readonly clock: { now: Date };
  readonly ensure: () => Promise<void>;
}

/** What differs between tests. */
export interface ProjectPartsOptions {
  readonly registryHosts?: readonly string[];
}

/** Parts with the default roles, in a new SQLite file; they go with the test. */
export async function projectParts({ registryHosts = [] }: ProjectPartsOptions = {}): Promise<ProjectParts> {
  const folder = await temporaryFolder();
  const db = await openSqlite(join(folder, 'weir.sqlite'));
  const store = new KyselyObjectStore(db);
  const repositories = new KyselyRepositoryStore(db);
  const box = await SecretBox.open(join(folder, 'secrets.key'));
  const tokens = new ServiceAccountTokens(await SigningKeys.open(new MemoryKeyRecords(), 'service-account-tokens'));
  const clock = { now: new Date() };
  const now = () => clock.now;
  const accountSecrets = new ServiceAccountSecrets({ store, box, tokens, registryHosts, now });
  const contents = new ProjectContents((name, admin) => projectDefaults(name, clock.now, admin), accountSecrets);
  const removal = new ProjectRemoval(store, repositories);
  await ensureDefaultPolicy(store, now);
  onTestFinished(async () => {
    await removal.stop();
    await db.destroy();
  });
  return {
    db,
    store,
    repositories,
    policy: new AccessPolicy(store),
    box,
    tokens,
    accountSecrets,
    contents,
    removal,
    clock,
    ensure: () =>
      ensureProjects({
        store,
        contents,
        defaultProject: 'library',
        openshiftDefaults: () => openshiftDefaults(clock.now),
        now,
      }),
  };
}

/** One answer, read. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** JSON. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Speaks to the API as somebody. */
export interface ApiClient {
  readonly parts: ProjectParts;
  readonly url: string;
  /**
   * @param as name of the user; `root` may do everything
   * @param body JSON, or bytes of protobuf
   */
  readonly send: (
    as: string,
    method: string,
    path: string,
    body?: object | Buffer,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<ApiAnswer>;
}

/** Serves the resources of projects over HTTP, with users who are whoever they say they are. */
export async function startProjectApi(
  options: ProjectPartsOptions & Partial<Pick<ProjectRequestOptions, 'selfProvisioning' | 'message'>> = {},
): Promise<ApiClient> {
  const parts = await projectParts(options);
  const { store, policy, contents, removal, box, accountSecrets, tokens } = parts;
  await parts.ensure();
  const stopping = new AbortController();
  const koa = new Koa();
  koa.use(
    apiRoutes({
      resources: [
        ...namespaceResources({ store, policy, contents, removal, defaultProject: 'library' }),
        projectRequestResource({ store, contents, selfProvisioning: true, message: '', ...options }),
        secretResource({ store, box, accounts: accountSecrets }),
        configMapResource(store),
        serviceAccountResource({ store, secrets: accountSecrets, tokens }),
        resourceQuotaResource(store),
        limitRangeResource(store),
        eventResource({ store }),
        ...workloadResources(store),
      ],
      access: {
        authenticate: (authorization) => {
          const name = authorization.replace(/^Bearer /, '');
          const groups = name === 'root' ? ['system:masters'] : ['system:authenticated:oauth'];
          return Promise.resolve(name === '' ? undefined : loggedIn(name, ...groups));
        },
        allows: (principal, request) => policy.allows(principal, request),
      },
      feed: new ChangeFeed(store, stopping.signal),
      publicUrl: undefined,
      version: '0.0.0',
      stopping: stopping.signal,
    }),
  );
  const server = koa.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    stopping.abort();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    parts,
    url,
    send: async (as, method, path, body, headers = {}) => {
      const type = Buffer.isBuffer(body) ? 'application/vnd.kubernetes.protobuf' : 'application/json';
      const response = await fetch(url + path, {
        method,
        headers: {
          Authorization: `Bearer ${as}`,
          ...(body !== undefined && { 'Content-Type': type }),
          ...headers,
        },
        ...(body !== undefined && { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
      });
      return {
        status: response.status,
        headers: response.headers,
        body: (await response.json()) as Readonly<Record<string, unknown>>,
      };
    },
  };
}

/** Names in a list, in its order. */
export function namesIn({ body }: ApiAnswer): readonly string[] {
  return (body['items'] as readonly { readonly metadata: { readonly name: string } }[]).map(
    ({ metadata }) => metadata.name,
  );
}
