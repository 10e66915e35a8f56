import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { generatePassword, hashPassword, normalizeHash, PasswordChecker } from '../../src/auth/passwords.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const address = '192.0.2.1';
/** What `htpasswd -nbB alice 'correct horse'` of Apache 2.4 printed. */
const htpasswdHash = '$2y$05$yyqOItScZADetr1f9oY/5..SrRSEUwrSUx1/XuZifHg5q/UPAw6LC';

describe('a password checker', () => {
  let users: KyselyUserRecords;
  let checker: PasswordChecker;
  beforeEach(async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    users = new KyselyUserRecords(db);
    checker = new PasswordChecker(users);
  });

  async function putUser(name: string, password: string): Promise<void> {
    await users.putUser({ name, passwordHash: await bcrypt.hash(password, 4), role: 'user' });
  }

  test('knows the user by name and password, first and again', async () => {
    await putUser('ada', 'secret');
    for (let time = 0; time < 2; time += 1) {
      expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada', role: 'user' });
    }
  });

  test.each([
    { name: 'another password', password: 'Secret' },
    { name: 'no password', password: '' },
    { name: 'a longer password', password: 'secret ' },
    { name: 'a password that ends in a zero byte', password: 'secret\0' },
    { name: 'the hash as password', password: '$2b$04$abcdefghijklmnopqrstuu' },
  ])('refuses $name, also when the right one was used before', async ({ password }) => {
    await putUser('ada', 'secret');
    expect(await checker.check('ada', password, address)).toBeUndefined();
    await checker.check('ada', 'secret', address);
    expect(await checker.check('ada', password, address)).toBeUndefined();
  });

  test.each([{ name: 'nobody' }, { name: '' }, { name: 'Ada' }, { name: 'ada ' }, { name: 'ad%' }])(
    'knows no user "$name"',
    async ({ name }) => {
      await putUser('ada', 'secret');
      await checker.check('ada', 'secret', address);
      expect(await checker.check(name, 'secret', address)).toBeUndefined();
    },
  );

  test('takes the hash that htpasswd made', async () => {
    await users.putUser({ name: 'alice', passwordHash: normalizeHash(htpasswdHash)!, role: 'user' });
    expect(await checker.check('alice', 'correct horse', address)).toMatchObject({ name: 'alice' });
    expect(await checker.check('alice', 'battery staple', address)).toBeUndefined();
  });

  test('takes a new password at once, and the old one no more, in spite of what it remembers', async () => {
    await putUser('ada', 'old');
    await checker.check('ada', 'old', address);
    await putUser('ada', 'new');
    expect(await checker.check('ada', 'old', address)).toBeUndefined();
    expect(await checker.check('ada', 'new', address)).toMatchObject({ name: 'ada' });
    expect(await checker.check('ada', 'old', address)).toBeUndefined();
  });

  test('knows a user who was removed no more, and takes the role as it is now', async () => {
    await putUser('ada', 'secret');
    await checker.check('ada', 'secret', address);
    await users.putUser({ ...(await users.findUser('ada'))!, role: 'admin' });
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ role: 'admin' });
    await users.removeUser('ada');
    expect(await checker.check('ada', 'secret', address)).toBeUndefined();
  });

  test('does not take two long passwords with the same beginning for one', async () => {
    const longest = 'x'.repeat(72);
    await putUser('ada', longest);
    expect(await checker.check('ada', longest, address)).toMatchObject({ name: 'ada' });
    expect(await checker.check('ada', `${longest}y`, address)).toBeUndefined();
  });

  test('answers many who come at once, each rightly', async () => {
    await putUser('ada', 'secret');
    const passwords = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 'secret' : `wrong ${index}`));
    // Each from an address of its own, so that nobody's failures count against another.
    const answers = await Promise.all(
      passwords.map((password, index) => checker.check('ada', password, `192.0.2.${index}`)),
    );
    expect(answers.map((answer) => answer?.name)).toEqual(
      passwords.map((password) => (password === 'secret' ? 'ada' : undefined)),
    );
  });

  test('turns a flood away instead of queueing it', async () => {
    await putUser('ada', 'secret');
    const answers = await Promise.allSettled(
      Array.from({ length: 400 }, (_, index) => checker.check('ada', `guess ${index}`, `from ${index}`)),
    );
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'TOOMANYREQUESTS', status: 429 });
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada' });
  });
});

