// A registry in a process of its own that has one image under every name, and gives it as fast as it can. It counts how often
// each blob is asked for. It is told what to do by its parent, and ends with it.
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { manifestType, readImage, type ColdImage } from './cold-pull-image.js';

/** Sent once it serves. */
export interface ColdUpstreamReady {
  /** Host and port. */
  readonly host: string;
}

/** The answer to any message: what was asked for since the last one. */
export interface ColdUpstreamReport {
  /** How often the bytes of a blob were asked for, by digest. */
  readonly blobs: Readonly<Record<string, number>>;
  readonly requests: number;
  /** Of blobs. */
  readonly bytes: number;
}

const pieceSize = 1024 * 1024;
const image = JSON.parse(process.argv[2]!) as ColdImage;
const contents = readImage(image);
let blobs: Record<string, number> = {};
let requests = 0;
let bytes = 0;

const server = http.createServer((request, response) => {
  requests += 1;
  const [, kind, reference = ''] = /\/(manifests|blobs)\/([^/?]+)$/.exec(request.url ?? '') ?? [];
  const digest = kind === 'manifests' && !reference.includes(':') ? image.manifest.digest : reference;
  const content = contents.get(digest);
  if (kind === undefined) response.end('{}');
  else if (content === undefined) response.writeHead(404, { 'Content-Length': 0 }).end();
  else {
    response.writeHead(200, {
      'Content-Type': kind === 'manifests' ? manifestType : 'application/octet-stream',
      'Content-Length': content.length,
      'Docker-Content-Digest': digest,
    });
    if (request.method === 'HEAD') response.end();
    else {
      if (kind === 'blobs') blobs[digest] = (blobs[digest] ?? 0) + 1;
      give(response, content);
    }
  }
});
server.keepAliveTimeout = 60_000;
process.on('message', () => {
  const report: ColdUpstreamReport = { blobs, requests, bytes };
  [blobs, requests, bytes] = [{}, 0, 0];
  process.send!(report);
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  const ready: ColdUpstreamReady = { host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  process.send!(ready);
});

/** In pieces, so that nothing of what slow readers do not take is copied. */
function give(response: http.ServerResponse, content: Buffer): void {
  let at = 0;
  const more = (): void => {
    while (at < content.length) {
      const piece = content.subarray(at, at + pieceSize);
      at += piece.length;
      bytes += piece.length;
      if (!response.write(piece)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}
