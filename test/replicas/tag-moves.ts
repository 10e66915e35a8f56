import { setTimeout as delay } from 'node:timers/promises';
import { mediaTypes } from '../../conformance/support/image.js';
import { manifestOf } from '../faults/load.js';
import type { Random } from '../faults/random.js';
import { NoAnswerError, UnexpectedAnswerError, type RegistryClient } from '../faults/registry-client.js';
import type { Operation } from './linearizability-checker.js';

/** All that was asked of the tags of one repository, by tag. The values are digests. */
export class MoveRecord {
  readonly repository: string;
  readonly operations = new Map<string, Operation[]>();
  readonly violations: string[] = [];

  constructor(repository: string) {
    this.repository = repository;
  }

  add(tag: string, operation: Operation): void {
    const known = this.operations.get(tag) ?? [];
    this.operations.set(tag, known);
    known.push(operation);
  }

  get total(): number {
    return [...this.operations.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Those that were told that they were done, reads aside. */
  get acknowledged(): number {
    return this.#count(({ kind, respondedAt }) => kind !== 'read' && respondedAt !== Infinity);
  }

  get unknown(): number {
    return this.#count(({ respondedAt }) => respondedAt === Infinity);
  }

  #count(isCounted: (operation: Operation) => boolean): number {
    return [...this.operations.values()].flat().filter(isCounted).length;
  }
}

/** Somebody who moves, removes and reads a few tags that others move too. */
export interface MoverOptions {
  readonly client: RegistryClient;
  readonly record: MoveRecord;
  readonly random: Random;
  readonly tags: readonly string[];
  /** Of 100 requests so many are reads, and so many removals; the others push an image that nobody has seen before. */
  readonly reads: number;
  readonly removals: number;
  /** The longest pause between two requests, in milliseconds. */
  readonly maxPauseMs: number;
  readonly isEnding: () => boolean;
}

/** One request after the other until it ends; who gets no answer goes on with the next. */
export async function moveTags(options: MoverOptions): Promise<void> {
  const { record, random, maxPauseMs, isEnding } = options;
  while (!isEnding()) {
    try {
      await moveOnce(options);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) {
        record.violations.push(error instanceof Error ? error.message : String(error));
        return;
      }
      // What refuses connections would otherwise be asked a thousand times a second.
      await delay(20);
    }
    await delay(random.between(0, maxPauseMs));
  }
}

async function moveOnce({ client, record, random, tags, reads, removals }: MoverOptions): Promise<void> {
  const tag = random.pick(tags);
  const target = `/v2/${record.repository}/manifests/${tag}`;
  const what = random.between(0, 99);
  const invokedAt = performance.now();
  if (what < reads) {
    const { status, headers } = await client.expect([200, 404], random.pick(['GET', 'HEAD']), target);
    const value = status === 404 ? undefined : String(headers['docker-content-digest']);
    record.add(tag, { kind: 'read', value, invokedAt, respondedAt: performance.now() });
    return;
  }
  if (what < reads + removals) {
    const attempt = { kind: 'remove', value: undefined, invokedAt } as const;
    const { status } = await orUnknown(client.expect([202, 404], 'DELETE', target), () => {
      record.add(tag, { ...attempt, respondedAt: Infinity });
    });
    const respondedAt = performance.now();
    // Who is told that there is nothing to remove has looked, and done nothing.
    record.add(tag, status === 202 ? { ...attempt, respondedAt } : { ...attempt, kind: 'read', respondedAt });
    return;
  }
  const image = manifestOf({
    mediaType: mediaTypes.index,
    manifests: [],
    annotations: { random: random.bytes(12).toString('hex') },
  });
  const attempt = { kind: 'write', value: image.digest, invokedAt } as const;
  const call = { headers: { 'content-type': image.mediaType }, body: image.bytes };
  await orUnknown(client.expect(201, 'PUT', target, call), () => {
    record.add(tag, { ...attempt, respondedAt: Infinity });
  });
  record.add(tag, { ...attempt, respondedAt: performance.now() });
}

async function orUnknown<T>(answer: Promise<T>, record: () => void): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    // Also one that was refused: what it did is to be found out, and not believed.
    if (error instanceof NoAnswerError || error instanceof UnexpectedAnswerError) record();
    throw error;
  }
}
