import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { configCommand } from '../../src/cli/config-command.js';
import { fsckCommand } from '../../src/cli/fsck-command.js';
import { keysCommand } from '../../src/cli/keys-command.js';
import { serveCommand } from '../../src/cli/serve-command.js';
import { UsageError } from '../../src/cli/usage-error.js';
import { userCommand } from '../../src/cli/user-command.js';
import { configEntries } from '../../src/config.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import type { UserRecord } from '../../src/metadata/user-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

/** What `htpasswd -nbB alice 'correct horse'` of Apache 2.4 printed, without the name. */
const hash = '$2y$05$yyqOItScZADetr1f9oY/5..SrRSEUwrSUx1/XuZifHg5q/UPAw6LC';

describe('the command', () => {
  let folder: string;
  let dataDir: string;
  beforeEach(async () => {
    folder = await temporaryFolder();
    dataDir = join(folder, 'data');
    vi.stubEnv('WEIR_DATA_DIR', dataDir);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** Runs a command in this process. @returns what it printed */
  async function weir(...args: readonly string[]): Promise<string> {
    let printed = '';
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      printed += chunk.toString();
      return true;
    });
    const program = new Command('weir').option('--config <file>');
    for (const command of [configCommand(), userCommand(), keysCommand(), fsckCommand()]) program.addCommand(command);
    try {
      await program.parseAsync(args, { from: 'user' });
    } finally {
      stdout.mockRestore();
    }
    return printed;
  }

  async function findUser(name: string): Promise<UserRecord | undefined> {
    const db = await openSqlite(join(dataDir, 'weir.sqlite'));
    try {
      return await new KyselyUserRecords(db).findUser(name);
    } finally {
      await db.destroy();
    }
  }

  test('serve tells in its help how it ends', () => {
    let help = '';
    serveCommand('1.0')
      .configureOutput({ writeOut: (part) => (help += part) })
      .outputHelp();
    expect(help).toContain(
      'Exit codes: 0 stopped, 1 failure, 2 configuration not valid, 4 stopped with requests cut off',
    );
  });

  test('config list prints every setting with its variable and its default', async () => {
    const lines = (await weir('config', 'list')).trim().split('\n');
    expect(lines).toHaveLength(configEntries.length);
    expect(lines).toContainEqual(expect.stringMatching(/^tls\.mode +WEIR_TLS_MODE +.*\["auto"\]$/));
    expect(lines).toContainEqual(expect.stringMatching(/^publicUrl +WEIR_PUBLIC_URL +.*[^\]]$/));
  });

  test('config check reads the file that is named', async () => {
    const file = join(folder, 'x.yaml');
    await writeFile(file, 'logLevel: loud\n');
    await expect(weir('--config', file, 'config', 'check')).rejects.toThrow('logLevel: "loud" is not valid');
    await writeFile(file, 'logLevel: warn\n');
    expect(await weir('--config', file, 'config', 'check')).toBe('the configuration is valid\n');
  });

  test('user add makes a user with a password that is shown once', async () => {
    const [, password] = /^added ada \(user\), password: (\w{24})\n$/.exec(await weir('user', 'add', 'ada')) ?? [];
    const user = (await findUser('ada'))!;
    expect(user.role).toBe('user');
    expect(await bcrypt.compare(password!, user.passwordHash)).toBe(true);
  });

  test('user add --admin makes an admin', async () => {
    expect(await weir('user', 'add', 'root', '--admin')).toMatch(/^added root \(admin\), password: /);
    expect((await findUser('root'))?.role).toBe('admin');
  });

  test('user add refuses a name that is taken, and changes nothing', async () => {
    await weir('user', 'add', 'ada');
    const before = await findUser('ada');
    await expect(weir('user', 'add', 'ada', '--admin')).rejects.toThrow(/there is a user ada already/);
    expect(await findUser('ada')).toEqual(before);
  });

  test.each([
    { name: 'no name', args: ['user', 'add'], message: 'name the user, or give --htpasswd FILE' },
    { name: 'a name that no user can have', args: ['user', 'add', 'a:b'], message: '"a:b" is not a user name' },
    { name: 'nobody to change', args: ['user', 'passwd', 'ada'], message: 'there is no user ada' },
    { name: 'nobody to remove', args: ['user', 'remove', 'ada'], message: 'there is no user ada' },
  ])('user refuses $name as a mistake of whoever called it', async ({ args, message }) => {
    const refused = weir(...args);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });

  test('user passwd gives another password and keeps the role', async () => {
    await weir('user', 'add', 'root', '--admin');
    const before = (await findUser('root'))!;
    const [, password] =
      /^changed the password of root, password: (\w{24})\n$/.exec(await weir('user', 'passwd', 'root')) ?? [];
    const after = (await findUser('root'))!;
    expect(after.role).toBe('admin');
    expect(after.passwordHash).not.toBe(before.passwordHash);
    expect(await bcrypt.compare(password!, after.passwordHash)).toBe(true);
  });

  test('user list prints names and roles in order, and user remove takes one away', async () => {
    for (const name of ['grace', 'ada', 'bob']) await weir('user', 'add', name);
    expect(await weir('user', 'list')).toBe('ada\tuser\nbob\tuser\ngrace\tuser\n');
    expect(await weir('user', 'remove', 'bob')).toBe('removed bob\n');
    expect(await weir('user', 'list')).toBe('ada\tuser\ngrace\tuser\n');
  });

  test('user add --htpasswd takes every user of the file, and replaces those who are there', async () => {
    await weir('user', 'add', 'alice');
    const file = join(folder, 'htpasswd');
    await writeFile(file, `alice:${hash}\nbob:${hash}\n`);
    expect(await weir('user', 'add', '--htpasswd', file)).toBe('imported 2 users (user)\n');
    for (const name of ['alice', 'bob']) {
      expect(await bcrypt.compare('correct horse', (await findUser(name))!.passwordHash)).toBe(true);
    }
  });

  test('user add --htpasswd takes nobody of a file with a bad line, and names the line', async () => {
    const file = join(folder, 'htpasswd');
    await writeFile(file, `carol:${hash}\ndave:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n`);
    await expect(weir('user', 'add', '--htpasswd', file)).rejects.toThrow(/line 2: the hash is not bcrypt/);
    expect(await findUser('carol')).toBeUndefined();
  });

  /** Works on the keys in the database. */
  async function withKeyRows<Result>(work: (db: Database) => Promise<Result>): Promise<Result> {
    const db = await openSqlite(join(dataDir, 'weir.sqlite'));
    try {
      return await work(db);
    } finally {
      await db.destroy();
    }
  }
  const keyIds = () =>
    withKeyRows(async (db) => (await db.selectFrom('key').select('id').orderBy('id').execute()).map(({ id }) => id));

  test('keys rotate makes a key, and keeps the one before', async () => {
    await weir('keys', 'rotate');
    const before = await keyIds();
    const [, id] = /^tokens are signed with ([\w-]+) within ten seconds\n$/.exec(await weir('keys', 'rotate')) ?? [];
    expect(await keyIds()).toEqual([...before, id!].sort());
    expect((await readdir(join(dataDir, 'keys'))).sort()).toEqual(['secrets.key']);
  });

  test('keys rotate keeps a key that is years old until its last token has expired', async () => {
    await weir('keys', 'rotate');
    const old = await keyIds();
    await withKeyRows((db) =>
      db
        .updateTable('key')
        .set(({ eb }) => ({ created_at: eb('created_at', '-', 1e11) }))
        .execute(),
    );
    // The newer of the two signed until a moment ago.
    const printed = await weir('keys', 'rotate');
    expect(printed).toMatch(/^tokens are signed with [\w-]+ within ten seconds\nremoved [\w-]+\n$/);
    expect((await keyIds()).filter((id) => old.includes(id))).toHaveLength(1);
  });

  test('keys discard removes only what cannot be decrypted, when it is told to', async () => {
    const [lost, found] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
    vi.stubEnv('WEIR_SECRETS_KEYS', lost);
    await weir('keys', 'rotate');
    const ids = await keyIds();
    expect(await weir('keys', 'discard', '--yes')).toBe('');
    vi.stubEnv('WEIR_SECRETS_KEYS', found);
    await expect(weir('keys', 'rotate')).rejects.toThrow(/cannot be decrypted: .*"weir keys discard"/);
    const lines = (word: string) => ids.map((id) => `${word} registry-tokens ${id}\n`).join('');
    expect(await weir('keys', 'discard')).toBe(lines('cannot be decrypted:'));
    expect(await keyIds()).toEqual(ids);
    expect(await weir('keys', 'discard', '--yes')).toBe(lines('removed'));
    await weir('keys', 'rotate');
    expect((await keyIds()).filter((id) => ids.includes(id))).toEqual([]);
  });

  test('fsck finds nothing wrong in a new data folder', async () => {
    expect(await weir('fsck')).toBe('checked 0 tags, 0 images, 0 blobs (0 bytes), 0 files: 0 lost, 0 notes\n');
    expect(process.exitCode).toBe(0);
    process.exitCode = undefined;
  });
});
