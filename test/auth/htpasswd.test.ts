import { rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { HtpasswdFile } from '../../src/auth/htpasswd.js';
import { PasswordChecker } from '../../src/auth/passwords.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const address = '192.0.2.1';

describe('an htpasswd file', () => {
  let path: string;
  let users: KyselyUserRecords;
  let passwords: PasswordChecker;
  let file: HtpasswdFile;
  beforeEach(async () => {
    const folder = await temporaryFolder();
    path = join(folder, 'htpasswd');
    const db = await openSqlite(join(folder, 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    users = new KyselyUserRecords(db);
    passwords = new PasswordChecker(users);
    file = new HtpasswdFile(path, users);
  });

  const line = async (name: string, password: string) => `${name}:${await bcrypt.hash(password, 4)}`;
  const write = (...lines: readonly string[]) => writeFile(path, `${lines.join('\n')}\n`);
  const isIn = async (name: string, password: string) => (await passwords.check(name, password, address)) !== undefined;

  test('lets in who is in it', async () => {
    await write(await line('alice', 'apple'), await line('bob', 'banana'));
    expect(await file.refresh()).toEqual([]);
    expect(await isIn('alice', 'apple')).toBe(true);
    expect(await isIn('bob', 'apple')).toBe(false);
    expect((await users.findUser('bob'))!.role).toBe('user');
  });

  test('is not read again while it is the same', async () => {
    await write(await line('alice', 'apple'));
    await file.refresh();
    expect(await file.refresh()).toBeUndefined();
    await users.removeUser('alice');
    expect(await file.refresh()).toBeUndefined();
    expect(await users.findUser('alice')).toBeUndefined();
  });

  test('counts as it is after each change: who has come, who has left, and a new password', async () => {
    await write(await line('alice', 'apple'), await line('bob', 'banana'));
    await file.refresh();
    expect([await isIn('alice', 'apple'), await isIn('bob', 'banana')]).toEqual([true, true]);
    await write(await line('bob', 'blueberry'), await line('carol', 'cherry'));
    expect(await file.refresh()).toEqual([]);
    expect(await isIn('alice', 'apple')).toBe(false);
    expect(await isIn('bob', 'banana')).toBe(false);
    expect(await isIn('bob', 'blueberry')).toBe(true);
    expect(await isIn('carol', 'cherry')).toBe(true);
  });

  test('is read again when another file has taken its place, or its time is another', async () => {
    await write(await line('alice', 'apple'));
    await file.refresh();
    const replacement = await line('bobby', 'apple');
    await writeFile(`${path}.new`, `${replacement}\n`);
    await rename(`${path}.new`, path);
    expect(await file.refresh()).toEqual([]);
    expect((await users.listUsers()).map(({ name }) => name)).toEqual(['bobby']);
    await utimes(path, new Date(), new Date('2026-01-01T00:00:00Z'));
    expect(await file.refresh()).toEqual([]);
  });

  test('does not touch users who were made here, and names them', async () => {
    const local = { name: 'admin', passwordHash: await bcrypt.hash('own', 4), role: 'admin' } as const;
    await users.addUser(local);
    await write(await line('admin', 'taken over'), await line('alice', 'apple'));
    expect(await file.refresh()).toEqual([{ line: 0, reason: 'user admin is not from the file' }]);
    expect(await users.findUser('admin')).toEqual(local);
    await write('# nobody');
    await file.refresh();
    expect((await users.listUsers()).map(({ name }) => name)).toEqual(['admin']);
  });

  test('tells of lines that cannot be taken, and takes the others', async () => {
    await write('bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', await line('alice', 'apple'));
    expect(await file.refresh()).toMatchObject([{ line: 1 }]);
    expect(await isIn('alice', 'apple')).toBe(true);
  });

  test('that cannot be read leaves the users as they were, and is read when it is back', async () => {
    await write(await line('alice', 'apple'));
    await file.refresh();
    await rm(path);
    await expect(file.refresh()).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await isIn('alice', 'apple')).toBe(true);
    await write(await line('bob', 'banana'));
    await file.refresh();
    expect(await isIn('alice', 'apple')).toBe(false);
    expect(await isIn('bob', 'banana')).toBe(true);
  });
});
