import { pino } from 'pino';
import type { ApiObject } from '../../src/metadata/object-store.js';
import { startRegistry as serve, type RunningRegistry } from '../../src/serve.js';
import { startRegistry, type Credentials, type TestRegistry } from '../support/registry.js';

/** Administrates project `red`, and has nothing in `blue`. */
export const ann: Credentials = { name: 'ann', password: 'ann-secret' };
/** Administrates project `blue`, and has nothing in `red`. */
export const bob: Credentials = { name: 'bob', password: 'bob-secret' };
/** Has nothing anywhere. */
export const eve: Credentials = { name: 'eve', password: 'eve-secret' };

/** Starting takes a while on a busy machine. */
export const startTimeout = 60_000;

/** A registry with two projects that have nothing to do with each other. */
export async function startTenants(environment: Readonly<Record<string, string>> = {}): Promise<TestRegistry> {
  const registry = await startRegistry(environment);
  for (const who of [ann, bob, eve]) await registry.addUser({ ...who, role: 'user' });
  await registry.addProject('red');
  await registry.addProject('blue');
  await registry.bind(ann.name, 'admin', 'red');
  await registry.bind(bob.name, 'admin', 'blue');
  return registry;
}

/** A second registry over the same data folder, as a second process would be. */
export function startBeside(registry: TestRegistry): Promise<RunningRegistry> {
  return serve(registry.config, pino({ level: 'silent' }));
}

/** An answer of the API, taken apart. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
  /** Undefined when the text is no JSON. */
  readonly json: (ApiObject & { readonly items?: readonly ApiObject[]; readonly message?: string }) | undefined;
}

/** Sends a request to the API and reads the whole answer. */
export async function ask(
  registry: TestRegistry,
  path: string,
  init: Parameters<TestRegistry['api']>[1] = {},
): Promise<ApiAnswer> {
  const response = await registry.api(path, init);
  const text = await response.text();
  const isJson = (response.headers.get('Content-Type') ?? '').startsWith('application/json');
  return { status: response.status, text, json: isJson ? (JSON.parse(text) as ApiAnswer['json']) : undefined };
}

/** As `ask`, for what must succeed. */
export async function must(
  registry: TestRegistry,
  path: string,
  init: Parameters<TestRegistry['api']>[1] = {},
): Promise<NonNullable<ApiAnswer['json']>> {
  const { status, text, json } = await ask(registry, path, init);
  if (status >= 300 || json === undefined) throw new Error(`${init.method ?? 'GET'} ${path}: ${status} ${text}`);
  return json;
}

/** The path of a resource, or of all its objects in a namespace; without a namespace, everywhere. */
export function pathOf(
  { group, version, plural }: { readonly group: string; readonly version: string; readonly plural: string },
  namespace = '',
  name = '',
): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = namespace === '' ? '' : `/namespaces/${namespace}`;
  return `${root}${scope}/${plural}${name === '' ? '' : `/${encodeURIComponent(name)}`}`;
}

/** A token of a service account of a project, by the way of `oc create token`. */
export async function serviceAccountToken(
  registry: TestRegistry,
  project: string,
  name: string,
  audiences: readonly string[] = [],
): Promise<string> {
  const request = await must(registry, `/api/v1/namespaces/${project}/serviceaccounts/${name}/token`, {
    method: 'POST',
    body: { spec: { audiences } },
  });
  return (request['status'] as { readonly token: string }).token;
}
