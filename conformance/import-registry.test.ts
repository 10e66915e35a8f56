import { spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import type { Login } from './support/api-token.js';
import { run, tryRun, type Command, type Outcome } from './support/command.js';
import { mediaTypes, parseManifest } from './support/image.js';
import { fetchImage, fetchManifest, fetchReferrers, fetchTags } from './support/registry-api.js';
import { describeWithPrograms, siteWithWeir, type Site } from './support/suite.js';
import { makeCertificate } from './support/upstreams/certificate.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { RegistrySession } from './support/upstreams/registry-session.js';
import { pushImage, pushReferrer, type Pushed } from './support/upstreams/seed.js';
import { TokenServer } from './support/upstreams/token-server.js';

const program = path.join(root, 'bin', 'weir.cjs');

describeWithPrograms('weir import-registry from distribution', ['registry'], () => {
  const site = siteWithWeir();
  const { workspace } = site;
  const alice: Login = { username: 'alice', password: 'the password of alice' };
  let registry: RealRegistry;
  let weir: Command;
  let index: Pushed;
  let signature: Pushed;
  let ofSignature: Pushed;
  let ofPlatform: Pushed;

  /** Every tag there, with its digest. */
  async function tagsOfSource(repository: string): Promise<Record<string, string>> {
    const session = new RegistrySession(registry, alice);
    try {
      const scope = `repository:${repository}:pull`;
      const { body } = await session.call(`/v2/${repository}/tags/list`, scope);
      const found: Record<string, string> = {};
      for (const tag of (JSON.parse(body.toString('utf8')) as { tags: string[] }).tags) {
        const headers = { accept: Object.values(mediaTypes).join(', ') };
        const answer = await session.call(`/v2/${repository}/manifests/${tag}`, scope, { headers });
        found[tag] = String(answer.headers['docker-content-digest']);
      }
      return found;
    } finally {
      await session.close();
    }
  }

  async function tagsOfWeir(repository: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const tag of await fetchTags(site.weir, repository)) {
      found[tag] = (await fetchManifest(site.weir, repository, tag)).digest;
    }
    return found;
  }

  const importing = (...options: readonly string[]): readonly string[] => [
    ...[program, 'import-registry', ...options],
    ...['--source-ca', registry.caFile!, '--source-username', alice.username, '--source-password-stdin'],
  ];
  const tryImport = (...options: readonly string[]): Promise<Outcome> =>
    tryRun(process.execPath, importing(...options), { ...weir, input: alice.password });

  beforeAll(async () => {
    registry = await startRealRegistry({
      kind: 'distribution',
      folder: workspace.makeDirectory('registry'),
      tls: await makeCertificate(workspace.makeDirectory('registry-tls')),
      auth: { kind: 'htpasswd', users: [alice] },
    });
    const as = alice;
    index = await pushImage(registry, 'team/app', 'v1', { as, layers: 2, platforms: ['amd64', 'arm64'] });
    signature = await pushReferrer(registry, index, { as, artifactType: 'application/x-signature', content: 'signed' });
    ofSignature = await pushReferrer(registry, signature, { as, artifactType: 'application/x-time', content: 'then' });
    const platform = await pushImage(registry, 'team/app', 'single', { as });
    ofPlatform = await pushReferrer(registry, platform, { as, artifactType: 'application/x-sbom', content: 'of it' });
    await pushImage(registry, 'team/docker', 'list', { as, format: 'docker', platforms: ['amd64', 's390x'] });
    await pushImage(registry, 'team/deep/er/web', 'v1', { as });
    await pushImage(registry, 'lone', 'v1', { as });
    await pushImage(registry, 'other_team/app', 'v1', { as });
    weir = await logIn(site);
  });
  afterAll(() => registry.stop());

  test('says first what it would do', async () => {
    const { exitCode, stdout, stderr } = await tryImport(registry.url, '--dry-run', '--repositories', 'team/*');
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain(`would copy team/app:v1 (${index.digest.slice(0, 19)})`);
    expect(stderr).toContain('would make the project team');
    await expect(fetchManifest(site.weir, 'team/app', 'v1')).rejects.toThrow(/40[34]/);
  });

  test('copies every repository, tag, image, index and referrer, and tells what it cannot copy', async () => {
    const { exitCode, stdout, stderr } = await tryImport(registry.url, '--state', workspace.path('copied.db'));
    expect(exitCode, stderr).toBe(1);
    expect(stdout).toMatch(/^Not copied: 1\n {2}other_team\/app: Weir takes no such name;.*--project NAME/m);
    for (const repository of ['team/app', 'team/docker', 'team/deep/er/web', 'lone']) {
      expect(await tagsOfWeir(repository)).toEqual(await tagsOfSource(repository));
    }
    // All of them, byte for byte: what is read is checked against its digest.
    const copied = await fetchImage(site.weir, 'team/app', 'v1');
    expect(copied.manifests).toEqual(index.image.manifests);
    expect(copied.blobs).toEqual(index.image.blobs);
    expect(await fetchImage(site.weir, 'team/docker', 'list')).toBeDefined();
    expect(await referrersOf('team/app', index.digest)).toEqual([signature.digest]);
    expect(await referrersOf('team/app', signature.digest)).toEqual([ofSignature.digest]);
    expect(await referrersOf('team/app', parseSubject(ofPlatform))).toEqual([ofPlatform.digest]);
  });

  test('copies below a project what has no name of a project', async () => {
    const { exitCode, stderr } = await tryImport(`${registry.url}/other_team`, '--project', 'copies');
    expect(exitCode, stderr).toBe(0);
    expect(await tagsOfWeir('copies/other_team/app')).toEqual(await tagsOfSource('other_team/app'));
  });

  test('asks for nothing but lists and HEADs when all is there', async () => {
    const before = registry.log().length;
    const state = workspace.path('copied.db');
    const { exitCode, stdout, stderr } = await tryImport(`${registry.url}/team`, '--state', state);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toMatch(/^Copied: 0 tags, 0 manifests/);
    const asked = registry.log().slice(before);
    expect(asked).toMatch(/http.request.method=HEAD/);
    expect(asked).toMatch(/http.request.method=GET[^\n]*http.request.uri="\/v2\/team\/[^"]*\/tags\/list/);
    expect(asked).not.toMatch(/http.request.method=GET[^\n]*http.request.uri="\/v2\/team\/[^"]*\/(manifests|blobs)\//);
  });

  test('goes on after Ctrl-C', async () => {
    const large = await pushImage(registry, 'large/app', 'v1', { as: alice, layers: 3, layerSize: 40_000_000 });
    const child = spawn(process.execPath, importing(`${registry.url}/large`), { env: weir.environment });
    child.stdin.end(alice.password);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if (stderr.includes('made the project large') && !child.killed) setTimeout(() => child.kill('SIGINT'), 50);
    });
    const exitCode = await new Promise((resolve) => child.once('close', resolve));
    expect(stderr).toContain('interrupted; nothing is half done. Run the same again to go on');
    expect(stdout).toContain('Not copied: 0');
    expect(exitCode).toBe(1);
    await expect(fetchManifest(site.weir, 'large/app', 'v1')).rejects.toThrow(/404/);

    const again = await tryImport(`${registry.url}/large`);
    expect(again.exitCode, again.stderr).toBe(0);
    // What is fetched is checked against its digest.
    const { blobs } = await fetchImage(site.weir, 'large/app', 'v1');
    expect([...blobs.keys()].sort()).toEqual([...large.image.blobs.keys()].sort());
  });

  async function referrersOf(repository: string, digest: string): Promise<string[] | undefined> {
    return (await fetchReferrers(site.weir, repository, digest))?.map((each) => each.digest);
  }
});

