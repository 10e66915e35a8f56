import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { resumeHash, startHash } from '../../src/distribution/running-hash.js';

const pieces = [randomBytes(1), randomBytes(70_000), randomBytes(3), randomBytes(1_000_003)];

describe.each(['sha256', 'sha512'] as const)('a running %s', (algorithm) => {
  const expected = (count: number) =>
    `${algorithm}:${createHash(algorithm)
      .update(Buffer.concat(pieces.slice(0, count)))
      .digest('hex')}`;

  test.each([{ isSaved: false }, { isSaved: true }])(
    'tells the digest of what it has seen, again and again (saved: $isSaved)',
    async ({ isSaved }) => {
      const hash = await startHash(algorithm, isSaved);
      expect(hash.snapshot().digest).toBe(expected(0));
      for (const [index, piece] of pieces.entries()) {
        hash.update(piece);
        expect(hash.snapshot().digest).toBe(expected(index + 1));
      }
    },
  );

  test.each([{ isSaved: false }, { isSaved: true }])(
    'goes on from any earlier moment (saved: $isSaved)',
    async ({ isSaved }) => {
      const hash = await startHash(algorithm, isSaved);
      const snapshots = pieces.map((piece) => {
        const before = hash.snapshot();
        hash.update(piece);
        return before;
      });
      for (const [index, snapshot] of snapshots.entries()) {
        const resumed = await snapshot.resume();
        expect(snapshot.digest).toBe(expected(index));
        for (const piece of pieces.slice(index)) resumed.update(piece);
        expect(resumed.snapshot().digest).toBe(expected(pieces.length));
        // Also a second time: somebody may go on from it twice.
        expect((await snapshot.resume()).snapshot().digest).toBe(expected(index));
      }
    },
  );

  test('is saved as a short text, from which another process goes on', async () => {
    const hash = await startHash(algorithm, true);
    hash.update(pieces[1]!);
    const { state } = hash.snapshot();
    expect(state!.length).toBeLessThan(400);
    const resumed = await resumeHash(algorithm, state!);
    resumed.update(pieces[2]!);
    const whole = createHash(algorithm).update(pieces[1]!).update(pieces[2]!).digest('hex');
    expect(resumed.snapshot().digest).toBe(`${algorithm}:${whole}`);
  });

  test('of Node cannot be saved, and says so', async () => {
    expect((await startHash(algorithm, false)).snapshot().state).toBeUndefined();
  });

  test('does not go on from a text that is no state of it', async () => {
    await expect(resumeHash(algorithm, Buffer.from('something else').toString('base64'))).rejects.toThrow();
  });
});
