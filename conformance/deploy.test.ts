import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root, searchPath } from '../scripts/tools.mjs';
import { Random } from '../test/faults/random.js';
import { RegistryClient, sha256, uploadWays } from '../test/faults/registry-client.js';
import { password, startRegistryProcess, type RegistryProcess } from '../test/faults/registry-process.js';
import { run, tryRun } from './support/command.js';
import { describeWithPrograms, installedProgram } from './support/suite.js';
import { makeWorkspace, type Workspace } from './support/workspace.js';
import { freePort } from '../test/support/free-port.js';

const deploy = path.join(root, 'deploy');

/** A workspace for the enclosing suite. */
function useWorkspace(): Workspace {
  const workspace = makeWorkspace();
  afterAll(() => workspace.remove());
  return workspace;
}

describeWithPrograms('nginx.conf', ['nginx'], () => {
  const workspace = useWorkspace();
  let nginx: ChildProcess | undefined;
  let registry: RegistryProcess;
  let url = '';

  beforeAll(async () => {
    registry = await startRegistryProcess({ dataDir: workspace.path('data') });
    const [port, nobody] = [await freePort(), await freePort()];
    url = `http://127.0.0.1:${port}`;
    const text = (await readFile(path.join(deploy, 'nginx.conf'), 'utf8'))
      .replace('listen 8080;', `listen 127.0.0.1:${port};`)
      // The other replica has gone.
      .replace('weir-a:5000', `127.0.0.1:${nobody}`)
      .replace('weir-b:5000', new URL(registry.url).host)
      .replaceAll(' /tmp/', ` ${workspace.makeDirectory('nginx')}/`);
    const file = workspace.writeFile('nginx.conf', text);
    const told = await tryRun(installedProgram('nginx'), ['-t', '-c', file], { environment: workspace.environment });
    expect(told).toMatchObject({ exitCode: 0, stderr: expect.not.stringMatching(/\[(emerg|alert)\]/) as string });
    nginx = spawn(installedProgram('nginx'), ['-c', file, '-g', 'daemon off;'], {
      env: workspace.environment,
      stdio: 'ignore',
    });
    while ((await statusOf(`${url}/livez`)) !== 200 && nginx.exitCode === null) await delay(50);
  });
  afterAll(async () => {
    if (nginx?.exitCode === null) {
      nginx.kill('SIGTERM');
      await once(nginx, 'exit');
    }
    await registry.stop();
  });

  test.each(uploadWays)('lets a blob through with %s, and back, while one of two replicas is gone', async (way) => {
    const client = new RegistryClient(url);
    const bytes = new Random(way).bytes(20_000_000);
    const digest = sha256(bytes);
    await client.pushBlob({ repository: 'deploy/app', bytes, digest, way, chunkSize: 3_000_000 });
    const { body } = await client.expect(200, 'GET', `/v2/deploy/app/blobs/${digest}`);
    client.close();
    expect(sha256(body)).toBe(digest);
  });

  test('passes the head of a request on that carries a long token', async () => {
    const headers = { Authorization: `Bearer ${'x'.repeat(20_000)}` };
    expect((await fetch(`${url}/v2/`, { headers })).status).toBe(401);
  });

  test('passes an event of a watch on when it comes', async () => {
    const token = await apiToken(url);
    const ending = new AbortController();
    const watch = await fetch(`${url}/apis/image.openshift.io/v1/imagestreams?watch=true`, {
      headers: { Authorization: `Bearer ${token}` },
      signal: ending.signal,
    });
    expect(watch.status).toBe(200);
    const reader = watch.body!.getReader();
    const seen = (async () => {
      const decoder = new TextDecoder();
      let text = '';
      while (!text.includes('"watched"')) {
        const piece = (await reader.read()) as { readonly done: boolean; readonly value?: Uint8Array };
        if (piece.done) return 'ended';
        text += decoder.decode(piece.value, { stream: true });
      }
      return Date.now();
    })();
    const client = new RegistryClient(url);
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
    );
    await client.expect(201, 'PUT', '/v2/deploy/watched/manifests/v1', {
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
      body: manifest,
    });
    const pushedAt = Date.now();
    client.close();
    expect(Number(await Promise.race([seen, delay(10_000, Infinity)])) - pushedAt).toBeLessThan(1000);
    ending.abort();
  });
});

