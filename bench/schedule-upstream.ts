// A registry in a process of its own, for tags that are imported on a schedule: it answers at once, moves tags now and then, and
// remembers when it was asked for which. It is told what to do by its parent, and ends with it.
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { digestOf } from './blobs.js';

/** What it is to do beside serving `r0:latest`, `r1:latest` and so on. */
export interface UpstreamCommand {
  /** Tags that move each minute; those of before go on moving when it is left out. */
  readonly movesPerMinute?: number;
  /** Forgets what was asked. */
  readonly reset?: true;
  /** Answered with an `UpstreamReport`. */
  readonly report?: true;
}

/** Sent once it serves. */
export interface UpstreamReady {
  readonly host: string;
  /** Takes connections and never answers. */
  readonly silentHost: string;
}

/** What it was asked, by repository: milliseconds since 1970. */
export interface UpstreamReport {
  readonly heads: Readonly<Record<string, readonly number[]>>;
  readonly gets: Readonly<Record<string, readonly number[]>>;
  /** Digests of images, and when a tag began to be them. */
  readonly moves: Readonly<Record<string, number>>;
  /** What each repository's tag is now, by number. */
  readonly digests: readonly string[];
  readonly connectionsToSilent: number;
}

interface Image {
  readonly digest: string;
  readonly bytes: Buffer;
  readonly config: Buffer;
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const repositories = Number(process.argv[2]);
const images: Image[] = Array.from({ length: repositories }, (_, number) => makeImage(number, 0));
const versions = images.map(() => 0);
/** By digest, also what tags were before. */
const manifests = new Map<string, Image>();
const configs = new Map<string, Buffer>();
const heads = new Map<string, number[]>();
const gets = new Map<string, number[]>();
const moves = new Map<string, number>();
let connectionsToSilent = 0;
for (const image of images) keep(image);

const server = http.createServer((request, response) => {
  const [, number, kind, reference] = /^\/v2\/r(\d+)\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
  const image = images[Number(number)];
  if (request.url === '/v2/') response.end('{}');
  else if (image === undefined || reference === undefined) send(response, 404, 'application/json', Buffer.from('{}'));
  else if (kind === 'blobs') {
    const config = configs.get(reference);
    send(response, config === undefined ? 404 : 200, 'application/octet-stream', config ?? Buffer.alloc(0));
  } else {
    const isTag = reference === 'latest';
    if (isTag) note(request.method === 'HEAD' ? heads : gets, `r${number}`);
    const found = isTag ? image : manifests.get(reference);
    response.setHeader('Docker-Content-Digest', found?.digest ?? '');
    send(response, found === undefined ? 404 : 200, manifestType, found?.bytes ?? Buffer.alloc(0));
  }
});
const silent = net.createServer((socket) => {
  connectionsToSilent += 1;
  socket.on('error', () => undefined);
});
server.keepAliveTimeout = 60_000;
let mover: NodeJS.Timeout | undefined;
process.on('message', (command: UpstreamCommand) => {
  if (command.movesPerMinute !== undefined) moveTags(command.movesPerMinute);
  if (command.reset === true) for (const asked of [heads, gets]) asked.clear();
  if (command.report === true) {
    const report: UpstreamReport = {
      heads: Object.fromEntries(heads),
      gets: Object.fromEntries(gets),
      moves: Object.fromEntries(moves),
      digests: images.map(({ digest }) => digest),
      connectionsToSilent,
    };
    process.send!(report);
  }
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  silent.listen(0, '127.0.0.1', () => {
    const hostOf = (of: net.Server) => `127.0.0.1:${(of.address() as AddressInfo).port}`;
    const ready: UpstreamReady = { host: hostOf(server), silentHost: hostOf(silent) };
    process.send!(ready);
  });
});

function moveTags(perMinute: number): void {
  clearInterval(mover);
  if (perMinute === 0) return;
  mover = setInterval(() => {
    const number = Math.floor(Math.random() * repositories);
    versions[number]! += 1;
    const image = makeImage(number, versions[number]!);
    images[number] = image;
    keep(image);
    moves.set(image.digest, Date.now());
  }, 60_000 / perMinute);
}

function makeImage(number: number, version: number): Image {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', author: `${number} ${version}`, rootfs: { type: 'layers' } }),
  );
  const layer = digestOf(Buffer.from(`layer ${number} ${version}`));
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: configType, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: layerType, digest: layer, size: 1_000_000 }],
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return { digest: digestOf(bytes), bytes, config };
}

function keep(image: Image): void {
  manifests.set(image.digest, image);
  configs.set(digestOf(image.config), image.config);
}

function note(asked: Map<string, number[]>, repository: string): void {
  const times = asked.get(repository);
  if (times === undefined) asked.set(repository, [Date.now()]);
  else times.push(Date.now());
}

function send(response: http.ServerResponse, status: number, type: string, body: Buffer): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': body.length });
  response.end(body);
}
