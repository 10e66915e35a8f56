import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import bcrypt from 'bcrypt';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ensureAdmin, parseUserName, readHtpasswd } from '../../src/auth/users.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const hash = '$2y$05$yyqOItScZADetr1f9oY/5..SrRSEUwrSUx1/XuZifHg5q/UPAw6LC';

/** Every file beside one that may hold a first password. */
async function passwordFiles(path: string): Promise<string[]> {
  return (await readdir(dirname(path))).filter((name) => name.includes('password'));
}

describe('the first start', () => {
  let users: KyselyUserRecords;
  let passwordPath: string;
  beforeEach(async () => {
    const folder = await temporaryFolder();
    const db = await openSqlite(join(folder, 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    users = new KyselyUserRecords(db);
    passwordPath = join(folder, 'admin-password');
  });

  test('makes user admin with a generated password, in clear only in a file for its owner', async () => {
    expect(await ensureAdmin(users, undefined, passwordPath)).toEqual({ generated: true });
    const password = (await readFile(passwordPath, 'utf8')).trim();
    expect(password).toMatch(/^[A-Za-z0-9]{24}$/);
    expect((await stat(passwordPath)).mode & 0o777).toBe(0o600);
    const admin = (await users.findUser('admin'))!;
    expect(admin.role).toBe('admin');
    expect(admin.passwordHash).toMatch(/^\$2b\$10\$/);
    expect(await bcrypt.compare(password, admin.passwordHash)).toBe(true);
  });

  test('takes the password that was configured, and writes no file', async () => {
    expect(await ensureAdmin(users, 'configured', passwordPath)).toEqual({ generated: false });
    await expect(stat(passwordPath)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await bcrypt.compare('configured', (await users.findUser('admin'))!.passwordHash)).toBe(true);
  });

  test('is over when there is a user: nothing changes, whatever is configured', async () => {
    await ensureAdmin(users, undefined, passwordPath);
    const before = await users.findUser('admin');
    const file = await readFile(passwordPath, 'utf8');
    expect(await ensureAdmin(users, 'configured later', passwordPath)).toEqual({ generated: true });
    expect(await users.findUser('admin')).toEqual(before);
    expect(await readFile(passwordPath, 'utf8')).toBe(file);
  });

  test('that died before the user was made is done again, with a new password', async () => {
    await writeFile(passwordPath, 'never used\n');
    await ensureAdmin(users, undefined, passwordPath);
    const password = (await readFile(passwordPath, 'utf8')).trim();
    expect(password).not.toBe('never used');
    expect(await bcrypt.compare(password, (await users.findUser('admin'))!.passwordHash)).toBe(true);
  });

  test('that died after the user was made leaves the password in its place at the next', async () => {
    await ensureAdmin(users, undefined, passwordPath);
    await rename(passwordPath, `${passwordPath}.1`);
    await writeFile(`${passwordPath}.2`, 'of another process that died\n');
    expect(await ensureAdmin(users, undefined, passwordPath)).toEqual({ generated: true });
    const password = (await readFile(passwordPath, 'utf8')).trim();
    expect(await bcrypt.compare(password, (await users.findUser('admin'))!.passwordHash)).toBe(true);
    expect(await passwordFiles(passwordPath)).toEqual(['admin-password']);
  });

  test('tells no password that was changed since, wherever that was', async () => {
    await ensureAdmin(users, undefined, passwordPath);
    await users.putUser({ name: 'admin', passwordHash: await bcrypt.hash('changed elsewhere', 4), role: 'admin' });
    expect(await ensureAdmin(users, undefined, passwordPath)).toEqual({ generated: false });
  });

  test('of several processes on one folder leaves the password that counts', async () => {
    const results = await Promise.all(Array.from({ length: 6 }, () => ensureAdmin(users, undefined, passwordPath)));
    expect(results.filter(({ generated }) => generated)).toHaveLength(1);
    const password = (await readFile(passwordPath, 'utf8')).trim();
    expect(await bcrypt.compare(password, (await users.findUser('admin'))!.passwordHash)).toBe(true);
    expect(await passwordFiles(passwordPath)).toEqual(['admin-password']);
  });

  test('of several machines on one database leaves the password on one of them', async () => {
    const paths = await Promise.all([1, 2, 3].map(async () => join(await temporaryFolder(), 'admin-password')));
    const results = await Promise.all(paths.map((path) => ensureAdmin(users, undefined, path)));
    const told = paths.filter((_path, index) => results[index]!.generated);
    expect(told).toHaveLength(1);
    const password = (await readFile(told[0]!, 'utf8')).trim();
    expect(await bcrypt.compare(password, (await users.findUser('admin'))!.passwordHash)).toBe(true);
    for (const path of paths) expect(await passwordFiles(path)).toHaveLength(told.includes(path) ? 1 : 0);
  });

  test('makes no user when the configured password is too long', async () => {
    await expect(ensureAdmin(users, 'x'.repeat(73), passwordPath)).rejects.toThrow(RangeError);
    expect(await users.countAdmins()).toBe(0);
  });
});

describe('a user name', () => {
  test.each(['ada', 'a', 'Ada.Lovelace@example.org', 'ci-bot_1', 'ünïcode', 'x'.repeat(128)])('may be %s', (name) => {
    expect(parseUserName(name)).toBe(name);
  });

  test.each([
    { why: 'nothing', name: '' },
    { why: 'a space', name: 'a b' },
    { why: 'a colon, which ends the name in Basic credentials', name: 'a:b' },
    { why: 'a name of the system', name: 'system:admin' },
    { why: 'the system itself', name: 'System' },
    { why: 'a slash', name: 'a/b' },
    { why: 'a percent sign', name: 'a%b' },
    { why: 'a line end', name: 'a\nb' },
    { why: 'a control character', name: 'a\x07' },
    { why: '129 characters', name: 'x'.repeat(129) },
  ])('may not be $why', ({ name }) => {
    expect(() => parseUserName(name)).toThrow(RangeError);
  });
});

describe('an htpasswd file', () => {
  async function read(lines: readonly string[]) {
    const path = join(await temporaryFolder(), 'htpasswd');
    await writeFile(path, lines.join('\n'));
    return readHtpasswd(path, 'user');
  }

  test('gives its users, with hashes in the spelling of our library', async () => {
    const { users, refused } = await read([`alice:${hash}`, `bob:${hash.replace('$2y$', '$2a$')}`, '']);
    const passwordHash = hash.replace('$2y$', '$2b$');
    expect(users).toEqual([
      { name: 'alice', passwordHash, role: 'user' },
      { name: 'bob', passwordHash, role: 'user' },
    ]);
    expect(refused).toEqual([]);
  });

  test('may have comments, empty lines, line ends of Windows, and spaces behind a hash', async () => {
    const { users, refused } = await read(['# users', '', '   ', `alice:${hash}\r`, `bob:${hash}  `]);
    expect(users.map(({ name }) => name)).toEqual(['alice', 'bob']);
    expect(refused).toEqual([]);
  });

  test('has each line that cannot be taken named, with the reason', async () => {
    const { users, refused } = await read([
      `alice:${hash}`,
      'bob:$apr1$yURfDZKk$ad5rRBlgH2yUbXBrkkCi/0',
      'carol',
      `:${hash}`,
      `d/d:${hash}`,
      'eve:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=',
    ]);
    expect(users.map(({ name }) => name)).toEqual(['alice']);
    expect(refused.map(({ line }) => line)).toEqual([2, 3, 4, 5, 6]);
    expect(refused[0]!.reason).toBe('the hash is not bcrypt; make it with "htpasswd -B"');
    expect(refused[3]!.reason).toContain('"d/d" is not a user name');
  });

  test('never has a hash or a password repeated in a reason', async () => {
    const { refused } = await read(['bob:clear-text-secret', 'carol-secret', `x y:${hash}`]);
    const reasons = refused.map(({ reason }) => reason).join('\n');
    expect(reasons).not.toContain('clear-text-secret');
    expect(reasons).not.toContain(hash);
  });
});
