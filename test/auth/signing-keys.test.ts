import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { UnreadableKeyError, type KeyRecords } from '../../src/metadata/key-records.js';
import { KyselyKeyRecords } from '../../src/metadata/kysely-key-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const secondMs = 1000;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const basis = { kind: 'password', user: 'ada', stamp: 'of-her-password' } as const;
const user = { name: 'ada', basis };

describe('signing keys', () => {
  let records: KeyRecords;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'], now: new Date('2026-01-01T00:00:00Z') });
    records = new MemoryKeyRecords();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function pass(milliseconds: number): void {
    vi.advanceTimersByTime(milliseconds);
  }

  /** As another process with the same database. */
  const open = () => SigningKeys.open(records, 'registry-tokens');

  test('are made when there are none, and are the same ones when they are opened again', async () => {
    const { id } = await (await open()).current();
    expect((await (await open()).current()).id).toBe(id);
    expect(await records.list('registry-tokens')).toHaveLength(1);
  });

  test('are others for each purpose', async () => {
    const { id } = await (await open()).current();
    const ofAccounts = await SigningKeys.open(records, 'service-account-tokens');
    expect((await ofAccounts.current()).id).not.toBe(id);
    expect(await ofAccounts.findPublicKey(id)).toBeUndefined();
  });

  test('are the same for all processes that start at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, open));
    const ids = await Promise.all(all.map(async (keys) => (await keys.current()).id));
    expect(new Set(ids).size).toBe(1);
    expect(await records.list('registry-tokens')).toHaveLength(1);
  });

  test('are published without their private part', async () => {
    const keys = await open();
    await keys.add();
    const { keys: published } = await keys.publicKeySet();
    expect(published).toHaveLength(2);
    for (const jwk of published) {
      expect(Object.keys(jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
      expect(jwk).toMatchObject({ alg: 'ES256', crv: 'P-256', kty: 'EC', use: 'sig' });
      const stored = JSON.parse((await records.find('registry-tokens', jwk.kid!))!) as { d: string };
      expect(JSON.stringify(published)).not.toContain(stored.d);
    }
  });

  test('sign with the newest that every process knows, which comes first in the set', async () => {
    const keys = await open();
    const first = await keys.current();
    pass(hourMs);
    const added = await keys.add();
    expect((await keys.publicKeySet()).keys.map(({ kid }) => kid)).toEqual([added, first.id]);
    expect((await keys.current()).id).toBe(first.id);
    pass(9 * secondMs);
    expect((await keys.current()).id).toBe(first.id);
    pass(secondMs);
    expect((await keys.current()).id).toBe(added);
  });

  test.each([0, 1, 4, 5, 6, 9])(
    'of another process verify here from their first token on, when we last looked %i seconds after they were made',
    async (seconds) => {
      const [here, there] = [await open(), await open()];
      pass(hourMs);
      const added = await there.add();
      pass(seconds * secondMs);
      await here.publicKeySet();
      pass((10 - seconds) * secondMs);
      const { token } = await new RegistryTokens(there, 300).issue(user, []);
      expect((await there.current()).id).toBe(added);
      expect(await new RegistryTokens(here, 300).verify(token)).toMatchObject({ basis });
      expect((await here.current()).id).toBe(added);
    },
  );

  test('verify the old tokens after a rotation as well', async () => {
    const here = await open();
    const { token } = await new RegistryTokens(here, 300).issue(user, []);
    await (await open()).add();
    pass(20 * secondMs);
    expect(await new RegistryTokens(here, 300).verify(token)).toMatchObject({ basis });
  });

  test('do not ask the database for each token of an unknown key', async () => {
    const here = await open();
    pass(6 * secondMs);
    const list = vi.spyOn(records, 'list');
    for (let count = 0; count < 50; count += 1) expect(await here.findPublicKey(`unknown ${count}`)).toBeUndefined();
    expect(await here.findPublicKey(undefined)).toBeUndefined();
    expect(list).toHaveBeenCalledTimes(1);
  });

  test('are looked for again after some seconds, whatever happens to the clock meanwhile', async () => {
    const here = await open();
    const added = await (await open()).add();
    vi.setSystemTime(Date.now() - hourMs);
    pass(6 * secondMs);
    expect(await here.findPublicKey(added)).toBeDefined();
  });

  test('that are new or old go by the clock that all processes share', async () => {
    const shared = { now: new Date('2026-06-01T00:00:00Z') };
    const keys = await SigningKeys.open(records, 'registry-tokens', { now: () => shared.now });
    const first = await keys.current();
    shared.now = new Date('2026-06-02T00:00:00Z');
    const added = await keys.add();
    pass(hourMs);
    expect((await keys.current()).id).toBe(first.id);
    shared.now = new Date(shared.now.getTime() + 10 * secondMs);
    expect((await keys.current()).id).toBe(added);
    const [newest] = await records.list('registry-tokens');
    expect(newest?.createdAt).toEqual(new Date('2026-06-02T00:00:00Z'));
  });

  test('that stopped signing long ago are removed, and the newest never is', async () => {
    const keys = await open();
    const first = await keys.current();
    pass(hourMs);
    const second = await keys.add();
    pass(2 * dayMs);
    expect(await keys.removeOld(new Date(Date.now() - dayMs))).toEqual([first.id]);
    expect(await keys.removeOld(new Date(Date.now() + hourMs))).toEqual([]);
    expect((await keys.publicKeySet()).keys.map(({ kid }) => kid)).toEqual([second]);
    expect((await records.list('registry-tokens')).map(({ id }) => id)).toEqual([second]);
  });

  test('that signed until now are kept, however old they are: their tokens are still out', async () => {
    const keys = await open();
    pass(365 * dayMs);
    const { token } = await new RegistryTokens(keys, 300).issue(user, []);
    await keys.add();
    expect(await keys.removeOld(new Date(Date.now() - dayMs))).toEqual([]);
    expect(await new RegistryTokens(await open(), 300).verify(token)).toMatchObject({ basis });
  });

  test('that another process removed do not verify here any more, within seconds', async () => {
    const here = await open();
    const { id } = await here.current();
    pass(hourMs);
    const there = await open();
    await there.add();
    pass(2 * dayMs);
    await there.removeOld(new Date(Date.now() - dayMs));
    await here.current();
    expect(await here.findPublicKey(id)).toBeUndefined();
  });

  describe('that an earlier version has left as files', () => {
    let folder: string;
    beforeEach(async () => {
      folder = join(await temporaryFolder(), 'keys');
      await mkdir(folder);
    });

    const openHere = () => SigningKeys.open(records, 'registry-tokens', { earlierFolder: folder });

    /** As version 0 wrote them. @returns the id */
    async function leaveFile(at: Date): Promise<string> {
      const { privateKey } = await generateKeyPair('ES256', { extractable: true });
      const jwk = await exportJWK(privateKey);
      const kid = await calculateJwkThumbprint(jwk);
      const text = JSON.stringify({ ...jwk, kid, alg: 'ES256', use: 'sig', iat: at.getTime() / 1000 });
      await writeFile(join(folder, `${kid}.json`), text);
      return kid;
    }

    test('become the first ones, in their order, and their tokens go on counting', async () => {
      const older = await leaveFile(new Date('2025-01-01T00:00:00.123Z'));
      const newer = await leaveFile(new Date('2025-06-01T00:00:00.456Z'));
      await writeFile(join(folder, 'secrets.key'), 'no signing key');
      const jwk = JSON.parse(await readFile(join(folder, `${older}.json`), 'utf8')) as JWK;
      const token = await new SignJWT({ access: [], basis })
        .setProtectedHeader({ alg: 'ES256', kid: older, typ: 'JWT' })
        .setIssuer('weir')
        .setAudience('weir-registry')
        .setSubject('ada')
        .setExpirationTime(Date.now() / 1000 + 300)
        .sign(await importJWK(jwk, 'ES256'));
      const keys = await openHere();
      expect((await keys.current()).id).toBe(newer);
      expect((await keys.publicKeySet()).keys.map(({ kid }) => kid)).toEqual([newer, older]);
      expect(await new RegistryTokens(keys, 300).verify(token)).toMatchObject({ basis });
    });

    test('stay where they are, and are not looked at again', async () => {
      const left = await leaveFile(new Date('2025-01-01T00:00:00Z'));
      const before = await readFile(join(folder, `${left}.json`), 'utf8');
      const keys = await openHere();
      const added = await keys.add();
      pass(2 * dayMs);
      expect(await keys.removeOld(new Date(Date.now() - dayMs))).toEqual([left]);
      await leaveFile(new Date('2027-01-01T00:00:00Z'));
      expect((await (await openHere()).publicKeySet()).keys.map(({ kid }) => kid)).toEqual([added]);
      expect(await readFile(join(folder, `${left}.json`), 'utf8')).toBe(before);
    });

    test('are no matter when there are none, nor a folder', async () => {
      const keys = await openHere();
      expect((await keys.publicKeySet()).keys).toHaveLength(1);
      expect(await readdir(folder)).toEqual([]);
      const elsewhere = { earlierFolder: join(folder, 'none') };
      await SigningKeys.open(new MemoryKeyRecords(), 'registry-tokens', elsewhere);
    });
  });
});

describe('signing keys in a database', () => {
  const [old, next] = [randomBytes(32), randomBytes(32)];

  test('are the same for all who start on it, and closed to a process with other secrets keys', async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    const openWith = (...keys: readonly Buffer[]) =>
      SigningKeys.open(new KyselyKeyRecords(db, new SecretBox(keys)), 'registry-tokens');
    const all = await Promise.all([openWith(old), openWith(old), openWith(old)]);
    const ids = await Promise.all(all.map(async (keys) => (await keys.current()).id));
    expect(new Set(ids).size).toBe(1);
    await expect(openWith(next)).rejects.toThrow(UnreadableKeyError);
    expect((await (await openWith(next, old)).current()).id).toBe(ids[0]);
  });

  test('that are known stay known while the secrets keys of other processes are rotated', async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const keys = await SigningKeys.open(new KyselyKeyRecords(db, new SecretBox([old])), 'registry-tokens');
    const { id } = await keys.current();
    expect(await new KyselyKeyRecords(db, new SecretBox([next, old])).reseal()).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect((await keys.current()).id).toBe(id);
  });
});
