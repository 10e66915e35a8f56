// Clients of a registry in a process of their own: each pulls one image as others do, the manifest and then its blobs, three
// at a time, and compares every byte with what it must be, which costs less than hashing them. Some hash all the same.
import { createHash } from 'node:crypto';
import { readImage, type ColdContent, type ColdImage } from './cold-pull-image.js';
import { Connection } from './connection.js';

/** What the clients are to do; the process ends with its parent. */
export interface ColdPullOrder {
  readonly url: string;
  /** As in `hub/bench/app`. */
  readonly repository: string;
  readonly tag: string;
  readonly authorization: string | undefined;
  readonly image: ColdImage;
  readonly clients: number;
}

/** What came of it; times are milliseconds since the order came. */
export interface ColdPullReport {
  /** When each client had all. */
  readonly ends: readonly number[];
  /** How long each blob's first byte took, those of the config left out. */
  readonly firstBytes: readonly number[];
  readonly bytes: number;
  /** What went wrong, each once. */
  readonly errors: readonly string[];
}

const blobsAtOnce = 3;
/** One of so many clients hashes what it gets. */
const hashing = 20;

process.on('message', (order: ColdPullOrder) => {
  void pullAll(order).then((report) => process.send!(report));
});
process.on('disconnect', () => process.exit());

async function pullAll(order: ColdPullOrder): Promise<ColdPullReport> {
  const contents = readImage(order.image);
  const began = performance.now();
  const errors = new Set<string>();
  const ends: number[] = [];
  const firstBytes: number[] = [];
  let bytes = 0;
  const pullOne = async (number: number): Promise<void> => {
    const url = new URL(order.url);
    const connections: Connection[] = [];
    const pull = async (connection: Connection, kind: 'manifests' | 'blobs', content: ColdContent) => {
      const reference = kind === 'manifests' ? order.tag : content.digest;
      const expected = { status: 200, digest: content.digest, length: content.size, hasBody: true };
      const check = new Check(content.digest, contents.get(content.digest)!, number % hashing === 0);
      const asked = performance.now();
      await connection.exchange(requestOf(order, kind, reference), expected, (chunk) => {
        if (check.size === 0 && chunk.length > 0 && order.image.layers.includes(content)) {
          firstBytes.push(performance.now() - asked);
        }
        check.take(chunk);
      });
      check.end();
      bytes += content.size;
    };
    try {
      connections.push(await Connection.open(url));
      await pull(connections[0]!, 'manifests', order.image.manifest);
      const left = [order.image.config, ...order.image.layers];
      while (connections.length < blobsAtOnce) connections.push(await Connection.open(url));
      await Promise.all(
        connections.map(async (connection) => {
          for (let next = left.shift(); next !== undefined; next = left.shift()) await pull(connection, 'blobs', next);
        }),
      );
      ends.push(performance.now() - began);
    } catch (error) {
      errors.add(error instanceof Error ? error.message : String(error));
    } finally {
      for (const connection of connections) connection.close();
    }
  };
  await Promise.all(Array.from({ length: order.clients }, (_, number) => pullOne(number)));
  return { ends, firstBytes, bytes, errors: [...errors] };
}

function requestOf({ url, repository, authorization }: ColdPullOrder, kind: string, reference: string): string {
  const lines = [
    `GET /v2/${repository}/${kind}/${reference} HTTP/1.1`,
    `Host: ${new URL(url).host}`,
    'Accept: application/vnd.oci.image.manifest.v1+json, */*',
    ...(authorization === undefined ? [] : [`Authorization: ${authorization}`]),
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Holds bytes as they come against those that must come. */
class Check {
  readonly #digest: string;
  readonly #wanted: Buffer;
  readonly #hash = createHash('sha256');
  readonly #isHashed: boolean;
  #isWrong = false;
  size = 0;

  constructor(digest: string, wanted: Buffer, isHashed: boolean) {
    this.#digest = digest;
    this.#wanted = wanted;
    this.#isHashed = isHashed;
  }

  take(chunk: Buffer): void {
    if (!chunk.equals(this.#wanted.subarray(this.size, this.size + chunk.length))) this.#isWrong = true;
    if (this.#isHashed) this.#hash.update(chunk);
    this.size += chunk.length;
  }

  /** @throws {Error} when they were not those, or not all */
  end(): void {
    if (this.#isWrong) throw new Error(`${this.#digest} came with wrong bytes`);
    if (this.size !== this.#wanted.length) throw new Error(`${this.#digest} came with ${this.size} bytes only`);
    if (this.#isHashed && `sha256:${this.#hash.digest('hex')}` !== this.#digest) {
      throw new Error(`${this.#digest} is the digest of other bytes than came`);
    }
  }
}
