import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { StreamApi } from '../../streams/stream-api.js';
import { startFaultyRegistry, type FaultyRegistry } from '../../support/faulty-registry.js';
import { admin, startRegistry, type TestRegistry } from '../../support/registry.js';
import { ClientTerminal } from './client-terminal.js';

describe('weir import and another registry', () => {
  let registry: TestRegistry;
  let upstream: FaultyRegistry;
  let shop: StreamApi;
  let terminal: ClientTerminal;
  beforeAll(async () => {
    upstream = await startFaultyRegistry();
    registry = await startRegistry({
      WEIR_UPSTREAMS_ALLOW_PRIVATE: '127.0.0.1',
      WEIR_IMPORTS_MAX_TAGS_PER_REPOSITORY: '2',
    });
    await registry.addProject('shop');
    shop = new StreamApi(registry, 'shop');
  });
  afterAll(async () => {
    await registry.stop();
    await upstream.close();
  });
  beforeEach(async () => {
    terminal = await ClientTerminal.open();
    terminal.now = new Date();
    await terminal.weir('login', registry.url, '-u', admin.name, '-p', admin.password);
  });
  afterEach(() => {
    upstream.clearFaults();
  });

  const short = ({ digest }: { readonly digest: string }): string => digest.slice(0, 'sha256:'.length + 12);
  const source = (name: string): readonly string[] => ['--from', `${upstream.host}/${name}`, '--insecure-source'];

  test('make a stream from what is there', async () => {
    const image = upstream.addImage('redis', '7');
    const { stdout } = await terminal.weir('import', 'shop/redis:7', ...source('redis:7'), '--reason', 'for the shop');
    expect(stdout).toBe(`TAG  RESULT    IMAGE\n7    imported  ${short(image)}\n`);
    expect(await shop.wanted('redis:7')).toMatchObject({
      from: { kind: 'DockerImage', name: `${upstream.host}/redis:7` },
      importPolicy: { insecure: true, importMode: 'Legacy' },
      referencePolicy: { type: 'Source' },
    });
    expect(await shop.pull('redis', '7')).toBe(image.digest);
    const history = await terminal.weir('history', 'shop/redis:7');
    expect(history.stdout).toMatch(new RegExp(`admin +import +.*${short(image)}.*for the shop`));
  });

  test('look again at where a tag came from, also for one that follows it, and keep what was said of it', async () => {
    upstream.addImage('again', '7');
    const policies = ['--scheduled', '--reference-policy', 'local'];
    await terminal.weir('import', 'shop/again:7', ...source('again:7'), ...policies);
    await terminal.weir('tag', '--alias', 'shop/again:7', 'shop/again:latest');
    const second = upstream.addImage('again', '7', 'another');
    const { stdout } = await terminal.weir('import', 'shop/again');
    expect(stdout).toContain(`7    imported  ${short(second)}\n`);
    expect(await shop.wanted('again:7')).toMatchObject({
      importPolicy: { insecure: true, scheduled: true },
      referencePolicy: { type: 'Local' },
    });
    // Who follows gets it too.
    expect((await shop.images('again:latest'))[0]).toBe(second.digest);
  });

  test('only look, when they are told so', async () => {
    const image = upstream.addImage('dry', '1');
    const { stdout } = await terminal.weir('import', 'shop/dry:1', ...source('dry:1'), '--dry-run');
    expect(stdout).toContain(short(image));
    expect((await shop.send('GET', 'imagestreams/dry')).status).toBe(404);
  });

  test('take the tags of a repository, and name those that are too many', async () => {
    for (const tag of ['1.0', '1.1', '1.2']) upstream.addImage('many', tag);
    const { stdout } = await terminal.weir('import', 'shop/many', '--all', ...source('many'));
    expect(stdout).toMatch(
      /^1\.2 +imported .*\n1\.1 +imported .*\nnot imported, as there are too many at once: 1\.0\n$/m,
    );
    const again = await terminal.weir('import', 'shop/many', '--all');
    expect(again.stdout.match(/ imported /g)).toHaveLength(2);
  });

  test('say of a repository some of whose tags failed which they are', async () => {
    upstream.addImage('partly', 'good');
    upstream.setTag('partly', 'bad', `sha256:${'0'.repeat(64)}`);
    await expect(terminal.weir('import', 'shop/partly', '--all', ...source('partly'))).rejects.toThrow(
      'not everything was imported into shop/partly: bad failed',
    );
    expect(await shop.images('partly:good')).toHaveLength(1);
  });

  test('fail when a tag failed, and tell what the registry said', async () => {
    upstream.addFault({
      kind: 'answer',
      path: /secret/,
      status: 401,
      body: '{"errors":[{"code":"UNAUTHORIZED","message":"members only\\u001b[2J"}]}',
    });
    const failing = terminal.weir('import', 'shop/secret:7', ...source('secret:7'), '-o', 'json');
    await expect(failing).rejects.toThrow('not everything was imported into shop/secret:7: 7 failed');
    const { status } = await shop.read('secret');
    const message = String(status.tags?.[0]?.conditions?.[0]?.message);
    expect(message).toContain('members only');
    // Whoever shows it on a terminal must not have to take care.
    expect(message).not.toContain('\u001b');
    await expect(terminal.weir('import', 'shop/none:1', ...source('none:1'))).rejects.toThrow('1 failed');
    await expect(terminal.weir('import', 'shop/none', '--all', ...source('none'))).rejects.toThrow(
      /^nothing was imported: dockerimage\.image\.openshift\.io .* not found/,
    );
  });
});
