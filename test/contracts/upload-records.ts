import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KyselyUploadRecords } from '../../src/metadata/kysely-upload-records.js';
import type { Database } from '../../src/metadata/schema.js';
import type { UploadRecord, UploadRecords } from '../../src/metadata/upload-records.js';
import { digestOf } from '../../src/oci/digest.js';
import { app } from './pushes.js';

/**
 * Everything that any UploadRecords must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function uploadRecordsContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has records of uploads that`, () => {
    let db: Database;
    let uploads: UploadRecords;
    let now: Date;
    beforeEach(async () => {
      db = await openDatabase();
      now = new Date('2026-01-01T00:00:00Z');
      uploads = new KyselyUploadRecords(db, () => now);
    });
    afterEach(() => db.destroy());

    const upload: UploadRecord = {
      id: '0123456789abcdef',
      repository: app,
      principal: 'ada',
      algorithm: 'sha256',
      size: 0,
      digestSoFar: digestOf(''),
      state: undefined,
      hashState: undefined,
    };

    const turn = (holder: string, seconds = 10) => ({ holder, until: new Date(now.getTime() + seconds * 1000) });
    /** As whoever has taken the turn. */
    const record = async (moved: UploadRecord, previousSize: number): Promise<boolean> => {
      const holder = `mover to ${moved.size}`;
      return (
        (await uploads.holdUpload(moved.id, turn(holder))) !== undefined &&
        uploads.recordProgress(moved, previousSize, holder)
      );
    };

    test('are found by their id, as they were added', async () => {
      await uploads.addUpload(upload);
      await uploads.addUpload({ ...upload, id: 'another', principal: 'grace' });
      expect(await uploads.findUpload(upload.id)).toEqual(upload);
      expect(await uploads.findUpload('unknown')).toBeUndefined();
    });

    test('are not added twice', async () => {
      await uploads.addUpload(upload);
      await expect(uploads.addUpload(upload)).rejects.toThrow();
    });

    test('move on from the size they had, with the digest so far', async () => {
      const moved: UploadRecord = {
        ...upload,
        algorithm: 'sha512',
        size: 6 * 1024 ** 3,
        digestSoFar: digestOf('many bytes', 'sha512'),
        state: 'what the store said',
        hashState: 'as far as it has come',
      };
      await uploads.addUpload(upload);
      expect(await record(moved, 0)).toBe(true);
      expect(await uploads.findUpload(upload.id)).toEqual(moved);
    });

    test('stay when they moved on meanwhile', async () => {
      await uploads.addUpload(upload);
      await record({ ...upload, size: 10 }, 0);
      expect(await record({ ...upload, size: 7 }, 0)).toBe(false);
      expect(await uploads.findUpload(upload.id)).toMatchObject({ size: 10 });
    });

    test('let one of two that move them at once win', async () => {
      await uploads.addUpload(upload);
      const won = await Promise.all([7, 9].map((size) => record({ ...upload, size }, 0)));
      expect(won.sort()).toEqual([false, true]);
    });

    test('do not move on when they are gone', async () => {
      expect(await record({ ...upload, size: 7 }, 0)).toBe(false);
      expect(await uploads.findUpload(upload.id)).toBeUndefined();
    });

    test('that have ended are found by whoever clears away, and by nobody else', async () => {
      await uploads.addUpload(upload);
      await uploads.endUpload(upload.id);
      expect(await uploads.findUpload(upload.id)).toBeUndefined();
      expect(await record({ ...upload, size: 7 }, 0)).toBe(false);
      expect(await uploads.listStaleUploads(new Date('2025-01-01T00:00:00Z'), 10)).toEqual([upload.id]);
    });

    test('are gone when they were removed, which may be said twice', async () => {
      await uploads.addUpload(upload);
      await uploads.addUpload({ ...upload, id: 'another' });
      await uploads.removeUpload(upload.id);
      await uploads.removeUpload(upload.id);
      expect(await uploads.findUpload(upload.id)).toBeUndefined();
      expect(await uploads.findUpload('another')).toBeDefined();
    });

    test('are stale when they were not touched since, the longest resting first', async () => {
      for (const [id, minute] of [
        ['second', 2],
        ['first', 1],
        ['third', 3],
      ] as const) {
        now = new Date(Date.UTC(2026, 0, 1, 0, minute));
        await uploads.addUpload({ ...upload, id });
      }
      expect(await uploads.listStaleUploads(new Date(Date.UTC(2026, 0, 1, 0, 3)), 10)).toEqual(['first', 'second']);
      expect(await uploads.listStaleUploads(new Date(Date.UTC(2026, 0, 1, 0, 4)), 2)).toEqual(['first', 'second']);
      expect(await uploads.listStaleUploads(new Date(Date.UTC(2026, 0, 1, 0, 1)), 10)).toEqual([]);
    });

    describe('give turns, which', () => {
      beforeEach(() => uploads.addUpload(upload));

      test('one has at a time', async () => {
        expect(await uploads.findHolder(upload.id)).toBeUndefined();
        const taken = await Promise.all(['a', 'b', 'c'].map((name) => uploads.holdUpload(upload.id, turn(name))));
        expect(taken.filter((each) => each !== undefined && 'heldBy' in each)).toHaveLength(2);
        expect(taken).toContainEqual({ upload, isTakenOver: false });
        expect(await uploads.findHolder(upload.id)).toMatch(/^[abc]$/);
      });

      test('are prolonged by who has them', async () => {
        await uploads.holdUpload(upload.id, turn('a', 10));
        await uploads.holdUpload(upload.id, turn('a', 20));
        now = new Date(now.getTime() + 15_000);
        expect(await uploads.holdUpload(upload.id, turn('b'))).toEqual({ heldBy: 'a' });
      });

      test('are given back', async () => {
        await uploads.holdUpload(upload.id, turn('a'));
        await uploads.releaseUpload(upload.id, 'b');
        expect(await uploads.holdUpload(upload.id, turn('b'))).toEqual({ heldBy: 'a' });
        await uploads.releaseUpload(upload.id, 'a');
        expect(await uploads.holdUpload(upload.id, turn('b'))).toEqual({ upload, isTakenOver: false });
      });

      test('are given back with progress', async () => {
        await uploads.holdUpload(upload.id, turn('a'));
        expect(await uploads.recordProgress({ ...upload, size: 7 }, 0, 'a')).toBe(true);
        expect(await uploads.findHolder(upload.id)).toBeUndefined();
      });

      test('are lost after their time, and with them the right to move the session', async () => {
        await uploads.holdUpload(upload.id, turn('a'));
        now = new Date(now.getTime() + 10_000);
        expect(await uploads.findHolder(upload.id)).toBeUndefined();
        expect(await uploads.holdUpload(upload.id, turn('b'))).toEqual({ upload, isTakenOver: true });
        expect(await uploads.recordProgress({ ...upload, size: 7 }, 0, 'a')).toBe(false);
        expect(await uploads.recordProgress({ ...upload, size: 9 }, 0, 'b')).toBe(true);
      });

      test('pass over from a holder that is gone', async () => {
        await uploads.holdUpload(upload.id, turn('a'));
        expect(await uploads.holdUpload(upload.id, turn('b'), 'c')).toEqual({ heldBy: 'a' });
        expect(await uploads.holdUpload(upload.id, turn('b'), 'a')).toEqual({ upload, isTakenOver: true });
        expect(await uploads.recordProgress({ ...upload, size: 7 }, 0, 'a')).toBe(false);
      });

      test('come with a session that is gone on with at once', async () => {
        await uploads.addUpload({ ...upload, id: 'another' }, turn('a'));
        expect(await uploads.holdUpload('another', turn('b'))).toEqual({ heldBy: 'a' });
      });

      test('nobody has of a session that is not there, or has ended', async () => {
        expect(await uploads.holdUpload('unknown', turn('a'))).toBeUndefined();
        await uploads.endUpload(upload.id);
        expect(await uploads.holdUpload(upload.id, turn('a'))).toBeUndefined();
      });

      test('keep a session from being stale', async () => {
        await uploads.holdUpload(upload.id, turn('a'));
        const later = new Date(now.getTime() + 1);
        expect(await uploads.listStaleUploads(later, 10)).toEqual([]);
        now = new Date(now.getTime() + 10_000);
        expect(await uploads.listStaleUploads(later, 10)).toEqual([upload.id]);
      });
    });

    test('are touched by progress, also by progress of no bytes', async () => {
      await uploads.addUpload(upload);
      now = new Date(now.getTime() + 60_000);
      await record(upload, 0);
      expect(await uploads.listStaleUploads(now, 10)).toEqual([]);
      expect(await uploads.listStaleUploads(new Date(now.getTime() + 1), 10)).toEqual([upload.id]);
    });

    test('are counted', async () => {
      expect(await uploads.countUploads()).toBe(0);
      await uploads.addUpload(upload);
      await uploads.addUpload({ ...upload, id: 'another' });
      expect(await uploads.countUploads()).toBe(2);
      await uploads.removeUpload('another');
      expect(await uploads.countUploads()).toBe(1);
    });
  });
}
