import { setTimeout as sleep } from 'node:timers/promises';
import type Router from '@koa/router';
import type { RegistryAccess } from './auth/registry-access.js';
import type { BlobStore } from './blobstore/blob-store.js';
import type { OpenedDatabase } from './metadata/opened-database.js';
import type { Metrics } from './metrics.js';

/** What the routes for operators look at. */
export interface OperationsOptions {
  readonly access: RegistryAccess;
  readonly database: Pick<OpenedDatabase, 'ping'>;
  readonly store: BlobStore;
  readonly metrics: Metrics;
  readonly isDraining: () => boolean;
}

/** Health, for anyone: it says no more than yes or no. Metrics, for those who may get that path. */
export function operationsRoutes(
  router: Router,
  { access, database, store, metrics, isDraining }: OperationsOptions,
): void {
  // Clients try the door first: `oc login` with HEAD, prune with GET. An answer in HTML would be taken for a console.
  router.get('/', (ctx) => {
    ctx.body = 'Weir, a registry with image streams\n';
  });

  router.get(['/healthz', '/livez'], (ctx) => {
    ctx.body = 'ok\n';
  });

  router.get('/readyz', async (ctx) => {
    const failures: string[] = [];
    if (isDraining()) failures.push('shutting down');
    await within(answerMs, database.ping()).catch(() => failures.push('the database does not answer'));
    await within(answerMs, store.check()).catch(() => failures.push('the blob store does not take bytes'));
    ctx.status = failures.length === 0 ? 200 : 503;
    ctx.body = failures.length === 0 ? 'ok\n' : `${failures.join('\n')}\n`;
  });

  router.get('/metrics', async (ctx) => {
    await access.requirePath(ctx, '/metrics');
    ctx.body = await metrics.text();
    ctx.set('Content-Type', metrics.registry.contentType);
  });
}

/** Whoever asks whether we are ready does not wait for long. */
const answerMs = 3000;

async function within(ms: number, work: Promise<void>): Promise<void> {
  const ended = new AbortController();
  try {
    await Promise.race([
      work,
      sleep(ms, undefined, { signal: ended.signal }).then(() => {
        throw new Error(`no answer within ${ms} ms`);
      }),
    ]);
  } finally {
    ended.abort();
  }
}
