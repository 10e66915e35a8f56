import { createHash } from 'node:crypto';
import { request } from 'node:https';
import { fetchApiToken } from './api-token.js';
import type { Weir } from './weir.js';

/** An object of the API as on the wire, with the fields that the tests read. */
export interface KubeObject {
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

/** A subject of a RoleBinding (rbac.authorization.k8s.io/v1), as short as it can be said. */
export type BoundSubject =
  | { readonly user: string }
  | { readonly group: string }
  | { readonly namespace: string; readonly serviceAccount: string };

/** The Kubernetes-style API as one user sees it, for what a test has to set up. Each method throws when refused. */
export interface KubeApi {
  get(path: string): Promise<KubeObject>;
  create(path: string, object: object): Promise<KubeObject>;
  remove(path: string): Promise<void>;
}

/** With a new API token of the admin. */
export async function openKubeApi(weir: Weir): Promise<KubeApi> {
  return kubeApiWith(weir, await fetchApiToken(weir));
}

/** With a token that is there, as {@link fetchApiToken} and {@link requestToken} have them. */
export function kubeApiWith(weir: Weir, token: string): KubeApi {
  return {
    get: (path) => call(weir, token, 'GET', path),
    create: (path, object) => call(weir, token, 'POST', path, object),
    remove: async (path) => {
      await call(weir, token, 'DELETE', path);
    },
  };
}

export async function makeProject(api: KubeApi, name: string): Promise<void> {
  await api.create('/apis/project.openshift.io/v1/projects', { metadata: { name } });
}

/**
 * Binds a ClusterRole in a project.
 *
 * @returns the path of the RoleBinding, for `remove`
 */
export async function bindRole(api: KubeApi, project: string, role: string, to: BoundSubject): Promise<string> {
  const apiGroup = 'rbac.authorization.k8s.io';
  const bindings = `/apis/${apiGroup}/v1/namespaces/${project}/rolebindings`;
  const { metadata } = await api.create(bindings, {
    metadata: { generateName: 'test-' },
    roleRef: { apiGroup, kind: 'ClusterRole', name: role },
    subjects: [subjectOf(to)],
  });
  return `${bindings}/${metadata.name}`;
}

/** A token of a service account that is there (authentication.k8s.io/v1 TokenRequest). */
export async function requestToken(api: KubeApi, namespace: string, account: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } };
  const { status } = await api.create(path, request);
  return (status as { readonly token: string }).token;
}

/** Where the object of an API token is, which `oc logout` deletes: its name is a hash of the secret. */
export function accessTokenPath(token: string): string {
  const hash = createHash('sha256')
    .update(token.replace(/^sha256~/, ''))
    .digest('base64url');
  return `/apis/oauth.openshift.io/v1/oauthaccesstokens/sha256~${hash}`;
}

function subjectOf(to: BoundSubject): object {
  const apiGroup = 'rbac.authorization.k8s.io';
  if ('user' in to) return { apiGroup, kind: 'User', name: to.user };
  if ('group' in to) return { apiGroup, kind: 'Group', name: to.group };
  return { kind: 'ServiceAccount', namespace: to.namespace, name: to.serviceAccount };
}

/** With node:https and not `fetch`, which cannot be told which certificate authority to trust. */
function call(weir: Weir, token: string, method: string, path: string, object?: object): Promise<KubeObject> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      accept: 'application/json',
      'content-type': 'application/json',
    };
    const outgoing = request(weir.url + path, { method, ca: weir.caCertificate, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        const { statusCode = 0 } = response;
        if (statusCode >= 200 && statusCode < 300) resolve(JSON.parse(body) as KubeObject);
        else reject(new Error(`${method} ${path}: ${statusCode}\n${body}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(object === undefined ? undefined : JSON.stringify(object));
  });
}
