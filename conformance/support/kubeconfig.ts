import type { Site } from './suite.js';

/** Who uses a kubeconfig, and where they are. The context that makes one of them the current user has their name. */
export interface KubeconfigUser {
  readonly name: string;
  readonly token: string;
  readonly namespace: string;
}

/**
 * Writes the configuration with which kubectl and client libraries reach Weir. The first user is the current one.
 *
 * @returns its path
 */
export function writeKubeconfig({ weir, workspace }: Site, users: readonly KubeconfigUser[]): string {
  const name = users[0]?.name ?? 'nobody';
  // JSON, which is YAML too.
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'weir', cluster: { server: weir.url, 'certificate-authority': weir.caFile } }],
    users: users.map(({ name, token }) => ({ name, user: { token } })),
    contexts: users.map(({ name, namespace }) => ({ name, context: { cluster: 'weir', user: name, namespace } })),
    'current-context': name,
  };
  return workspace.writeFile(`kubeconfig-${name}`, JSON.stringify(config));
}
