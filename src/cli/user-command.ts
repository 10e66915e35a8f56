import { rm } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { Command } from 'commander';
import { generatePassword, hashPassword } from '../auth/passwords.js';
import { adminName, parseUserName, readHtpasswd } from '../auth/users.js';
import { KyselyUserRecords } from '../metadata/kysely-user-records.js';
import type { UserRecord, UserRecords } from '../metadata/user-records.js';
import { adminPasswordPath, openDatabase } from '../registry-files.js';
import { configOf } from './config-of.js';
import { UsageError } from './usage-error.js';

interface AddOptions {
  readonly admin?: true;
  readonly passwordStdin?: true;
  readonly htpasswd?: string;
}

/** `weir user`: local users, also while the registry runs. */
export function userCommand(): Command {
  const user = new Command('user').description('manage local users (works while the registry runs)');

  user
    .command('add')
    .argument('[name]', 'the new user; leave out with --htpasswd')
    .description('add a user, with a generated password unless one is given')
    .option('--admin', 'may do everything; others may pull and push')
    .option('--password-stdin', 'read the password from standard input')
    .option('--htpasswd <file>', 'add or replace every user of an htpasswd file (bcrypt: htpasswd -B)')
    .action((name: string | undefined, options: AddOptions, command: Command) =>
      withUsers(command, async (users) => {
        const role = options.admin === true ? 'admin' : 'user';
        if (options.htpasswd !== undefined) await importHtpasswd(users, options.htpasswd, role);
        else if (name === undefined) throw new UsageError('name the user, or give --htpasswd FILE');
        else await addUser(users, name, role, options.passwordStdin === true);
      }),
    );

  user
    .command('passwd')
    .argument('<name>')
    .description('give a user another password; logins kept by clients end')
    .option('--password-stdin', 'read the password from standard input')
    .action((name: string, options: { readonly passwordStdin?: true }, command: Command) =>
      withUsers(command, async (users) => {
        const existing = await users.findUser(name);
        if (existing === undefined) throw new UsageError(`there is no user ${name}; see "weir user list"`);
        const { password, say } = await choosePassword(options.passwordStdin === true);
        await users.putUser({ ...existing, passwordHash: await hash(password) });
        // The file of the first start would now name a password that is none.
        if (name === adminName) await rm(adminPasswordPath(configOf(command)), { force: true });
        process.stdout.write(`changed the password of ${name}${say}\n`);
      }),
    );

  user
    .command('list')
    .description('print every user and their role')
    .action((_options, command: Command) =>
      withUsers(command, async (users) => {
        for (const { name, role } of await users.listUsers()) process.stdout.write(`${name}\t${role}\n`);
      }),
    );

  user
    .command('remove')
    .argument('<name>')
    .description('remove a user; tokens they hold run out within minutes')
    .action((name: string, _options, command: Command) =>
      withUsers(command, async (users) => {
        if (!(await users.removeUser(name))) throw new UsageError(`there is no user ${name}; see "weir user list"`);
        process.stdout.write(`removed ${name}\n`);
      }),
    );
  return user;
}

async function withUsers(command: Command, work: (users: UserRecords) => Promise<void>): Promise<void> {
  const { db } = await openDatabase(configOf(command));
  try {
    await work(new KyselyUserRecords(db));
  } finally {
    await db.destroy();
  }
}

async function addUser(users: UserRecords, name: string, role: UserRecord['role'], fromStdin: boolean): Promise<void> {
  try {
    parseUserName(name);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { password, say } = await choosePassword(fromStdin);
  if (!(await users.addUser({ name, passwordHash: await hash(password), role }))) {
    throw new UsageError(`there is a user ${name} already; "weir user passwd ${name}" changes the password`);
  }
  process.stdout.write(`added ${name} (${role})${say}\n`);
}

async function importHtpasswd(users: UserRecords, path: string, role: UserRecord['role']): Promise<void> {
  const { users: read, refused } = await readHtpasswd(path, role);
  if (refused.length > 0) {
    const lines = refused.map(({ line, reason }) => `  line ${line}: ${reason}`).join('\n');
    throw new UsageError(`${path} was not imported:\n${lines}`);
  }
  for (const user of read) await users.putUser(user);
  process.stdout.write(`imported ${read.length} users (${role})\n`);
}

async function choosePassword(fromStdin: boolean): Promise<{ readonly password: string; readonly say: string }> {
  if (fromStdin) return { password: (await text(process.stdin)).replace(/\r?\n$/, ''), say: '' };
  const password = generatePassword();
  return { password, say: `, password: ${password}` };
}

async function hash(password: string): Promise<string> {
  try {
    return await hashPassword(password);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}
