import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { UnreadableKeyError } from '../../src/metadata/key-records.js';
import { KyselyKeyRecords } from '../../src/metadata/kysely-key-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { keyRecordsContract } from '../contracts/key-records.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

keyRecordsContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
  const path = join(folder, 'weir.sqlite');
  const [here, there] = [await openSqlite(path), await openSqlite(path)];
  const box = new SecretBox([randomBytes(32)]);
  const records = new KyselyKeyRecords(here, box);
  return {
    here: records,
    there: new KyselyKeyRecords(there, box),
    concurrent: [records],
    close: async () => {
      await Promise.all([here.destroy(), there.destroy()]);
      await rm(folder, { recursive: true });
    },
  };
});

keyRecordsContract('memory', () => {
  const records = new MemoryKeyRecords();
  return Promise.resolve({ here: records, there: records, concurrent: [records], close: () => Promise.resolve() });
});

describe('keys in the database', () => {
  const createdAt = new Date('2026-01-01T00:00:00Z');
  const [old, next] = [randomBytes(32), randomBytes(32)];
  let db: Database;
  beforeEach(async () => {
    db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
  });

  /** As a process with these secrets keys. */
  const recordsOf = (...keys: readonly Buffer[]) => new KyselyKeyRecords(db, new SecretBox(keys));
  const sealedTexts = async () =>
    (await db.selectFrom('key').select('sealed').orderBy('id').execute()).map((row) => row.sealed);

  test('are nobody’s to read who has only the database', async () => {
    await recordsOf(old).add('registry-tokens', { id: 'a', createdAt, text: 'the private part' });
    const [sealed] = await sealedTexts();
    expect(sealed).not.toContain('private');
    expect(Buffer.from((JSON.parse(sealed!) as { text: string }).text, 'base64').toString('latin1')).not.toContain(
      'private',
    );
  });

  test('tell a process that has other secrets keys what is wrong', async () => {
    await recordsOf(old).add('registry-tokens', { id: 'a', createdAt, text: 'secret' });
    const stranger = recordsOf(next);
    await expect(stranger.find('registry-tokens', 'a')).rejects.toThrow(UnreadableKeyError);
    await expect(stranger.find('registry-tokens', 'a')).rejects.toThrow(
      /key for registry-tokens \(a\) that cannot be decrypted: .*is not configured; every process needs the secrets\.keys/,
    );
    await expect(stranger.reseal()).rejects.toThrow(UnreadableKeyError);
    expect(await stranger.listUnreadable()).toEqual([{ purpose: 'registry-tokens', id: 'a' }]);
    expect(await recordsOf(next, old).listUnreadable()).toEqual([]);
  });

  test.each([
    { name: 'another id', change: { id: 'b' } },
    { name: 'another purpose', change: { purpose: 'service-account-tokens' } },
  ])('cannot be passed off for a key of $name', async ({ change }) => {
    const records = recordsOf(old);
    await records.add('registry-tokens', { id: 'a', createdAt, text: 'secret' });
    await db.updateTable('key').set(change).execute();
    const { purpose, id } = { purpose: 'registry-tokens', id: 'a', ...change } as {
      readonly purpose: 'registry-tokens';
      readonly id: string;
    };
    await expect(records.find(purpose, id)).rejects.toThrow(/is not intact/);
  });

  test('are encrypted anew when the secrets keys were rotated, and once only', async () => {
    const before = recordsOf(old);
    for (const id of ['a', 'b']) await before.add('registry-tokens', { id, createdAt, text: `text of ${id}` });
    const rotated = recordsOf(next, old);
    await rotated.add('certificate-authority', { id: 'c', createdAt, text: 'text of c' });
    expect(await rotated.reseal()).toBe(2);
    const sealed = await sealedTexts();
    expect(await rotated.reseal()).toBe(0);
    expect(await sealedTexts()).toEqual(sealed);
    const after = recordsOf(next);
    expect(await after.find('registry-tokens', 'a')).toBe('text of a');
    expect(await after.find('registry-tokens', 'b')).toBe('text of b');
    expect(await after.find('certificate-authority', 'c')).toBe('text of c');
    expect(await after.listUnreadable()).toEqual([]);
  });
});