describe('failed logins', () => {
  let users: KyselyUserRecords;
  let checker: PasswordChecker;
  let elapsedMs: number;
  beforeEach(async () => {
    const db = await openSqlite(join(await temporaryFolder(), 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    users = new KyselyUserRecords(db);
    checker = new PasswordChecker(users);
    await users.putUser({ name: 'ada', passwordHash: await bcrypt.hash('secret', 4), role: 'user' });
    // The clock of the library that counts.
    const began = performance.now();
    elapsedMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => began + elapsedMs);
    onTestFinished(() => {
      clock.mockRestore();
    });
  });

  /** How many guesses are looked at before the others are refused. */
  async function guesses(name: string, from: string, count: number): Promise<number> {
    let looked = 0;
    for (let guess = 0; guess < count; guess += 1) {
      try {
        expect(await checker.check(name, `guess ${guess}`, from)).toBeUndefined();
        looked += 1;
      } catch (error) {
        expect(error).toMatchObject({ code: 'TOOMANYREQUESTS', status: 429 });
      }
    }
    return looked;
  }

  async function pass(milliseconds: number): Promise<void> {
    elapsedMs += milliseconds;
    // The library looks at its clock once a millisecond.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  test('are ten for an account from one address, and the others are told when to come again', async () => {
    expect(await guesses('ada', address, 12)).toBe(10);
    await pass(60_000);
    await expect(checker.check('ada', 'secret', address)).rejects.toMatchObject({
      code: 'TOOMANYREQUESTS',
      headers: { 'Retry-After': '240' },
    });
  });

  test('do not lock the account from another address, nor another account from that address', async () => {
    await users.putUser({ name: 'bob', passwordHash: await bcrypt.hash('banana', 4), role: 'user' });
    await guesses('ada', address, 10);
    expect(await checker.check('ada', 'secret', '192.0.2.2')).toMatchObject({ name: 'ada' });
    expect(await checker.check('bob', 'banana', address)).toMatchObject({ name: 'bob' });
  });

  test('are as many for a name that nobody has', { timeout: 60_000 }, async () => {
    expect(await guesses('nobody', address, 12)).toBe(10);
    expect(await guesses('nobody', '192.0.2.2', 1)).toBe(1);
  });

  test('are a hundred from one address, whatever the account', { timeout: 60_000 }, async () => {
    for (let index = 0; index < 10; index += 1) {
      const name = `user-${index}`;
      await users.putUser({ name, passwordHash: await bcrypt.hash('x', 4), role: 'user' });
      expect(await guesses(name, address, 10)).toBe(10);
    }
    await expect(checker.check('ada', 'secret', address)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' });
    expect(await checker.check('ada', 'secret', '192.0.2.2')).toMatchObject({ name: 'ada' });
  });

  test('are no more when the guesses come all at once', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) => checker.check('ada', `guess ${index}`, address)),
    );
    // One more may be on its way while the tenth fails.
    expect(answers.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(11);
    await expect(checker.check('ada', 'secret', address)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' });
  });

  test('do not keep out who logged in from that address a moment ago', async () => {
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada' });
    await guesses('ada', address, 10);
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada' });
    await expect(checker.check('ada', 'guess', address)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' });
  });

  test('are counted even where the right password is remembered from elsewhere', async () => {
    expect(await checker.check('ada', 'secret', '192.0.2.2')).toMatchObject({ name: 'ada' });
    await guesses('ada', address, 10);
    await expect(checker.check('ada', 'secret', address)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS' });
  });

  test('are forgotten by a login that is right', async () => {
    await guesses('ada', address, 9);
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada' });
    expect(await guesses('ada', address, 12)).toBe(10);
  });

  test('are forgotten five minutes after the first, though more came in the meantime', async () => {
    await guesses('ada', address, 9);
    await pass(299_000);
    expect(await guesses('ada', address, 3)).toBe(1);
    await pass(1_001);
    expect(await checker.check('ada', 'secret', address)).toMatchObject({ name: 'ada' });
  });
});

describe('a password', () => {
  test('is hashed with bcrypt, each time differently', async () => {
    const [first, second] = await Promise.all([hashPassword('secret'), hashPassword('secret')]);
    expect(first).toMatch(/^\$2b\$1\d\$/);
    expect(first).not.toBe(second);
    expect(await bcrypt.compare('secret', first)).toBe(true);
  });

  test.each([
    { name: 'nothing', password: '', bytes: 0 },
    { name: '73 letters', password: 'x'.repeat(73), bytes: 73 },
    { name: '37 letters of two bytes', password: 'é'.repeat(37), bytes: 74 },
  ])('of $name is refused, with its size', async ({ password, bytes }) => {
    await expect(hashPassword(password)).rejects.toThrow(RangeError);
    await expect(hashPassword(password)).rejects.toThrow(`1 to 72 bytes; this one has ${bytes}`);
  });

  test('of exactly 72 bytes is taken', async () => {
    const password = 'é'.repeat(36);
    expect(await bcrypt.compare(password, await hashPassword(password))).toBe(true);
  });

  test('that is generated can be typed, and is never the same', () => {
    const passwords = Array.from({ length: 50 }, generatePassword);
    for (const password of passwords) expect(password).toMatch(/^[A-HJ-NP-Za-km-z2-9]{24}$/);
    expect(new Set(passwords).size).toBe(50);
  });
});

describe('a hash', () => {
  const body = 'yyqOItScZADetr1f9oY/5..SrRSEUwrSUx1/XuZifHg5q/UPAw6LC';
  test.each([
    { name: '$2y$ of htpasswd', hash: `$2y$05$${body}`, normalized: `$2b$05$${body}` },
    { name: '$2a$', hash: `$2a$10$${body}`, normalized: `$2b$10$${body}` },
    { name: '$2b$', hash: `$2b$12$${body}`, normalized: `$2b$12$${body}` },
    { name: '$2x$, which was broken', hash: `$2x$05$${body}`, normalized: undefined },
    { name: 'apr1', hash: '$apr1$yURfDZKk$ad5rRBlgH2yUbXBrkkCi/0', normalized: undefined },
    { name: 'SHA-1', hash: '{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', normalized: undefined },
    { name: 'clear text', hash: 'secret', normalized: undefined },
    { name: 'one that is cut off', hash: `$2y$05$${body.slice(1)}`, normalized: undefined },
    { name: 'one with something behind', hash: `$2y$05$${body} x`, normalized: undefined },
    { name: 'nothing', hash: '', normalized: undefined },
  ])('of kind $name becomes $normalized', ({ hash, normalized }) => {
    expect(normalizeHash(hash)).toBe(normalized);
  });
});
