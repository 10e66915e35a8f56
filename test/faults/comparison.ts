import type { Ledger, OpenSession } from './ledger.js';
import { referencesOf } from './load.js';
import type { Random } from './random.js';
import { receivedBytes, sha256, type RegistryClient } from './registry-client.js';

const parallelRequests = 12;

/** What to compare, and with whose help. */
export interface ComparisonOptions {
  readonly client: RegistryClient;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Images of earlier rounds to look at again; Infinity: all of them, and all tags. */
  readonly olderImages: number;
  /** Whether blobs that nothing refers to are collected after a short time. */
  readonly collecting: boolean;
}

/** What a comparison looked at. */
export interface ComparisonCounts {
  tags: number;
  images: number;
  blobs: number;
  sessions: number;
}

/**
 * Compares a registry with a ledger, through the API: what was acknowledged must be there whole, what had no answer
 * may be there or not, but not by half. What is wrong goes to the ledger's violations; what was unknown is known then.
 */
export async function compareWithLedger(options: ComparisonOptions): Promise<ComparisonCounts> {
  const comparison = new Comparison(options);
  await comparison.run();
  return comparison.counts;
}

class Comparison {
  readonly counts: ComparisonCounts = { tags: 0, images: 0, blobs: 0, sessions: 0 };
  readonly #options: ComparisonOptions;
  readonly #client: RegistryClient;
  readonly #ledger: Ledger;
  /** By digest, what reading the whole blob came to. */
  readonly #read = new Map<string, Promise<string | undefined>>();
  /** By repository and digest. */
  readonly #linked = new Map<string, Promise<void>>();

  constructor(options: ComparisonOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#ledger = options.ledger;
  }

