import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credentials } from './registry-client.js';
import type { RunningRegistry } from './registries.js';

/** How much is watched and written. */
export interface WatchLoad {
  readonly clients: number;
  readonly seconds: number;
  /** Who write one change after the other, at the same time. */
  readonly writers: number;
}

/** What came of it. */
export interface WatchResult extends WatchLoad {
  readonly changes: number;
  readonly delivered: number;
  /** Events that a client did not get, or got twice. */
  readonly lost: number;
  /** Events that a client got before one that was committed earlier. */
  readonly reordered: number;
  /** From the answer to a write until the last client had its event, in milliseconds: half of the writes, and 99 of 100. */
  readonly lagMs: { readonly median: number; readonly p99: number };
  /** Resident memory of Weir in bytes: before the clients came, with them, after half of the writes, and at the end. */
  readonly memory: { readonly idle: number; readonly connected: number; readonly half: number; readonly end: number };
}

const namespace = 'library';
const collection = `/api/v1/namespaces/${namespace}/configmaps`;
/** Everybody has its events this long after the last write, or never. */
const patienceMs = 60_000;

/** What one client has seen. */
interface Watcher {
  readonly versions: number[];
  readonly request: http.ClientRequest;
}

/**
 * Lets many clients watch one collection while it is written to, and holds what each of them saw against what was
 * committed: every change once, in the order of the commits.
 */
export async function measureWatch(
  registry: RunningRegistry,
  load: WatchLoad,
  say: (text: string) => void,
): Promise<WatchResult> {
  const { url, credentials } = registry;
  if (credentials === undefined) throw new Error('the watch is measured with a user');
  const token = await apiToken(url, credentials);
  const api = new Api(url, token);
  const resident = () => registry.memory()?.resident ?? 0;
  for (let writer = 0; writer < load.writers; writer += 1) {
    await api.send('POST', collection, { metadata: { name: `w${writer}` }, data: { count: '0' } });
  }
  const begun = ((await api.send('GET', `${collection}?limit=1`)) as { metadata: { resourceVersion: string } }).metadata
    .resourceVersion;
  const idle = resident();

  say(`${load.clients} clients begin to watch ...`);
  const seenBy = new Map<number, number>();
  const lastSeenAt = new Map<number, number>();
  const watchers: Watcher[] = [];
  const path = `${collection}?watch=true&resourceVersion=${begun}&timeoutSeconds=3600&allowWatchBookmarks=true`;
  for (let count = 0; count < load.clients; count += 1) {
    watchers.push(
      await watch(url, path, token, (version) => {
        const seen = (seenBy.get(version) ?? 0) + 1;
        seenBy.set(version, seen);
        if (seen === load.clients) lastSeenAt.set(version, performance.now());
      }),
    );
  }
  const connected = resident();

  say(`${load.writers} writers write for ${load.seconds} s ...`);
  const writtenAt = new Map<number, number>();
  const deadline = performance.now() + load.seconds * 1000;
  let half = 0;
  const halfTime = sleep(load.seconds * 500).then(() => {
    half = resident();
  });
  await Promise.all(
    Array.from({ length: load.writers }, async (_, writer) => {
      for (let count = 1; performance.now() < deadline; count += 1) {
        const changed = (await api.send('PATCH', `${collection}/w${writer}`, { data: { count: String(count) } })) as {
          metadata: { resourceVersion: string };
        };
        writtenAt.set(Number(changed.metadata.resourceVersion), performance.now());
      }
    }),
  );
  await halfTime;
  const all = [...writtenAt.keys()].sort((a, b) => a - b);
  const until = performance.now() + patienceMs;
  while (performance.now() < until && watchers.some(({ versions }) => versions.length < all.length)) await sleep(50);
  const end = resident();
  for (const { request } of watchers) request.destroy();
  api.close();

  const lags = all
    .flatMap((version) => {
      const seenAt = lastSeenAt.get(version);
      return seenAt === undefined ? [] : [Math.max(0, seenAt - writtenAt.get(version)!)];
    })
    .sort((a, b) => a - b);
  let lost = 0;
  let reordered = 0;
  for (const { versions } of watchers) {
    const seen = new Set(versions);
    lost += all.filter((version) => !seen.has(version)).length + (versions.length - seen.size);
    reordered += versions.filter((version, index) => index > 0 && version < versions[index - 1]!).length;
  }
  return {
    ...load,
    changes: all.length,
    delivered: watchers.reduce((sum, { versions }) => sum + versions.length, 0),
    lost,
    reordered,
    lagMs: { median: lags[Math.floor(lags.length / 2)] ?? NaN, p99: lags[Math.floor(lags.length * 0.99)] ?? NaN },
    memory: { idle, connected, half, end },
  };
}