describeWithPrograms('the manifests for Kubernetes', ['kubectl'], () => {
  const workspace = useWorkspace();
  const kubectl = (...args: string[]) =>
    run(installedProgram('kubectl'), args, { environment: workspace.environment, workingDirectory: deploy });

  test('are put together by kustomize', async () => {
    const documents = parseAllDocuments(await kubectl('kustomize', 'kubernetes')).map(
      (document) => document.toJS() as { kind: string; metadata: { namespace?: string } },
    );
    expect(documents.map(({ kind }) => kind).sort()).toEqual([
      'ConfigMap',
      'CronJob',
      'Deployment',
      'Ingress',
      'Namespace',
      'PersistentVolumeClaim',
      'PodDisruptionBudget',
      'Service',
    ]);
    for (const { kind, metadata } of documents) if (kind !== 'Namespace') expect(metadata.namespace).toBe('weir');
  });

  // kubectl knows these kinds without a server, and leaves out what it does not know: a misspelt field would be missing.
  test.each([
    { file: 'deployment.yaml', kind: 'Deployment' },
    { file: 'backup.yaml', kind: 'CronJob' },
  ])('have no field in $kind that Kubernetes does not know', async ({ file, kind }) => {
    const written = parseAllDocuments(await readFile(path.join(deploy, 'kubernetes', file), 'utf8'))
      .map((document) => document.toJS() as Record<string, unknown>)
      .find((document) => document['kind'] === kind)!;
    const one = workspace.writeFile(`${kind}.json`, JSON.stringify(written));
    const understood = await kubectl('set', 'image', '--local', '-f', one, '-o', 'json', 'none=none').catch(() =>
      kubectl('set', 'env', '--local', '-f', one, '-o', 'json', 'A=b'),
    );
    expect(JSON.parse(understood)).toMatchObject({ ...written, spec: expect.anything() as unknown });
    expect(missingFields(written, JSON.parse(understood), kind)).toEqual([]);
  });
});

describeWithPrograms('weir.service', ['systemd-analyze'], () => {
  const workspace = useWorkspace();
  const analyze = (...args: string[]) =>
    tryRun(installedProgram('systemd-analyze'), args, { environment: workspace.environment });

  test('is a unit that systemd understands, and shuts nearly everything off', async () => {
    const text = (await readFile(path.join(deploy, 'systemd', 'weir.service'), 'utf8'))
      .replace('/usr/bin/node', process.execPath)
      .replace('file:///opt/weir', `file://${root}`);
    const unit = workspace.writeFile('weir.service', text);
    const { exitCode, stdout, stderr } = await analyze('verify', unit);
    expect({ exitCode, told: (stdout + stderr).split('\n').filter((line) => line.includes('weir.service')) }).toEqual({
      exitCode: 0,
      told: [],
    });
    const security = await analyze('security', '--offline=true', '--threshold=25', unit);
    expect(security.exitCode, security.stdout).toBe(0);
  });
});