describeWithPrograms('weir import-registry from a registry with a token server', ['registry'], () => {
  const site = siteWithWeir();
  const { workspace } = site;
  let tokens: TokenServer;
  let registry: RealRegistry;
  let pushed: Pushed;
  let command: Command;
  const publisher = { username: 'publisher', password: 'the password of publisher', push: ['*'] };
  const reader = { username: 'reader', password: 'the password of reader', pull: ['team/*'] };

  beforeAll(async () => {
    const tls = await makeCertificate(workspace.makeDirectory('tls'));
    tokens = await TokenServer.start({ folder: workspace.makeDirectory('tokens'), tls, users: [publisher, reader] });
    const auth = { kind: 'token', server: tokens } as const;
    registry = await startRealRegistry({
      kind: 'distribution',
      folder: workspace.makeDirectory('registry'),
      tls,
      auth,
    });
    pushed = await pushImage(registry, 'team/app', 'v1', { as: publisher, platforms: ['amd64', 'arm64'] });
    command = await logIn(site);
    // As "docker login" leaves it.
    const entry = { auth: Buffer.from(`${reader.username}:${reader.password}`).toString('base64') };
    workspace.writeFile('home/.docker/config.json', JSON.stringify({ auths: { [registry.host]: entry } }));
  });
  afterAll(async () => {
    await registry.stop();
    await tokens.stop();
  });
  const tryImport = (...options: readonly string[]): Promise<Outcome> =>
    tryRun(
      process.execPath,
      [program, 'import-registry', registry.host, '--source-ca', registry.caFile!, ...options],
      command,
    );

  test('shows the password to no other host than the named ones', async () => {
    tokens.requests.length = 0;
    const { exitCode, stdout } = await tryImport('--repositories', 'team/app');
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/team\/app: .*wants the credential to be shown to localhost.*--source-hosts/);
    expect(tokens.requests).toEqual([]);
  });

  test('asks for names when the list is not for the caller, and copies what is named', async () => {
    const hosts = ['--source-hosts', 'localhost'];
    const refused = await tryImport(...hosts);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toMatch(/does not list its repositories .*--repositories team\/app/);

    const { exitCode, stderr } = await tryImport(...hosts, '--repositories', 'team/app');
    expect(exitCode, stderr).toBe(0);
    const copied = await fetchImage(site.weir, 'team/app', 'v1');
    expect(copied.manifests).toEqual(pushed.image.manifests);
    expect(copied.blobs).toEqual(pushed.image.blobs);
  });
});

/** Somebody who is logged in to Weir, with a home of their own. */
async function logIn({ weir, workspace }: Site): Promise<Command> {
  const command = { environment: { ...workspace.environment, HOME: workspace.makeDirectory('home') } };
  const login = [program, 'login', weir.host, '-u', weir.username, '--ca', weir.caFile, '--password-stdin'];
  await run(process.execPath, login, { ...command, input: weir.password });
  return command;
}

function parseSubject({ image, digest }: Pushed): string {
  return parseManifest(image.manifests.get(digest)!).subject!.digest;
}
