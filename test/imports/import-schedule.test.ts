import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ImportSchedule, nextCheck } from '../../src/imports/import-schedule.js';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import type { ObjectStore } from '../../src/metadata/object-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import type { TagReference } from '../../src/streams/types.js';
import { addProjects } from '../support/projects.js';
import { put } from '../support/stored-access.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const minute = 60_000;
const now = new Date('2026-03-01T12:00:00Z');

describe('the next look at a source', () => {
  const moments = Array.from({ length: 50 }, (_, count) => new Date(now.getTime() + count * 41_237));
  const sources = Array.from({ length: 20 }, (_, count) => `quay.io/team/app-${count}:latest`);

  test.each([1000, 15 * minute, 24 * 60 * minute])('is from half of to one and a half of %d ms away', (intervalMs) => {
    for (const source of sources) {
      for (const at of moments) {
        const away = nextCheck(source, intervalMs, at).getTime() - at.getTime();
        expect(away).toBeGreaterThanOrEqual(intervalMs / 2);
        expect(away).toBeLessThan(intervalMs * 1.5);
      }
    }
  });

  test('is at one of the moments of the source, whoever asks and when', () => {
    for (const source of sources) {
      const phases = moments.map((at) => nextCheck(source, 15 * minute, at).getTime() % (15 * minute));
      expect(new Set(phases).size).toBe(1);
    }
  });

  test('comes once an interval when each look begins at the moment of the last', () => {
    let at = now;
    for (let count = 0; count < 10; count += 1) {
      const next = nextCheck('quay.io/team/app:v1', 15 * minute, at);
      if (count > 0) expect(next.getTime() - at.getTime()).toBe(15 * minute);
      at = next;
    }
  });

  test('is spread over the interval', () => {
    const buckets = Array.from({ length: 15 }, () => 0);
    for (let count = 0; count < 1000; count += 1) {
      const next = nextCheck(`quay.io/team/app-${count}:latest`, 15 * minute, now).getTime();
      const bucket = Math.floor((next % (15 * minute)) / minute);
      buckets[bucket] = buckets[bucket]! + 1;
    }
    // Sixty-seven each on average, eight of which are a standard deviation.
    expect(Math.min(...buckets)).toBeGreaterThan(30);
    expect(Math.max(...buckets)).toBeLessThan(110);
  });
});

describe('the schedule of a tag', () => {
  let store: ObjectStore;
  let schedule: ImportSchedule;
  beforeEach(async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    await addProjects(db, ['team']);
    store = new KyselyObjectStore(db);
    schedule = new ImportSchedule(store, { intervalMs: 15 * minute, minIntervalMs: 5 * minute });
  });

  const tag = (more: Partial<TagReference> = {}): TagReference => ({
    name: 'v1',
    from: { kind: 'DockerImage', name: 'quay.io/team/app:v1' },
    importPolicy: { scheduled: true, importMode: 'Legacy' },
    referencePolicy: { type: 'Source' },
    ...more,
  });
  const source = 'quay.io/team/app:v1';
  const every = (interval: string): Partial<TagReference> => ({
    annotations: { 'weir.dev/import-interval': interval },
  });
  const setOfProject = (interval: string): Promise<unknown> => {
    const metadata = { name: 'team', annotations: { 'weir.dev/import-interval': interval } };
    return put(store, 'namespaces', metadata, {});
  };

  test('is what is configured', async () => {
    const next = await schedule.of('team');
    expect(next(tag(), 'imported', now)).toEqual(nextCheck(source, 15 * minute, now));
    expect(next(tag(), 'failed', now)).toEqual(nextCheck(source, 15 * minute, now));
    expect((await schedule.of('absent'))(tag(), 'imported', now)).toEqual(nextCheck(source, 15 * minute, now));
  });

  test('is what the tag says, and not below what is configured as the least', async () => {
    const next = await schedule.of('team');
    expect(next(tag(every('2h')), 'imported', now)).toEqual(nextCheck(source, 120 * minute, now));
    expect(next(tag(every('1s')), 'imported', now)).toEqual(nextCheck(source, 5 * minute, now));
    expect(next(tag(every('sometimes')), 'imported', now)).toEqual(nextCheck(source, 15 * minute, now));
  });

  test('is what the project says where the tag says nothing, from the next question on', async () => {
    await schedule.of('team');
    await setOfProject('1h');
    const next = await schedule.of('team');
    expect(next(tag(), 'imported', now)).toEqual(nextCheck(source, 60 * minute, now));
    expect(next(tag(every('2h')), 'imported', now)).toEqual(nextCheck(source, 120 * minute, now));
    await setOfProject('1m');
    expect((await schedule.of('team'))(tag(), 'imported', now)).toEqual(nextCheck(source, 5 * minute, now));
    await setOfProject('nonsense');
    expect((await schedule.of('team'))(tag(), 'imported', now)).toEqual(nextCheck(source, 15 * minute, now));
  });

  test('is one for all spellings of a source', async () => {
    const next = await schedule.of('team');
    const spelled = (name: string) => next(tag({ from: { kind: 'DockerImage', name } }), 'imported', now);
    expect(spelled('docker.io/library/redis:latest')).toEqual(spelled('redis'));
    expect(spelled('redis:7')).not.toEqual(spelled('redis'));
  });

  const pinned = { kind: 'DockerImage', name: `quay.io/team/app@sha256:${'a'.repeat(64)}` } as const;
  test.each<{ readonly name: string; readonly more: Partial<TagReference> }>([
    { name: 'is not scheduled', more: { importPolicy: { importMode: 'Legacy' } } },
    { name: 'only refers to its source', more: { reference: true } },
    { name: 'follows another', more: { from: { kind: 'ImageStreamTag', name: 'app:v1' } } },
    { name: 'was returned to what it was', more: { annotations: { 'weir.dev/schedule-paused': 'true' } } },
    { name: 'is named by its digest, once it is there', more: { from: pinned } },
  ])('is none when it $name', async ({ more }) => {
    expect((await schedule.of('team'))(tag(more), 'imported', now)).toBeUndefined();
  });

  test('goes on for what is named by its digest until it is there', async () => {
    expect((await schedule.of('team'))(tag({ from: pinned }), 'failed', now)).toBeInstanceOf(Date);
  });
});
