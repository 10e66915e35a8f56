import { afterAll, afterEach, beforeAll } from 'vitest';
import { password } from '../../test/faults/registry-process.js';
import { Replicas } from '../../test/support/replicas.js';
import type { Login } from './api-token.js';
import { publicHost } from './docker-engine.js';
import type { Site } from './suite.js';
import { makeCertificate } from './upstreams/certificate.js';
import { makeWorkspace } from './workspace.js';

/** As any site; its Weir is a balancer, and behind it are replicas. */
export interface ReplicaSite extends Site {
  readonly replicas: Replicas;
}

/**
 * Starts replicas over PostgreSQL and S3 for the tests of the enclosing suite, behind a balancer that speaks TLS for them. They
 * are called {@link publicHost}.
 */
export function siteWithReplicas(options: {
  readonly count: number;
  readonly settings?: Readonly<Record<string, string>>;
}): ReplicaSite {
  const workspace = makeWorkspace();
  let site: Omit<ReplicaSite, 'workspace'> | undefined;
  const running = (): Omit<ReplicaSite, 'workspace'> => {
    if (site === undefined) throw new Error('replicas run only while the tests of their suite do');
    return site;
  };
  beforeAll(async () => {
    const certificate = await makeCertificate(workspace.path('balancer'), ['localhost', '127.0.0.1', publicHost]);
    const replicas = await Replicas.start({
      ...options,
      tls: { cert: certificate.certificate, key: certificate.key },
      publicUrl: `https://${publicHost}`,
    });
    const { port, url } = replicas.balancer;
    site = {
      replicas,
      weir: {
        host: `localhost:${port}`,
        url,
        port,
        caFile: certificate.caFile,
        caCertificate: certificate.caCertificate,
        username: 'admin',
        password,
        log: () => replicas.log(),
        stop: () => replicas.stop(),
      },
    };
  });
  afterEach((context) => {
    if (context.task.result?.state === 'fail') console.error(running().replicas.log());
  });
  afterAll(async () => {
    try {
      await site?.replicas.stop();
    } finally {
      await workspace.remove();
    }
  });
  return {
    workspace,
    get weir() {
      return running().weir;
    },
    get replicas() {
      return running().replicas;
    },
  };
}

/** Makes a user without any right of their own, with the command for it, on a machine of its own. */
export async function addUserOfReplicas({ replicas }: ReplicaSite, username: string): Promise<Login> {
  const login = { username, password: `the password of ${username}` };
  const added = await replicas.run(['user', 'add', username, '--password-stdin'], `${login.password}\n`);
  if (added.exitCode !== 0) throw new Error(`user add: ${added.stdout}${added.stderr}`);
  return login;
}