/** As a table. */
export function formatWatch({ lagMs, memory, ...result }: WatchResult): string {
  const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
  return [
    `watch with ${result.clients} clients, ${result.writers} writers, ${result.seconds} s`,
    `  changes committed      ${result.changes} (${Math.round(result.changes / result.seconds)}/s)`,
    `  events delivered       ${result.delivered} (${Math.round(result.delivered / result.seconds)}/s)`,
    `  lost or doubled        ${result.lost}`,
    `  out of order           ${result.reordered}`,
    `  until the last has it  median ${lagMs.median.toFixed(0)} ms, 99 % ${lagMs.p99.toFixed(0)} ms`,
    `  memory                 idle ${mib(memory.idle)}, connected ${mib(memory.connected)}, half ${mib(memory.half)}, end ${mib(memory.end)}`,
  ].join('\n');
}

/** What does not hold that must; empty when all does. */
export function watchShortfalls({ lost, reordered, changes, memory }: WatchResult): string[] {
  return [
    ...(changes === 0 ? ['nothing was written'] : []),
    ...(lost > 0 ? [`${lost} events were lost or came twice`] : []),
    ...(reordered > 0 ? [`${reordered} events were out of order`] : []),
    // Between half and end nothing but events went through; a heap that is collected now and then may differ a little.
    ...(memory.end > memory.half * 1.25 ? ['memory grows with the number of events'] : []),
  ];
}

function watch(url: URL, path: string, token: string, onVersion: (version: number) => void): Promise<Watcher> {
  return new Promise((resolve, reject) => {
    const versions: number[] = [];
    const request = http.get(
      new URL(path, url),
      { agent: false, headers: { Authorization: `Bearer ${token}` } },
      (response) => {
        if (response.statusCode !== 200) {
          reject(new Error(`watch: ${response.statusCode}`));
          return;
        }
        let rest = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop()!;
          for (const line of lines) {
            if (line.startsWith('{"type":"BOOKMARK"')) continue;
            const version = Number(/"resourceVersion":"(\d+)"/.exec(line)?.[1]);
            versions.push(version);
            onVersion(version);
          }
        });
        resolve({ versions, request });
      },
    );
    request.on('error', (error: NodeJS.ErrnoException) => {
      // Our own end of the watch.
      if (error.code !== 'ECONNRESET') reject(error);
    });
  });
}

/** Requests to the API in JSON. */
export class Api {
  readonly #url: URL;
  readonly #token: string;
  readonly #agent = new http.Agent({ keepAlive: true });

  constructor(url: URL, token: string) {
    this.#url = url;
    this.#token = token;
  }

  send(method: string, path: string, body?: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const request = http.request(new URL(path, this.#url), {
        method,
        agent: this.#agent,
        headers: {
          Authorization: `Bearer ${this.#token}`,
          ...(body !== undefined && {
            'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
          }),
        },
      });
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          if (response.statusCode! < 300) resolve(JSON.parse(text));
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        });
      });
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** An API token by the flow of `oc login` (RFC 6749, section 4.2). */
export async function apiToken(url: URL, { name, password }: Credentials): Promise<string> {
  const query = new URLSearchParams({
    client_id: 'openshift-challenging-client',
    response_type: 'token',
    redirect_uri: new URL('/oauth/token/implicit', url).href,
  });
  const response = await fetch(new URL(`/oauth/authorize?${query.toString()}`, url), {
    redirect: 'manual',
    headers: {
      'X-CSRF-Token': '1',
      Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
    },
  });
  const token = new URLSearchParams((response.headers.get('Location') ?? '').split('#')[1]).get('access_token');
  if (token === null) throw new Error(`no API token: ${response.status}`);
  return token;
}