  async run(): Promise<void> {
    const { touched, tags, images, blobs, unknownBlobs, sessions } = this.#ledger;
    const all = this.#options.olderImages === Infinity;
    await this.#inParallel(
      [...tags.keys()].filter((key) => all || touched.has(key)),
      (key) => this.#checkTag(key),
    );
    const older = all ? [] : this.#sample([...images.keys()].filter((key) => !touched.has(key)));
    await this.#inParallel(
      [...new Set([...[...images.keys()].filter((key) => all || touched.has(key)), ...older])],
      (key) => this.#checkImage(key),
    );
    const repositories = new Set([...touched].map((key) => /^[^:@]+/.exec(key)![0]));
    await this.#inParallel([...repositories], (repository) => this.#checkTagList(repository));
    // Sessions first: finishing one is another push.
    await this.#inParallel([...sessions], (session) => this.#checkSession(session));
    await this.#inParallel([...unknownBlobs.values()], (blob) => this.#checkUnknownBlob(blob.repository, blob.digest));
    const kept = [...blobs.values()].filter((blob) => blob.kept);
    await this.#inParallel(all ? kept : kept.slice(-400), (blob) =>
      this.#checkBlob(blob.repository, blob.digest, blob.size),
    );
    this.#ledger.forgetTouched();
  }

  async #checkTag(key: string): Promise<void> {
    this.counts.tags += 1;
    const register = this.#ledger.tags.get(key)!;
    const possible = register.possible();
    const [repository, tag] = [key.slice(0, key.lastIndexOf(':')), key.slice(key.lastIndexOf(':') + 1)];
    const { status, headers, body } = await this.#client.expect(
      [200, 404],
      'GET',
      `/v2/${repository}/manifests/${tag}`,
    );
    const digest = status === 404 ? undefined : String(headers['docker-content-digest']);
    if (!possible.has(digest)) {
      this.#violation(`tag ${key} leads to ${digest ?? 'nothing'} instead of ${[...possible].join(' or ')}`);
    } else if (digest !== undefined && !this.#ledger.manifests.get(digest)!.bytes.equals(body)) {
      this.#violation(`tag ${key} leads to ${digest}, whose bytes are not those that were pushed`);
    }
    register.settle(digest);
  }

  async #checkImage(key: string): Promise<void> {
    this.counts.images += 1;
    const register = this.#ledger.images.get(key)!;
    const [repository = '', digest = ''] = key.split('@');
    const { status, body } = await this.#client.expect([200, 404], 'GET', `/v2/${repository}/manifests/${digest}`);
    const present = status === 200;
    if (!register.possible().has(present)) this.#violation(`image ${key} ${present ? 'is back' : 'is gone'}`);
    register.settle(present);
    if (!present) return;
    const { bytes, manifest } = this.#ledger.manifests.get(digest)!;
    if (!bytes.equals(body)) this.#violation(`image ${key} has not the bytes that were pushed`);
    for (const reference of referencesOf(manifest)) {
      if (manifest.manifests === undefined) await this.#checkBlob(repository, reference.digest, reference.size);
      else await this.#client.expect(200, 'HEAD', `/v2/${repository}/manifests/${reference.digest}`);
    }
  }

  async #checkTagList(repository: string): Promise<void> {
    const { body } = await this.#client.expect([200, 404], 'GET', `/v2/${repository}/tags/list?n=1000`);
    const listed = (JSON.parse(body.toString('utf8')) as { tags?: string[] }).tags ?? [];
    const expected = this.#ledger.tagsOf(repository);
    if (JSON.stringify([...listed].sort()) !== JSON.stringify(expected)) {
      this.#violation(`${repository} lists the tags ${listed.join(' ')} instead of ${expected.join(' ')}`);
    }
  }

  /** A blob of a repository that must be there; its bytes are read once, whatever the number of repositories. */
  #checkBlob(repository: string, digest: string, size: number): Promise<void> {
    const key = `${repository}@${digest}`;
    const known = this.#linked.get(key);
    if (known !== undefined) return known;
    const check = this.#lookAtBlob(repository, digest, size);
    this.#linked.set(key, check);
    return check;
  }

  async #lookAtBlob(repository: string, digest: string, size: number): Promise<void> {
    this.counts.blobs += 1;
    const { status, headers } = await this.#client.send('HEAD', `/v2/${repository}/blobs/${digest}`);
    if (status !== 200 || headers['content-length'] !== String(size)) {
      this.#violation(`blob ${digest} of ${repository}: HEAD says ${status}, ${headers['content-length'] ?? ''} bytes`);
      return;
    }
    const read = this.#read.get(digest) ?? this.#readBlob(repository, digest);
    this.#read.set(digest, read);
    if ((await read) === undefined) this.#violation(`blob ${digest} of ${repository} is gone`);
  }

  async #checkUnknownBlob(repository: string, digest: string): Promise<void> {
    this.counts.blobs += 1;
    await this.#readBlob(repository, digest);
  }

  /** @returns undefined when the repository does not have it */
  async #readBlob(repository: string, digest: string): Promise<string | undefined> {
    const { status, body } = await this.#client.expect([200, 404], 'GET', `/v2/${repository}/blobs/${digest}`);
    if (status === 404) return undefined;
    const actual = sha256(body);
    if (actual !== digest) {
      this.#violation(`blob ${digest} of ${repository} is served as ${body.length} bytes of digest ${actual}`);
    }
    return actual;
  }

  /** What a session says it has is really there, and it can go on from that point. */
  async #checkSession(session: OpenSession): Promise<void> {
    this.counts.sessions += 1;
    const { repository, location, bytes, digest } = session;
    const answer = await this.#client.expect([204, 404], 'GET', location);
    if (answer.status === 404) {
      if (!session.finishing) this.#violation(`session ${location} is gone, and nobody had ended it`);
      else if (session.kept && (await this.#readBlob(repository, digest)) === undefined) {
        this.#violation(`session ${location} is gone without having become ${digest}`);
      }
      return;
    }
    const size = receivedBytes(answer);
    if (size < session.received || size > bytes.length) {
      this.#violation(`session ${location} has ${size} bytes: ${session.received} were acknowledged`);
      return;
    }
    const choice = this.#options.random.fraction();
    if (choice < 0.35) await this.#finish(session, bytes.subarray(0, size), undefined);
    else if (choice < 0.7) await this.#finish(session, bytes, size);
    // The others are left behind, for the expiry to clear away.
  }

  /** @param from sends what is missing from there on; undefined: nothing is missing */
  async #finish({ repository, location }: OpenSession, bytes: Buffer, from: number | undefined): Promise<void> {
    const digest = sha256(bytes);
    const kept = !this.#options.collecting;
    const change = this.#ledger.pushBlob({ repository, digest, size: bytes.length, kept });
    if (from !== undefined && from < bytes.length) {
      const headers = { 'content-range': `${from}-${bytes.length - 1}` };
      await this.#client.expect(202, 'PATCH', location, { headers, body: bytes.subarray(from) });
    }
    const { status, body } = await this.#client.send('PUT', `${location}?digest=${digest}`);
    if (status !== 201) {
      change.refuse();
      this.#violation(`session ${location} does not end with what it has: ${status} ${body.toString('utf8')}`);
      return;
    }
    change.acknowledge();
    if ((await this.#readBlob(repository, digest)) === undefined) this.#violation(`${digest} is gone at once`);
  }

  #sample(keys: readonly string[]): string[] {
    const { random, olderImages } = this.#options;
    return keys.length === 0 ? [] : Array.from({ length: olderImages }, () => random.pick(keys));
  }

  /** An answer that should not be, or none at all, is a violation like any other. */
  async #inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const queue = [...items];
    await Promise.all(
      Array.from({ length: parallelRequests }, async () => {
        for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
          await work(item).catch((error: unknown) => {
            this.#violation(error instanceof Error ? error.message : String(error));
          });
        }
      }),
    );
  }

  #violation(text: string): void {
    this.#ledger.violations.push(text);
  }
}
