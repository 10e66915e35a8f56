import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer, Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { createApp, type App } from './app.js';
import { ensureAdmin } from './auth/users.js';
import { BodyGuard } from './body-guard.js';
import type { Config } from './config.js';
import { Jobs } from './jobs.js';
import { answerMalformed } from './malformed-requests.js';
import { KyselyUserRecords } from './metadata/kysely-user-records.js';
import { Metrics } from './metrics.js';
import { adminPasswordPath, openBlobStore, openDatabase } from './registry-files.js';
import { CertificateAuthority, machineNames } from './tls/certificate-authority.js';
import { CertificateRefresh, certificateFiles, type CertificateSource } from './tls/server-certificates.js';

/** A registry that answers requests. */
export interface RunningRegistry {
  /** As a client on this machine calls it. */
  readonly url: string;
  readonly app: App;
  /** The certificate of our own authority; undefined when there is none. */
  readonly caCertificatePath: string | undefined;
  /** Where the first password is; undefined when it was not generated. */
  readonly passwordPath: string | undefined;
  /**
   * Takes no new requests, waits for those under way, and closes.
   *
   * @returns false when requests had to be cut off after the grace time
   */
  readonly stop: () => Promise<boolean>;
}

/** Per request head; a token with many scopes is long. */
const maxHeaderSize = 32 * 1024;
const certificateRefreshMs = 10_000;
/** Who has connected a moment before the end may still ask something. */
const silenceMs = 1000;

/** Starts a registry: opens the data folder, makes what a first start needs, and listens. */
export async function startRegistry(
  config: Config,
  log: Logger,
  version = 'unknown',
  metrics = new Metrics({ processMetrics: true }),
): Promise<RunningRegistry> {
  const database = await openDatabase(config, {
    onQuery: (durationMs) => {
      metrics.databaseSeconds.observe(durationMs / 1000);
    },
    onConnectionError: (error) => {
      log.warn({ err: error }, 'a connection to the database broke');
    },
  });
  const { db, now } = database;
  const store = await openBlobStore(config, ({ operation, outcome, durationMs }) => {
    metrics.storeSeconds.observe({ operation, outcome }, durationMs / 1000);
  });
  if (config.blobstore.kind === 's3') {
    // It is no reason not to start: the store may be the next to come up, and /readyz says so until then.
    store.check().catch((error: unknown) => {
      log.error({ err: error }, 'the store does not take bytes; see blobstore.s3 in the configuration');
    });
  }
  const admin = await ensureAdmin(new KyselyUserRecords(db, now), config.admin.password, adminPasswordPath(config));

  const stopping = new AbortController();
  const app = await createApp({ config, version, database, store, log, metrics, stopping: stopping.signal });
  const jobs = new Jobs(log);
  for (const job of app.jobs) jobs.start(job);

  const { server, caCertificatePath } = await makeServer(config, { app, jobs, now });
  const guard = new BodyGuard({
    idleTimeoutMs: config.uploads.idleTimeoutSeconds * 1000,
    minimumBytesPerSecond: config.uploads.minimumBytesPerSecond,
  });
  // Before Koa sees the request: its body is watched whoever reads it, or nobody.
  server.prependListener('request', (request) => {
    guard.watch(request);
  });
  server.on('clientError', answerMalformed);
  const silent = watchSilent(server);
  await listen(server, config);

  return {
    url: ownUrl(server, config),
    app,
    caCertificatePath,
    passwordPath: admin.generated ? adminPasswordPath(config) : undefined,
    stop: async () => {
      stopping.abort();
      const clean = await closeServer(server, silent, config.shutdownGraceSeconds * 1000);
      guard.close();
      await jobs.stop();
      await app.close();
      await store.close();
      await db.destroy();
      return clean;
    },
  };
}

async function makeServer(
  config: Config,
  { app, jobs, now }: { readonly app: App; readonly jobs: Jobs; readonly now: () => Date },
): Promise<{ readonly server: Server; readonly caCertificatePath: string | undefined }> {
  const limits = {
    maxHeaderSize,
    // A whole request may take as long as its bytes flow (see BodyGuard). Node takes a 0 here for the head as well,
    // unless that limit is named.
    requestTimeout: 0,
    headersTimeout: 60_000,
    // Longer than the proxies in front usually keep theirs, so that it is they who close.
    keepAliveTimeout: 75_000,
    // Refused by a middleware of ours, in the form that clients of the API read.
    requireHostHeader: false,
  };
  const handler = app.koa.callback();
  const onRequest: Parameters<typeof createHttpServer>[1] = (request, response) => {
    void handler(request, response);
  };
  if (config.tls.mode === 'off') {
    return { server: createHttpServer(limits, onRequest), caCertificatePath: undefined };
  }
  const authority = new CertificateAuthority(join(config.dataDir, 'tls'), { keys: app.keys, now });
  const source: CertificateSource =
    config.tls.mode === 'files'
      ? certificateFiles(config.tls.cert!, config.tls.key!)
      : () => authority.serverCertificate(machineNames(config.publicUrl));
  const certificate = await source();
  const server = createHttpsServer({ ...limits, ...certificate, minVersion: 'TLSv1.2' }, onRequest);
  const refresh = new CertificateRefresh(source, server, certificate);
  jobs.start({ name: 'certificate', intervalMs: certificateRefreshMs, run: () => refresh.run() });
  return { server, caCertificatePath: config.tls.mode === 'auto' ? authority.certificatePath : undefined };
}

function listen(server: Server, { listen: { host, port } }: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

function ownUrl(server: Server, config: Config): string {
  const { address, port } = server.address() as AddressInfo;
  // A wildcard is no name to call; everyone on this machine can call localhost.
  const host =
    address === '0.0.0.0' || address === '::' ? 'localhost' : address.includes(':') ? `[${address}]` : address;
  return `${config.tls.mode === 'off' ? 'http' : 'https'}://${host}:${port}`;
}

/** Connections on which nothing was asked yet, as clients open them in advance. Node takes them for busy ones. */
function watchSilent(server: Server): ReadonlySet<Socket> {
  const silent = new Set<Socket>();
  server.on(server instanceof HttpsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  server.prependListener('request', (request) => silent.delete(request.socket));
  return silent;
}

async function closeServer(server: Server, silent: ReadonlySet<Socket>, graceMs: number): Promise<boolean> {
  let clean = true;
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  // Connections that are idle between two requests would hold the server open for as long as their clients like.
  const idle = setInterval(() => {
    server.closeIdleConnections();
  }, 100);
  const silence = setTimeout(
    () => {
      for (const socket of silent) socket.destroy();
    },
    Math.min(silenceMs, graceMs / 2),
  );
  const cutOff = setTimeout(() => {
    clean = false;
    server.closeAllConnections();
  }, graceMs);
  await closed;
  clearInterval(idle);
  clearTimeout(cutOff);
  clearTimeout(silence);
  return clean;
}
