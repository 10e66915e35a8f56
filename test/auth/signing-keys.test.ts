import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const hourMs = 3_600_000;
const basis = { kind: 'password', user: 'ada', stamp: 'of-her-password' } as const;
const user = { name: 'ada', basis };

describe('signing keys', () => {
  let folder: string;
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T00:00:00Z') });
    folder = join(await temporaryFolder(), 'keys');
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function pass(milliseconds: number): void {
    vi.setSystemTime(Date.now() + milliseconds);
  }

  /** As another process on the same folder. */
  const openAgain = () => SigningKeys.open(folder);

  test('are made with their folder, for nobody else to read', async () => {
    const keys = await SigningKeys.open(folder);
    const { id } = await keys.current();
    expect(await readdir(folder)).toEqual([`${id}.json`]);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, `${id}.json`))).mode & 0o777).toBe(0o600);
  });

  test('are the same ones when the folder is opened again', async () => {
    const { id } = await (await SigningKeys.open(folder)).current();
    expect((await (await openAgain()).current()).id).toBe(id);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test('are published without their private part', async () => {
    const keys = await SigningKeys.open(folder);
    await keys.add();
    const { keys: published } = await keys.publicKeySet();
    expect(published).toHaveLength(2);
    for (const jwk of published) {
      expect(Object.keys(jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
      expect(jwk).toMatchObject({ alg: 'ES256', crv: 'P-256', kty: 'EC', use: 'sig' });
      const file = JSON.parse(await readFile(join(folder, `${jwk.kid}.json`), 'utf8')) as { d: string };
      expect(JSON.stringify(published)).not.toContain(file.d);
    }
  });

  test('sign with the newest, which comes first in the set', async () => {
    const keys = await SigningKeys.open(folder);
    const first = await keys.current();
    pass(1000);
    const added = await keys.add();
    expect((await keys.current()).id).toBe(added);
    expect((await keys.publicKeySet()).keys.map(({ kid }) => kid)).toEqual([added, first.id]);
  });

  test('that another process added sign and verify here within seconds', async () => {
    const here = await SigningKeys.open(folder);
    const before = await here.current();
    pass(1000);
    const there = await openAgain();
    const added = await there.add();
    expect((await here.current()).id).toBe(before.id);
    pass(6000);
    expect((await here.current()).id).toBe(added);
    expect(await here.findPublicKey(added)).toBeDefined();
  });

  test('verify a token of another process that has rotated, and the old tokens as well', async () => {
    const here = await SigningKeys.open(folder);
    const old = await new RegistryTokens(here, 300).issue(user, []);
    pass(1000);
    const there = await openAgain();
    await there.add();
    const young = await new RegistryTokens(there, 300).issue(user, []);
    pass(6000);
    const tokens = new RegistryTokens(here, 300);
    expect(await tokens.verify(young.token)).toMatchObject({ basis });
    expect(await tokens.verify(old.token)).toMatchObject({ basis });
  });

  test('do not read the folder anew for each token of an unknown key', async () => {
    const here = await SigningKeys.open(folder);
    pass(1000);
    const added = await (await openAgain()).add();
    expect(await here.findPublicKey(added)).toBeUndefined();
    expect(await here.findPublicKey(undefined)).toBeUndefined();
    pass(6000);
    expect(await here.findPublicKey(added)).toBeDefined();
  });

  test('that stopped signing long ago are removed, and the newest never is', async () => {
    const keys = await SigningKeys.open(folder);
    const first = await keys.current();
    pass(hourMs);
    const second = await keys.add();
    pass(48 * hourMs);
    expect(await keys.removeOld(new Date(Date.now() - 24 * hourMs))).toEqual([first.id]);
    expect(await keys.removeOld(new Date(Date.now() + hourMs))).toEqual([]);
    expect((await keys.publicKeySet()).keys.map(({ kid }) => kid)).toEqual([second]);
    expect(await readdir(folder)).toEqual([`${second}.json`]);
  });

  test('that signed until now are kept, however old they are: their tokens are still out', async () => {
    const keys = await SigningKeys.open(folder);
    pass(365 * 24 * hourMs);
    const { token } = await new RegistryTokens(keys, 300).issue(user, []);
    await keys.add();
    expect(await keys.removeOld(new Date(Date.now() - 24 * hourMs))).toEqual([]);
    expect(await new RegistryTokens(await openAgain(), 300).verify(token)).toMatchObject({ basis });
  });

  test('that another process removed do not verify here any more, within seconds', async () => {
    const here = await SigningKeys.open(folder);
    const { id } = await here.current();
    pass(hourMs);
    const there = await openAgain();
    await there.add();
    pass(48 * hourMs);
    await there.removeOld(new Date(Date.now() - 24 * hourMs));
    await here.current();
    expect(await here.findPublicKey(id)).toBeUndefined();
  });
});
