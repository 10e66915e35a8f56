import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { generatePassword, hashPassword, normalizeHash, PasswordChecker } from '../../src/auth/passwords.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { temporaryFolder } from '../support/temporary-folder.js';

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
      expect(await checker.check('ada', 'secret')).toMatchObject({ name: 'ada', role: 'user' });
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
    expect(await checker.check('ada', password)).toBeUndefined();
    await checker.check('ada', 'secret');
    expect(await checker.check('ada', password)).toBeUndefined();
  });

  test.each([{ name: 'nobody' }, { name: '' }, { name: 'Ada' }, { name: 'ada ' }, { name: 'ad%' }])(
    'knows no user "$name"',
    async ({ name }) => {
      await putUser('ada', 'secret');
      await checker.check('ada', 'secret');
      expect(await checker.check(name, 'secret')).toBeUndefined();
    },
  );

  test('takes the hash that htpasswd made', async () => {
    await users.putUser({ name: 'alice', passwordHash: normalizeHash(htpasswdHash)!, role: 'user' });
    expect(await checker.check('alice', 'correct horse')).toMatchObject({ name: 'alice' });
    expect(await checker.check('alice', 'battery staple')).toBeUndefined();
  });

  test('takes a new password at once, and the old one no more, in spite of what it remembers', async () => {
    await putUser('ada', 'old');
    await checker.check('ada', 'old');
    await putUser('ada', 'new');
    expect(await checker.check('ada', 'old')).toBeUndefined();
    expect(await checker.check('ada', 'new')).toMatchObject({ name: 'ada' });
    expect(await checker.check('ada', 'old')).toBeUndefined();
  });

  test('knows a user who was removed no more, and takes the role as it is now', async () => {
    await putUser('ada', 'secret');
    await checker.check('ada', 'secret');
    await users.putUser({ ...(await users.findUser('ada'))!, role: 'admin' });
    expect(await checker.check('ada', 'secret')).toMatchObject({ role: 'admin' });
    await users.removeUser('ada');
    expect(await checker.check('ada', 'secret')).toBeUndefined();
  });

  test('does not take two long passwords with the same beginning for one', async () => {
    const longest = 'x'.repeat(72);
    await putUser('ada', longest);
    expect(await checker.check('ada', longest)).toMatchObject({ name: 'ada' });
    expect(await checker.check('ada', `${longest}y`)).toBeUndefined();
  });

  test('answers many who come at once, each rightly', async () => {
    await putUser('ada', 'secret');
    const passwords = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 'secret' : `wrong ${index}`));
    const answers = await Promise.all(passwords.map((password) => checker.check('ada', password)));
    expect(answers.map((answer) => answer?.name)).toEqual(
      passwords.map((password) => (password === 'secret' ? 'ada' : undefined)),
    );
  });

  test('turns a flood away instead of queueing it', async () => {
    await putUser('ada', 'secret');
    const answers = await Promise.allSettled(
      Array.from({ length: 400 }, (_, index) => checker.check('ada', `guess ${index}`)),
    );
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'TOOMANYREQUESTS', status: 429 });
    expect(await checker.check('ada', 'secret')).toMatchObject({ name: 'ada' });
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
