import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushImage } from '../../support/images.js';
import { admin, startRegistry, user, type TestRegistry } from '../../support/registry.js';
import { ClientTerminal } from './client-terminal.js';

/** The commands against a registry: what one of them does, the others tell. */
describe('the client and a registry', () => {
  let registry: TestRegistry;
  let terminal: ClientTerminal;
  beforeAll(async () => {
    registry = await startRegistry();
    await registry.addProject('shop');
    await registry.addProject('live');
  });
  afterAll(() => registry.stop());

  async function logIn(who: { readonly name: string; readonly password: string } = admin): Promise<ClientTerminal> {
    const opened = await ClientTerminal.open();
    opened.now = new Date();
    await opened.weir('login', registry.url, '-u', who.name, '-p', who.password);
    return opened;
  }

  /** Columns of the table that a command prints, without its headings. */
  async function rowsOf(...args: readonly string[]): Promise<readonly (readonly string[])[]> {
    const { stdout } = await terminal.weir(...args);
    const lines = stdout.trimEnd().split('\n').slice(1);
    return lines.map((line) => line.trimStart().split(/ {2,}/));
  }

  const short = ({ digest }: { readonly digest: string }): string => digest.slice(0, 'sha256:'.length + 12);

  test('tell of two pushes and a rollback, with who, how and why', async () => {
    terminal = await logIn();
    const first = await pushImage(registry, 'shop/app', 'prod', 'first');
    const second = await pushImage(registry, 'shop/app', 'prod', 'second');
    const back = await terminal.weir('rollback', 'shop/app:prod', '--reason', 'größer ist nicht besser');
    expect(back.stdout).toBe(`shop/app:prod is ${short(first)} again\n`);

    const history = await terminal.weir('history', 'shop/app:prod');
    expect(history.stdout).toMatch(/^ +EVENT +WHEN +AGE +WHO +HOW +FROM +IMAGE +SIZE +REASON\n\* +3 /);
    const rows = history.stdout.split('\n').slice(1);
    expect(rows[0]).toMatch(new RegExp(`admin +rollback +back to 1 +${short(first)} .*größer ist nicht besser$`));
    expect(rows[1]).toMatch(new RegExp(`^ +2 .*admin +push .*${short(second)}`));
    expect(rows[2]).toMatch(new RegExp(`^ +1 .*admin +push .*${short(first)}`));

    const pulled = await registry.fetch('/v2/shop/app/manifests/prod', { headers: { Accept: first.mediaType } });
    expect(pulled.headers.get('Docker-Content-Digest')).toBe(first.digest);
  });

  test('go back to an event, or to a digest by its first digits', async () => {
    terminal = await logIn();
    const images = [];
    for (const name of ['a', 'b', 'c']) images.push(await pushImage(registry, 'shop/back', 'prod', name));
    const [a, b] = images;
    expect((await terminal.weir('rollback', 'shop/back:prod', '--to', '1')).stdout).toContain(short(a!));
    expect((await terminal.weir('rollback', 'shop/back:prod', '--to', short(b!))).stdout).toContain(short(b!));
    const dry = await terminal.weir('rollback', 'shop/back:prod', '--to', '1', '--dry-run');
    expect(dry.stdout).toBe(`shop/back:prod would be ${short(a!)} again\n`);
    expect(dry.stderr).toContain(`No tag would point at ${short(b!)} any more.\n`);
    expect(await rowsOf('history', 'shop/back:prod')).toHaveLength(5);
    await expect(terminal.weir('rollback', 'shop/back:prod', '--to', '99')).rejects.toThrow('back:prod@99');
  });

  test('point tags at images, in this project and in another, delete them and bring them back', async () => {
    terminal = await logIn();
    const image = await pushImage(registry, 'shop/tagged', 'v1');
    const { stdout } = await terminal.weir(
      'tag',
      'shop/tagged:v1',
      'shop/tagged:prod',
      'live/tagged:prod',
      '--reason',
      'go',
    );
    expect(stdout).toBe(`shop/tagged:prod is ${short(image)}\nlive/tagged:prod is ${short(image)}\n`);
    await terminal.weir('tag', `shop/tagged@${short(image)}`, 'shop/tagged:by-digest');
    await terminal.weir('tag', '--alias', 'shop/tagged:v1', 'shop/tagged:stable');
    const tags = await rowsOf('tags', 'shop/tagged', '--sort', 'name');
    expect(tags.map(([tag, digest, how]) => [tag, digest, how])).toEqual([
      ['by-digest', short(image), 'tag'],
      ['prod', short(image), 'tag'],
      ['stable', short(image), 'tag'],
      ['v1', short(image), 'push'],
    ]);
    expect((await terminal.weir('untag', 'shop/tagged:prod', '--dry-run')).stdout).toContain('would be deleted');
    await terminal.weir('untag', 'shop/tagged:prod', '--reason', 'not used');
    expect((await rowsOf('tags', 'shop/tagged')).map(([tag]) => tag)).not.toContain('prod');
    expect((await terminal.weir('history', 'shop/tagged', '--cause', 'delete')).stdout).toMatch(
      /prod .*delete .*not used\n$/,
    );
    expect((await terminal.weir('undelete', 'shop/tagged:prod')).stdout).toBe(
      `shop/tagged:prod is ${short(image)} again\n`,
    );
    await expect(terminal.weir('undelete', 'shop/tagged:prod')).rejects.toThrow('the tag is there');
    await expect(terminal.weir('tag', 'shop/tagged:gone', 'shop/tagged:x')).rejects.toThrow('"tagged:gone" not found');
  });

  test('look for tags, page by page, and give a program all of them', async () => {
    terminal = await logIn();
    const image = await pushImage(registry, 'shop/many', 'v1', 'one');
    const targets = Array.from({ length: 11 }, (_target, index) => `shop/many:v${index + 2}`);
    await terminal.weir('tag', 'shop/many:v1', ...targets);
    const named = async (...args: string[]): Promise<readonly string[]> =>
      (await rowsOf('tags', ...args)).map(([tag]) => tag!);
    expect((await named('shop/many')).slice(-4)).toEqual(['v9', 'v10', 'v11', 'v12']);
    expect(await named('shop/many', '-q', 'v1?')).toEqual(['v10', 'v11', 'v12']);
    expect(await named('shop/many', '-q', short(image), '--limit', '2')).toEqual(['v1', 'v2']);
    expect((await terminal.weir('tags', 'shop/many', '--limit', '5')).stderr).toContain('These are 5 of 12;');
    const list = JSON.parse((await terminal.weir('tags', 'shop/many', '--limit', '0', '-o', 'json')).stdout) as {
      total: number;
      items: unknown[];
    };
    expect([list.total, list.items.length]).toEqual([12, 12]);
    expect((await terminal.weir('streams', 'shop')).stdout).toMatch(/^many +12 +\S+ +127\.0\.0\.1:\d+\/shop\/many$/m);
  });

  test('tell what differs between two tags, and what the last change of one was', async () => {
    terminal = await logIn();
    const first = await pushImage(registry, 'shop/compared', 'v1', 'first');
    const second = await pushImage(registry, 'shop/compared', 'v1', 'second');
    const expected = new RegExp(
      `^platform linux/amd64\nimage ${short(first)} -> ${short(second)}\n[^]*layers: 0 [^]*` +
        `- ${short(first.layer)} [^]*\\+ ${short(second.layer)} `,
      'm',
    );
    expect((await terminal.weir('diff', 'shop/compared:v1')).stdout).toMatch(expected);
    expect((await terminal.weir('diff', 'shop/compared:v1', '--from', '1')).stdout).toMatch(expected);
    const byDigest = ['diff', `shop/compared@${short(first)}`, 'shop/compared:v1'];
    expect((await terminal.weir(...byDigest)).stdout).toMatch(expected);
    expect((await terminal.weir('diff', 'shop/compared:v1', '--from', '2', '--to', '2')).stdout).toContain(
      'the same image',
    );
  });

  test('keep tags where they are once a policy says so, until it is removed', async () => {
    terminal = await logIn();
    await pushImage(registry, 'shop/kept', 'v1', 'first');
    await pushImage(registry, 'shop/kept', 'next', 'second');
    const made = await terminal.weir('policy', 'protect', 'shop', 'v*', '--stream', 'kept', '--override', 'user:bob');
    const [, name] = /^policy (protect-\w+) counts in shop from now on\n$/.exec(made.stdout) ?? [];
    expect(await rowsOf('policy', 'list', 'shop')).toEqual([[name, 'kept', 'v*', 'user:bob']]);
    const [row] = await rowsOf('tags', 'shop/kept', '--state', 'protected');
    expect(row!.at(-1)).toContain(name!);
    await expect(terminal.weir('tag', 'shop/kept:next', 'shop/kept:v1')).rejects.toThrow(name!);
    await expect(terminal.weir('untag', 'shop/kept:v1')).rejects.toThrow(name!);
    await terminal.weir('policy', 'remove', 'shop', name!);
    await terminal.weir('tag', 'shop/kept:next', 'shop/kept:v1');
  });

  test('ask for a reason where a policy does', async () => {
    terminal = await logIn();
    await pushImage(registry, 'shop/explained', 'v1', 'first');
    await pushImage(registry, 'shop/explained', 'v1', 'second');
    await terminal.weir(
      'policy',
      'require-reason',
      'shop',
      'rollback',
      'delete',
      '--stream',
      'explained',
      '--name',
      'explain',
    );
    await expect(terminal.weir('rollback', 'shop/explained:v1')).rejects.toThrow(/reason/);
    await terminal.weir('rollback', 'shop/explained:v1', '--reason', 'because');
    await expect(terminal.weir('untag', 'shop/explained:v1')).rejects.toThrow(/reason/);
    await terminal.weir('untag', 'shop/explained:v1', '--reason', 'because');
    await terminal.weir('policy', 'remove', 'shop', 'explain');
  });

  test('tell somebody without the right what is missing', async () => {
    terminal = await logIn(user);
    await pushImage(registry, 'shop/refused', 'v1');
    await expect(terminal.weir('untag', 'shop/refused:v1')).rejects.toThrow(
      /cannot delete .*; somebody who administers the project can give you a role for it$/,
    );
    await expect(terminal.weir('policy', 'keep', 'shop', '5')).rejects.toThrow(/cannot create/);
  });

  test('tell what happened in a project', async () => {
    terminal = await logIn();
    await pushImage(registry, 'live/deep/one', 'v1');
    const [row] = await rowsOf('history', '-n', 'live');
    expect(row!.slice(0, 1)).toEqual(['*']);
    expect(row).toContain('deep/one');
    expect((await terminal.weir('history', 'live/deep/one:v1', '--since', '1h')).stdout).toContain('push');
    expect((await terminal.weir('history', 'live/deep/one:v1', '--until', '1h')).stderr).toContain(
      'Nothing of that kind',
    );
  });
});
