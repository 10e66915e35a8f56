import { type Blob, makeBlob } from './blobs.js';
import type { CheckedRequest, RegistryClient } from './registry-client.js';

/** How much work each row does; sizes in bytes. */
export interface Sizes {
  readonly bigBlob: number;
  readonly smallBlobs: number;
  readonly pulls: number;
  readonly seconds: number;
  readonly crowdBlob: number;
}

/** Work whose speed is measured. */
export interface RateRow {
  readonly name: string;
  readonly unit: 'MB/s' | 'blobs/s' | 'requests/s';
  /** How often the work can be timed after one preparation: a push is new only once. */
  readonly repeats: number;
  /**
   * Pushes what the row needs and warms the registry up, all untimed.
   *
   * @returns the work to be timed, which resolves to how much it did, in the unit's terms
   */
  prepare(client: RegistryClient): Promise<() => Promise<number>>;
}

const MiB = 1024 * 1024;
const MB = 1_000_000;

/** Of the rows that change nothing. The registries take turns, so that a moment when the machine is busy hits all alike. */
const readRepeats = 4;

/** Sizes of a full run. */
export const fullSizes: Sizes = {
  bigBlob: 1024 * MiB,
  smallBlobs: 200,
  pulls: 100,
  seconds: 2,
  crowdBlob: 200 * MiB,
};

/** Sizes to see that everything works; the figures mean little. */
export const quickSizes: Sizes = { bigBlob: 64 * MiB, smallBlobs: 40, pulls: 20, seconds: 1, crowdBlob: 20 * MiB };

/** How many blobs are pushed at once when peak memory is measured. */
export const crowd = 20;

/** The rows, in the order in which they run. */
export function rateRows(sizes: Sizes): readonly RateRow[] {
  return [
    {
      name: `push ${mebibytes(sizes.bigBlob)}, streamed`,
      unit: 'MB/s',
      repeats: 1,
      async prepare(client) {
        await client.pushStreamed(makeBlob(sizes.bigBlob / 4));
        const blob = makeBlob(sizes.bigBlob);
        return async () => {
          await client.pushStreamed(blob);
          return blob.size / MB;
        };
      },
    },
    {
      name: `push ${sizes.smallBlobs} × 1 MiB, 8 at a time`,
      unit: 'blobs/s',
      repeats: 1,
      async prepare(client) {
        const push = (blob: Blob): Promise<void> => client.pushMonolithic(blob);
        await inParallel(8, makeBlobs(2 * sizes.smallBlobs, MiB / 4), push);
        const blobs = makeBlobs(sizes.smallBlobs, MiB);
        return async () => {
          await inParallel(8, blobs, push);
          return blobs.length;
        };
      },
    },
    {
      name: `pull ${mebibytes(sizes.bigBlob)}`,
      unit: 'MB/s',
      repeats: readRepeats,
      async prepare(client) {
        const blob = makeBlob(sizes.bigBlob);
        await client.pushStreamed(blob);
        await client.verify(client.blobRequest(blob));
        return async () => {
          await pull(client, 1, [client.blobRequest(blob)]);
          return blob.size / MB;
        };
      },
    },
    {
      name: `pull ${sizes.pulls} × 10 MiB, 8 at a time`,
      unit: 'MB/s',
      repeats: readRepeats,
      async prepare(client) {
        const blobs = makeBlobs(10, 10 * MiB);
        await inParallel(4, blobs, (blob) => client.pushMonolithic(blob));
        for (const blob of blobs) await client.verify(client.blobRequest(blob));
        const requests = Array.from({ length: sizes.pulls }, (_, i) => client.blobRequest(blobs[i % blobs.length]!));
        return async () => {
          await pull(client, 8, requests);
          return (sizes.pulls * 10 * MiB) / MB;
        };
      },
    },
    {
      name: 'GET manifest by tag, 32 connections',
      unit: 'requests/s',
      repeats: readRepeats,
      async prepare(client) {
        const request = await client.pushImage('latest', makeBlob(MiB));
        await client.verify(request);
        await repeat(client, request, sizes.seconds);
        return () => repeat(client, request, sizes.seconds);
      },
    },
    {
      name: 'HEAD blob, 32 connections',
      unit: 'requests/s',
      repeats: readRepeats,
      async prepare(client) {
        const blob = makeBlob(MiB);
        await client.pushMonolithic(blob);
        const request = client.blobHeadRequest(blob);
        await repeat(client, request, sizes.seconds);
        return () => repeat(client, request, sizes.seconds);
      },
    },
  ];
}

/** Pushes {@link crowd} blobs at once, each streamed in one PATCH. */
export async function pushCrowd(client: RegistryClient, blobSize: number): Promise<void> {
  await inParallel(crowd, makeBlobs(crowd, blobSize), (blob) => client.pushStreamed(blob));
}

/** A size as people say it. */
export function mebibytes(size: number): string {
  return size % (1024 * MiB) === 0 ? `${size / (1024 * MiB)} GiB` : `${Math.round(size / MiB)} MiB`;
}

/** Makes so many blobs of `size` bytes. */
export function makeBlobs(count: number, size: number): Blob[] {
  return Array.from({ length: count }, () => makeBlob(size));
}

/** Sends requests on so many connections at once. */
export async function pull(
  client: RegistryClient,
  connections: number,
  requests: readonly CheckedRequest[],
): Promise<void> {
  const queue = requests.values();
  const workers = Array.from({ length: connections }, async () => {
    const connection = await client.openConnection();
    for (const request of queue) await connection.exchange(request.head, request.expected);
    connection.close();
  });
  await Promise.all(workers);
}

async function repeat(client: RegistryClient, request: CheckedRequest, seconds: number): Promise<number> {
  const deadline = performance.now() + seconds * 1000;
  let count = 0;
  const workers = Array.from({ length: 32 }, async () => {
    const connection = await client.openConnection();
    while (performance.now() < deadline) {
      await connection.exchange(request.head, request.expected);
      count += 1;
    }
    connection.close();
  });
  await Promise.all(workers);
  return count;
}

/** Works on items, at most `limit` of them at a time. */
export async function inParallel<T>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const workers = Array.from({ length: limit }, async () => {
    for (const item of queue) await work(item);
  });
  await Promise.all(workers);
}