describeWithPrograms('the Containerfile', ['buildah', 'npm'], () => {
  const workspace = useWorkspace();
  const buildah = (...args: string[]) =>
    run(
      installedProgram('buildah'),
      [
        ...['--root', workspace.makeDirectory('images'), '--runroot', workspace.makeDirectory('containers')],
        ...['--storage-driver', 'vfs', ...args],
      ],
      { environment: workspace.environment, workingDirectory: root },
    );

  // The images of Node.js are not to be had here. In place of the first stage's there is this machine, which runs its commands but
  // "npm ci"; in place of the second's, in which no command runs, there are this machine's node and its libraries.
  test('makes an image that serves as a user without rights, and ends when it is told to', async () => {
    const stages = (await readFile(path.join(deploy, 'Containerfile'), 'utf8')).split(/^(?=FROM )/m).slice(1);
    const [first, second, backup, last] = stages as [string, string, string, string];
    expect(stages.map((stage) => /^FROM (\S+)(?: AS (\w+))?/.exec(stage)!.slice(1))).toEqual([
      [expect.stringMatching(/\/node:22-/), 'build'],
      [expect.stringMatching(/\/node:22-/), 'runtime'],
      [expect.stringMatching(/\/postgres:/), 'backup'],
      ['runtime', undefined],
    ]);
    expect(backup).not.toContain('RUN');
    expect(second).not.toContain('RUN');

    const built = workspace.makeDirectory('built');
    await mkdir(path.join(built, 'weir'));
    const sources = [...first.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, names]) => names!.split(' '));
    for (const name of sources) await cp(path.join(root, name), path.join(built, 'weir', name), { recursive: true });
    await cp(await realpath(path.join(root, 'node_modules')), path.join(built, 'weir', 'node_modules'), {
      recursive: true,
      verbatimSymlinks: true,
    });
    const [install, ...commands] = [...first.matchAll(/^RUN ((?:.*\\\n)*.*)$/gm)].map(([, command]) => command!);
    expect(install).toMatch(/^npm ci --ignore-scripts && /);
    for (const command of commands) {
      await run('/bin/sh', ['-c', command.replace('/empty', path.join(built, 'empty'))], {
        environment: { ...workspace.environment, npm_config_offline: 'true' },
        workingDirectory: path.join(built, 'weir'),
      });
    }
    const left = await readdir(path.join(built, 'weir', 'node_modules'));
    expect(left).toContain('koa');
    expect(left).not.toContain('typescript');

    const base = workspace.makeDirectory('base');
    await mkdir(path.join(base, 'tmp'));
    await copyInto(base, process.execPath, '/usr/local/bin/node');
    const libraries = await run('ldd', [process.execPath], { environment: { PATH: searchPath } });
    for (const [library] of libraries.matchAll(/\/lib\S+/g)) await copyInto(base, library, library);

    const begin = 'FROM scratch AS runtime\nCOPY --from=base . /\nENV PATH=/usr/local/bin\n';
    const file = workspace.writeFile('Containerfile', [second.replace(/^FROM .*\n/, begin), last].join(''));
    const contexts = ['--build-context', `base=${base}`, '--build-context', `build=${built}`];
    const options = ['--isolation', 'chroot', '--pull-never', ...contexts, '--tag', 'localhost/weir', '--file', file];
    await buildah('bud', ...options, root);
    const container = (await buildah('from', '--pull-never', 'localhost/weir')).trim();
    const inside = ['run', '--isolation', 'chroot', '--env', 'WEIR_TLS_MODE=off', '--env', 'WEIR_LISTEN=127.0.0.1:0'];
    const told = await buildah(...inside, container, '--', 'node', '--eval', serveOnce);
    expect(JSON.parse(told.trim().split('\n').at(-1)!)).toEqual({
      uid: 10001,
      gid: 0,
      canChangeProgram: false,
      health: 0,
      healthOfNobody: 1,
      end: 0,
    });
  });
});

/** Runs in the container: starts Weir, asks for its health, and ends it. */
const serveOnce = `
const { spawn, spawnSync } = require('node:child_process');
const { accessSync, constants } = require('node:fs');
const weir = spawn('node', ['bin/weir.cjs', 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
const health = (port) => spawnSync('node', ['deploy/health.mjs'], { env: { ...process.env, WEIR_LISTEN: '127.0.0.1:' + port } }).status;
const canWrite = (path) => { try { accessSync(path, constants.W_OK); return true; } catch { return false; } };
const report = { uid: process.getuid(), gid: process.getgid(), canChangeProgram: canWrite('/weir') || canWrite('/weir/dist') };
let text = '';
weir.stdout.on('data', (chunk) => {
  text += chunk;
  const port = /is serving http:\\/\\/127.0.0.1:(\\d+)/.exec(text)?.[1];
  if (port === undefined || 'health' in report) return;
  report.health = health(port);
  report.healthOfNobody = health(1);
  weir.kill('SIGTERM');
});
weir.on('exit', (code) => console.log(JSON.stringify({ ...report, end: code })));
`;

async function copyInto(base: string, from: string, to: string): Promise<void> {
  await mkdir(path.join(base, path.dirname(to)), { recursive: true });
  await cp(from, path.join(base, to), { dereference: true });
}

/** The paths of all that is in the one and not in the other. */
function missingFields(written: unknown, understood: unknown, at: string): string[] {
  if (typeof written !== 'object' || written === null) return [];
  const other = (understood ?? {}) as Record<string, unknown>;
  return Object.entries(written as Record<string, unknown>).flatMap(([name, value]) =>
    Object.hasOwn(other, name) ? missingFields(value, other[name], `${at}.${name}`) : [`${at}.${name}`],
  );
}

function statusOf(url: string): Promise<number> {
  return fetch(url).then(
    ({ status }) => status,
    () => 0,
  );
}

/** As with `oc login`: the token comes in the fragment of a redirection. */
async function apiToken(url: string): Promise<string> {
  const query = new URLSearchParams({ client_id: 'openshift-challenging-client', response_type: 'token' });
  const { headers } = await fetch(`${url}/oauth/authorize?${query.toString()}`, {
    redirect: 'manual',
    headers: { 'x-csrf-token': '1', Authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` },
  });
  const fragment = new URLSearchParams(new URL(headers.get('location') ?? '', url).hash.slice(1));
  return fragment.get('access_token') ?? '';
}
