import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { digestOf } from '../../src/oci/digest.js';

const program = join(import.meta.dirname, '../../bin/weir.cjs');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program as it is started from a shell. Each start takes most of a second: what the commands do is tested apart. */
describe('the program', { timeout: 60_000 }, () => {
  let folder: string;
  let dataDir: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    dataDir = join(folder, 'data');
    // It compiles itself when it is older than its sources: here, so that no test has to wait for that.
    await weir(['--version']);
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function weir(
    args: readonly string[],
    { input = '', env = {} }: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<Ended> {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: folder,
      env: { ...process.env, WEIR_DATA_DIR: dataDir, ...env },
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const code = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: await code, stdout, stderr };
  }

  test('tells every command when asked for help, which is no failure', async () => {
    const { code, stdout } = await weir(['--help']);
    expect(code).toBe(0);
    for (const command of ['serve', 'config', 'user', 'keys', 'fsck']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
    }
    expect(stdout).toContain('--config <file>');
  });

  test.each([
    { name: 'an unknown command', args: ['sevre'] },
    { name: 'an argument that is missing', args: ['user', 'passwd'] },
    { name: 'a user who is not there', args: ['user', 'remove', 'nobody'] },
  ])('ends with 2 and says why for $name', async ({ args }) => {
    const { code, stdout, stderr } = await weir(args);
    expect(stderr.trim()).not.toBe('');
    expect(stderr).not.toMatch(/\n {4}at /);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  test('ends with 0 when the configuration it is to check is well', async () => {
    const file = join(folder, 'good.yaml');
    await writeFile(file, 'logLevel: warn\n');
    expect(await weir(['config', 'check', '--config', file])).toEqual({
      code: 0,
      stdout: 'the configuration is valid\n',
      stderr: '',
    });
  });

  test('ends with 2 and tells every problem when the configuration is not valid', async () => {
    const file = join(folder, 'bad.yaml');
    await writeFile(file, 'logLevel: loud\nlistne: x\n');
    const env = { WEIR_LISTEN: 'x', WEIR_UNKNOWN: 'y' };
    const { code, stdout, stderr } = await weir(['--config', file, 'serve'], { env });
    expect(code).toBe(2);
    expect(stdout).toBe('');
    for (const problem of ['logLevel: "loud"', 'listne: unknown', 'listen: "x"', 'WEIR_UNKNOWN: unknown']) {
      expect(stderr).toContain(problem);
    }
  });

  test('reads a password from its input, and makes files that nobody else can read', async () => {
    const ended = await weir(['user', 'add', 'ada', '--password-stdin'], { input: 'ada-secret\n' });
    expect(ended).toEqual({ code: 0, stdout: 'added ada (user)\n', stderr: '' });
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(dataDir, 'weir.sqlite'))).mode & 0o777).toBe(0o600);
    const db = await openSqlite(join(dataDir, 'weir.sqlite'));
    const { passwordHash } = (await new KyselyUserRecords(db).findUser('ada'))!;
    await db.destroy();
    expect(await bcrypt.compare('ada-secret', passwordHash)).toBe(true);
  });

  test('tells that a file is not there, without a stack', async () => {
    const { code, stderr } = await weir(['user', 'add', '--htpasswd', 'nowhere']);
    expect(code).toBe(1);
    expect(stderr).toContain('nowhere');
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  test('ends with 3 when fsck finds something lost, and names it', async () => {
    const db = await openSqlite(join(folder, 'weir.sqlite'));
    const blob = { digest: digestOf('lost'), size: 4, location: '00/lost', created_at: 0 };
    await db.insertInto('blob').values(blob).execute();
    await db.destroy();
    const { code, stdout } = await weir(['fsck'], { env: { WEIR_DATA_DIR: folder } });
    expect(code).toBe(3);
    expect(stdout).toContain(`lost: blob ${blob.digest} has no bytes (at 00/lost)`);
    expect(stdout).toMatch(/1 lost, 0 notes\n$/);
  });

  test('does its work also when others begin at the same moment in the same new data folder', async () => {
    const env = { WEIR_DATA_DIR: join(folder, 'crowded') };
    const names = ['one', 'two', 'three'];
    const ended = await Promise.all(names.map((name) => weir(['user', 'add', name], { env })));
    expect(ended.map(({ code, stderr }) => ({ code, stderr }))).toEqual(names.map(() => ({ code: 0, stderr: '' })));
  });
});
