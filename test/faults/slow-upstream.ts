import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describeBytes, mediaTypes } from '../../conformance/support/image.js';
import type { PushedManifest } from './ledger.js';
import { manifestOf } from './load.js';
import type { Random } from './random.js';
import { sha256 } from './registry-client.js';

/** An image of another registry, and what it is made of. */
export interface UpstreamImage extends PushedManifest {
  /** Config and layers, by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

const pieceSize = 64 * 1024;

/**
 * Another registry, over plain http on loopback: its tags move, it gives blobs in pieces with pauses between them, and now
 * and then it breaks off, or gives bytes that are others than they should be.
 */
export class SlowUpstream {
  readonly #random: Random;
  readonly #server: Server;
  readonly #sharedLayers: readonly Buffer[];
  readonly #images = new Map<string, UpstreamImage>();
  readonly #blobs = new Map<string, Buffer>();
  /** By names as in `lib/app:v1`: all that the tag ever was, the newest last. */
  readonly #tags = new Map<string, UpstreamImage[]>();
  /** Of 100 blobs so many are spoilt, and as many break off. */
  faultPercent = 0;
  /** The longest pause before a piece, in milliseconds. */
  maxPauseMs = 4;
  manifestsGiven = 0;
  blobsGiven = 0;
  faultsMade = 0;

  private constructor(random: Random) {
    this.#random = random;
    this.#sharedLayers = [2000, 300_000, 1_500_000].map((size) => random.bytes(size));
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(random: Random): Promise<SlowUpstream> {
    const upstream = new SlowUpstream(random);
    await new Promise<void>((resolve) => upstream.#server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  /** Host and port. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Makes a tag another image. @param name as in `lib/app:v1` */
  move(name: string): UpstreamImage {
    const image = this.#makeImage();
    const history = this.#tags.get(name) ?? [];
    history.push(image);
    this.#tags.set(name, history);
    return image;
  }

  /** All that a tag ever was, the newest last. */
  historyOf(name: string): readonly UpstreamImage[] {
    return this.#tags.get(name) ?? [];
  }

  #makeImage(): UpstreamImage {
    const own = Array.from({ length: this.#random.between(1, 3) }, () =>
      this.#random.bytes(this.#random.pick([50, 40_000, 400_000, 2_000_000])),
    );
    const layers = [...own, ...this.#sharedLayers.filter(() => this.#random.chance(0.4))];
    const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', number: this.#images.size }));
    const manifest = manifestOf({
      mediaType: mediaTypes.manifest,
      config: describeBytes(config, mediaTypes.config),
      layers: layers.map((layer) => describeBytes(layer, mediaTypes.layer)),
    });
    const blobs = new Map([config, ...layers].map((blob) => [sha256(blob), blob] as const));
    const image = { ...manifest, blobs };
    this.#images.set(image.digest, image);
    for (const [digest, bytes] of blobs) this.#blobs.set(digest, bytes);
    return image;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, repository = '', kind, reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)/.exec(request.url ?? '') ?? [];
    if (request.url === '/v2/') response.end('{}');
    else if (kind === 'manifests') this.#giveManifest(request, response, repository, reference);
    else if (kind === 'blobs') await this.#giveBlob(request, response, reference);
    else response.writeHead(404).end();
  }

  #giveManifest(request: IncomingMessage, response: ServerResponse, repository: string, reference: string): void {
    const image = this.#images.get(reference) ?? this.#tags.get(`${repository}:${reference}`)?.at(-1);
    if (image === undefined) {
      response.writeHead(404).end();
      return;
    }
    this.manifestsGiven += 1;
    response.writeHead(200, {
      'Content-Type': image.mediaType,
      'Content-Length': image.bytes.length,
      'Docker-Content-Digest': image.digest,
    });
    response.end(request.method === 'HEAD' ? undefined : image.bytes);
  }

  async #giveBlob(request: IncomingMessage, response: ServerResponse, digest: string): Promise<void> {
    const whole = this.#blobs.get(digest);
    if (whole === undefined) {
      response.writeHead(404).end();
      return;
    }
    const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(first ?? 0);
    response.writeHead(first === undefined ? 200 : 206, {
      'Content-Type': 'application/octet-stream',
      'Content-Length': whole.length - start,
      ...(first !== undefined && { 'Content-Range': `bytes ${start}-${whole.length - 1}/${whole.length}` }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    this.blobsGiven += 1;
    const isSpoilt = this.#random.between(1, 100) <= this.faultPercent;
    const isBroken = this.#random.between(1, 100) <= this.faultPercent;
    if (isSpoilt || isBroken) this.faultsMade += 1;
    const faultAt = this.#random.between(start, whole.length - 1);
    for (let at = start; at < whole.length && !response.destroyed; at += pieceSize) {
      const piece = Buffer.from(whole.subarray(at, at + pieceSize));
      if (faultAt >= at && faultAt < at + piece.length) {
        if (isBroken) {
          response.destroy();
          return;
        }
        if (isSpoilt) piece[faultAt - at]! ^= 1;
      }
      if (this.maxPauseMs > 0) await delay(this.#random.between(0, this.maxPauseMs));
      response.write(piece);
    }
    response.end();
  }
}
