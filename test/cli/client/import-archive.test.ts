import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { importArchiveCommand } from '../../../src/cli/client/import-archive-command.js';
import type { Terminal } from '../../../src/cli/client/terminal.js';
import { archiveOf, dockerEntries, savedImage, writtenManifest } from '../../distribution/archive-builders.js';
import { admin, startRegistry, user, type TestRegistry } from '../../support/registry.js';
import { listen, startAnswering } from './answering-server.js';
import { ClientTerminal } from './client-terminal.js';

describe('weir import-archive', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    await registry.addProject('shop');
  });
  afterAll(() => registry.stop());

  async function logIn(who: { readonly name: string; readonly password: string } = admin): Promise<ClientTerminal> {
    const opened = await ClientTerminal.open();
    await opened.weir('login', registry.url, '-u', who.name, '-p', who.password);
    return opened;
  }

  async function archive(terminal: ClientTerminal, text: string, repoTags: readonly string[] | null) {
    const image = await savedImage(text, repoTags);
    const file = terminal.path(`${text}.tar`);
    await writeFile(file, await archiveOf(dockerEntries([image])));
    return { file, digest: writtenManifest(image).digest };
  }

  /** The command alone, with a pipe and a terminal of its own. */
  async function piped(
    { environment, home }: ClientTerminal,
    pipes: { readonly input: Readable & { isTTY?: boolean }; readonly output?: PassThrough & { isTTY?: boolean } },
    ...args: readonly string[]
  ): Promise<string> {
    let stdout = '';
    const nobody = (): Promise<string> => Promise.reject(new Error('nobody is there'));
    const terminal: Terminal = {
      environment,
      home,
      userId: 1000,
      now: () => new Date(),
      print: (text) => (stdout += text),
      note: () => undefined,
      ask: nobody,
      askSecret: nobody,
      readInput: nobody,
    };
    const command = importArchiveCommand(terminal, { output: new PassThrough(), ...pipes });
    await new Command('weir')
      .exitOverride()
      .addCommand(command)
      .parseAsync(['import-archive', ...args], { from: 'user' });
    return stdout;
  }

  async function digestOfTag(repository: string, tag: string): Promise<string | null> {
    return (await registry.fetch(`/v2/${repository}/manifests/${tag}`)).headers.get('Docker-Content-Digest');
  }

  test('sends an archive, and says what came of it', async () => {
    const terminal = await logIn();
    const { file, digest } = await archive(terminal, 'own', ['quay.io/team/own:v1']);
    const { stdout, stderr } = await terminal.weir('import-archive', file, '-n', 'shop');
    expect(stdout).toMatch(new RegExp(`^TAG +IMAGE +TYPE\nshop/own:v1 +${digest.slice(0, 19)} +application/vnd.oci`));
    expect(stderr).toBe('');
    expect(await digestOfTag('shop/own', 'v1')).toBe(digest);
  });

  test('gives it another name, with a reason that is kept', async () => {
    const terminal = await logIn();
    const { file, digest } = await archive(terminal, 'renamed', null);
    const args = ['--name', 'shop/a/b:best', '--reason', 'größer', '-o', 'json'];
    const { stdout } = await terminal.weir('import-archive', file, ...args);
    expect(JSON.parse(stdout)).toMatchObject({
      images: [{ repository: 'shop/a/b', tag: 'best', digest }],
      warnings: [],
    });
    expect((await terminal.weir('history', 'shop/a/b:best')).stdout).toContain('größer');
  });

  test('takes what is piped in, and shows on a terminal how far it is', async () => {
    const terminal = await logIn();
    const image = await savedImage('piped', ['piped:v1']);
    const output: PassThrough & { isTTY?: boolean } = Object.assign(new PassThrough(), {
      isTTY: true,
      cursorTo: () => true,
      clearLine: () => true,
      moveCursor: () => true,
    });
    const input = Readable.from([await archiveOf(dockerEntries([image]))], { objectMode: false });
    const stdout = await piped(terminal, { input, output }, '-', '--name', 'shop/piped');
    expect(stdout).toContain('shop/piped:v1');
    expect(String(output.read())).toMatch(/kB/);
    expect(await digestOfTag('shop/piped', 'v1')).toBe(writtenManifest(image).digest);
  });

  test.each([
    { name: 'an archive without a name', args: ['shop'], message: /names a repository for the image.*names/ },
    { name: 'a project that is none', args: ['SHOP'], message: /is no name of a project/ },
  ])('tells of $name', async ({ args: [project], message }) => {
    const terminal = await logIn();
    const { file } = await archive(terminal, 'nameless', null);
    await expect(terminal.weir('import-archive', file, '-n', project!)).rejects.toThrow(message);
  });

  test('tells of a missing right, of a missing file, and of a folder', async () => {
    const terminal = await logIn(user);
    const outsider = { name: 'outsider', password: 'outsider-secret', role: 'user' } as const;
    await registry.addUser(outsider);
    const stranger = await logIn(outsider);
    const { file } = await archive(stranger, 'refused', ['refused:v1']);
    await expect(stranger.weir('import-archive', file, '-n', 'shop')).rejects.toThrow(/denied.*can give you a role/);
    await expect(terminal.weir('import-archive', terminal.path('none.tar'), '-n', 'shop')).rejects.toThrow(/ENOENT/);
    await mkdir(terminal.path('folder'));
    await expect(terminal.weir('import-archive', terminal.path('folder'), '-n', 'shop')).rejects.toThrow(/is a folder/);
    await expect(terminal.weir('import-archive', file, '--name', 'shop/a@sha256:123456')).rejects.toThrow(
      /names an image/,
    );
  });

  test('does not wait for what nobody pipes in', async () => {
    const terminal = await logIn();
    const input = Object.assign(new PassThrough(), { isTTY: true });
    await expect(piped(terminal, { input }, '-', '-n', 'shop')).rejects.toThrow('nothing is piped in');
    expect(input.listenerCount('readable')).toBe(0);
  });

  test('tells of an input that breaks', async () => {
    const terminal = await logIn();
    const input = new PassThrough();
    input.write(Buffer.alloc(2000));
    setTimeout(() => input.destroy(new Error('the pipe broke')), 50);
    await expect(piped(terminal, { input }, '-', '-n', 'shop')).rejects.toThrow('the pipe broke');
  });
});

test('a server that answers before the end is heard', async () => {
  const terminal = await ClientTerminal.open();
  const url = await listen((_request, response) => {
    response.writeHead(413, { 'Content-Type': 'application/json', Connection: 'close' });
    const detail = { reason: 'far too much', entry: 'x' };
    response.end(JSON.stringify({ errors: [{ code: 'SIZE_INVALID', message: 'no', detail }] }));
  });
  const file = terminal.path('large.tar');
  await writeFile(file, Buffer.alloc(20_000_000));
  await expect(terminal.weir('import-archive', file, '-n', 'shop', '--server', url)).rejects.toThrow(
    /^no: far too much; entry x$/,
  );
});

test('a server that goes away is told of', async () => {
  const terminal = await ClientTerminal.open();
  const server = createServer((socket) => socket.once('data', () => socket.destroy())).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const file = await terminal.write('a.tar', 'x'.repeat(2000));
  const url = `http://127.0.0.1:${port}`;
  await expect(terminal.weir('import-archive', file, '-n', 'shop', '--server', url)).rejects.toThrow(/no answer from/);
});

test('the answer of something else is not taken for one', async () => {
  const terminal = await ClientTerminal.open();
  const file = await terminal.write('a.tar', '{}');
  const { url } = await startAnswering({ 'POST /extensions/weir/v1/projects/shop/archives': { kind: 'Else' } });
  await expect(terminal.weir('import-archive', file, '-n', 'shop', '--server', url)).rejects.toThrow(
    /does not understand: images/,
  );
});
