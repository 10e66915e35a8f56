import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Login } from './support/api-token.js';
import { run, runRefused, tryRun, type Command } from './support/command.js';
import { contentOf, mediaTypes, parseManifest } from './support/image.js';
import { readLayout } from './support/oci-layout.js';
import { describeWithPrograms, installedProgram } from './support/suite.js';
import { makeCertificate } from './support/upstreams/certificate.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { RegistrySession } from './support/upstreams/registry-session.js';
import { seedStorage, type SeededStorage } from './support/upstreams/seed-storage.js';
import { deleteManifest, pushImage, pushReferrer, type Pushed } from './support/upstreams/seed.js';
import { TokenServer } from './support/upstreams/token-server.js';
import { makeWorkspace, type Workspace } from './support/workspace.js';

// The registries that the tests of imports and of pull-through take images from: that they are what they seem to be.

const alice: Login = { username: 'alice', password: 'the password of alice' };
const publisher: Login = { username: 'publisher', password: 'the password of publisher' };
const wrong: Login = { ...alice, password: 'wrong' };

describeWithPrograms('distribution that asks nobody', ['registry', 'crane'], () => {
  const workspace = makeWorkspace();
  let registry: RealRegistry;
  let index: Pushed;
  const crane = (...args: readonly string[]) => run(installedProgram('crane'), args, commandOf(workspace, registry));

  beforeAll(async () => {
    registry = await startRealRegistry({ kind: 'distribution', folder: workspace.makeDirectory('registry') });
    index = await pushImage(registry, 'team/app', 'v1', { layers: 2, platforms: ['amd64', 'arm64'] });
  });
  afterAll(async () => {
    await registry.stop();
    await workspace.remove();
  });

  test('gives an index, its images and their layers as they were pushed', async () => {
    const name = `${registry.host}/team/app`;
    expect(await crane('digest', `${name}:v1`)).toBe(`${index.digest}\n`);
    expect(await crane('digest', '--platform', 'linux/arm64', `${name}:v1`)).toBe(`${index.platforms['arm64']!}\n`);
    await crane('validate', '--remote', `${name}:v1`);
    for (const [digest, bytes] of index.image.manifests) {
      expect(await crane('manifest', `${name}@${digest}`)).toBe(bytes.toString('utf8'));
    }
    await crane('pull', '--format', 'oci', `${name}@${index.digest}`, workspace.path('pulled'));
    expect(contentOf(await readLayout(workspace.path('pulled')))).toEqual(contentOf(index.image));
  });

  test('makes the same bytes of the same names, and others of others', async () => {
    const again = await pushImage(registry, 'team/app', 'v1', { layers: 2, platforms: ['amd64', 'arm64'] });
    const other = await pushImage(registry, 'team/app', 'v2', { layers: 2, platforms: ['amd64', 'arm64'] });
    expect(again.digest).toBe(index.digest);
    expect([...other.image.blobs.keys()].filter((digest) => index.image.blobs.has(digest))).toEqual([]);
  });

  test.each([
    { name: 'an image', platforms: undefined, mediaType: mediaTypes.dockerManifest },
    { name: 'a list', platforms: ['amd64', 's390x'], mediaType: mediaTypes.dockerIndex },
  ])('gives $name of Docker schema 2', async ({ platforms, mediaType }) => {
    const options = { format: 'docker', ...(platforms && { platforms }) } as const;
    const pushed = await pushImage(registry, 'team/docker', mediaType.includes('list') ? 'list' : 'image', options);
    const name = `${registry.host}/team/docker@${pushed.digest}`;
    expect(parseManifest(Buffer.from(await crane('manifest', name))).mediaType).toBe(mediaType);
    await crane('validate', '--remote', name);
  });

  test('has referrers under the tag for them', async () => {
    const subject = await pushImage(registry, 'team/signed', 'v1');
    const first = await pushReferrer(registry, subject, { artifactType: 'application/x-signature', content: 'one' });
    const second = await pushReferrer(registry, subject, { artifactType: 'application/x-sbom', content: 'two' });
    const tag = subject.digest.replace(':', '-');
    const listed = parseManifest(Buffer.from(await crane('manifest', `${registry.host}/team/signed:${tag}`))).manifests;
    expect(listed?.map(({ digest, artifactType }) => [digest, artifactType])).toEqual([
      [first.digest, 'application/x-signature'],
      [second.digest, 'application/x-sbom'],
    ]);
    const manifest = await crane('manifest', `${registry.host}/team/signed@${first.digest}`);
    expect(parseManifest(Buffer.from(manifest)).subject?.digest).toBe(subject.digest);
  });

  test('no longer has what was deleted', async () => {
    const { digest } = await pushImage(registry, 'team/gone', 'v1');
    await deleteManifest(registry, 'team/gone', digest);
    const args = ['manifest', `${registry.host}/team/gone:v1`];
    const refusal = await runRefused(installedProgram('crane'), args, commandOf(workspace, registry));
    expect(refusal).toContain('MANIFEST_UNKNOWN');
  });

  test('serves again, on the same port, what it has', async () => {
    const { port } = registry;
    await registry.stop();
    const gone = await tryRun(installedProgram('crane'), ['catalog', registry.host], commandOf(workspace, registry));
    expect(gone.stderr).toContain('connection refused');
    registry = await startRealRegistry({ kind: 'distribution', folder: workspace.path('registry'), port });
    expect(registry.port).toBe(port);
    expect(await crane('digest', `${registry.host}/team/app:v1`)).toBe(`${index.digest}\n`);
    expect(registry.log()).toContain('/v2/team/app/manifests/v1');
  });
});

describeWithPrograms('storage that was written and not pushed', ['registry', 'docker-registry', 'crane'], () => {
  const workspace = makeWorkspace();
  const count = 5000;
  let seeded: SeededStorage;
  const folder = workspace.makeDirectory('registry');

  beforeAll(async () => {
    seeded = await seedStorage(path.join(folder, 'data'), { repositories: 1, tagsPerRepository: count });
    await seedStorage(path.join(folder, 'data'), { repositories: 250, tagsPerRepository: 1, prefix: 'many/app-' });
  });
  afterAll(() => workspace.remove());

  describe.each(['distribution', 'docker-registry'] as const)('of %s', (kind) => {
    let registry: RealRegistry;
    const crane = (...args: readonly string[]) => run(installedProgram('crane'), args, commandOf(workspace, registry));

    beforeAll(async () => {
      registry = await startRealRegistry({ kind, folder });
    });
    afterAll(() => registry.stop());

    test('has all tags and repositories', async () => {
      const tags = [...seeded.get('seeded/app-0001')!.keys()];
      expect(tags).toHaveLength(count);
      // Version 2 knows no pages and no order.
      expect(linesOf(await crane('ls', `${registry.host}/seeded/app-0001`)).sort()).toEqual(tags);
      const repositories = linesOf(await crane('catalog', registry.host));
      expect(repositories).toHaveLength(251);
      expect(repositories).toContain('many/app-0250');
    });

    test('has whole images under its tags', async () => {
      const digests = seeded.get('seeded/app-0001')!;
      expect(new Set(digests.values()).size).toBe(100);
      for (const tag of ['v00001', 'v02500', 'v05000']) {
        const name = `${registry.host}/seeded/app-0001:${tag}`;
        expect(await crane('digest', name)).toBe(`${digests.get(tag)!}\n`);
        await crane('validate', '--remote', name);
      }
    });

    test('takes more images beside those', async () => {
      const pushed = await pushImage(registry, 'seeded/app-0001', 'latest');
      expect(await crane('digest', `${registry.host}/seeded/app-0001:latest`)).toBe(`${pushed.digest}\n`);
      await deleteManifest(registry, 'seeded/app-0001', pushed.digest);
    });
  });

  test('comes page by page from distribution, as long as there are more', async () => {
    const registry = await startRealRegistry({ kind: 'distribution', folder });
    const session = new RegistrySession(registry);
    try {
      const answer = await session.call('/v2/seeded/app-0001/tags/list?n=1000', '');
      expect((JSON.parse(answer.body.toString('utf8')) as { tags: string[] }).tags).toHaveLength(1000);
      expect(answer.headers['link']).toMatch(/last=v01000.*rel="next"/);
    } finally {
      await session.close();
      await registry.stop();
    }
  });
});

describeWithPrograms('distribution with a token server', ['registry', 'docker-registry', 'crane', 'skopeo'], () => {
  describe.each(['distribution', 'docker-registry'] as const)('%s over TLS', (kind) => {
    const workspace = makeWorkspace();
    let tokens: TokenServer;
    let registry: RealRegistry;
    let privateApp: Pushed;
    let publicApp: Pushed;
    const crane = (as: Login | undefined, ...args: readonly string[]) =>
      run(installedProgram('crane'), args, commandOf(workspace, registry, as));
    const craneRefused = (as: Login | undefined, ...args: readonly string[]) =>
      runRefused(installedProgram('crane'), args, commandOf(workspace, registry, as));

    beforeAll(async () => {
      const tls = await makeCertificate(workspace.makeDirectory('tls'));
      tokens = await TokenServer.start({
        folder: workspace.makeDirectory('tokens'),
        tls,
        users: [
          { ...alice, pull: ['team/*'] },
          { ...publisher, push: ['*'], catalog: true },
        ],
        publicRepositories: ['public/app'],
      });
      const auth = { kind: 'token', server: tokens } as const;
      registry = await startRealRegistry({ kind, folder: workspace.makeDirectory('registry'), tls, auth });
      privateApp = await pushImage(registry, 'team/app', 'v1', { as: publisher });
      publicApp = await pushImage(registry, 'public/app', 'v1', { as: publisher, platforms: ['amd64', 'arm64'] });
    });
    beforeEach(() => tokens.requests.splice(0));
    afterAll(async () => {
      await registry.stop();
      await tokens.stop();
      await workspace.remove();
    });

    test('gives what is public to the anonymous', async () => {
      await crane(undefined, 'validate', '--remote', `${registry.host}/public/app:v1`);
      expect(await crane(undefined, 'digest', `${registry.host}/public/app:v1`)).toBe(`${publicApp.digest}\n`);
      expect(tokens.requests.length).toBeGreaterThan(0);
      for (const asked of tokens.requests) {
        expect(asked).toMatchObject({ shown: undefined, status: 200, scopes: ['repository:public/app:pull'] });
        expect(asked.granted).toEqual([{ type: 'repository', name: 'public/app', actions: ['pull'] }]);
      }
    });

    test('gives what is private to those who may pull it', async () => {
      expect(await crane(alice, 'digest', `${registry.host}/team/app:v1`)).toBe(`${privateApp.digest}\n`);
      expect(tokens.requests).toMatchObject([
        { method: 'GET', shown: { by: 'basic', username: 'alice' }, status: 200 },
      ]);

      const options = ['--authfile', path.join(credentialsOf(workspace, registry, alice), 'config.json')];
      const name = `docker://${registry.host}/team/app:v1`;
      const trusted = ['--cert-dir', path.dirname(registry.caFile!)];
      const raw = await run(installedProgram('skopeo'), ['inspect', '--raw', ...options, ...trusted, name], {
        environment: workspace.environment,
      });
      expect(raw).toBe(privateApp.image.manifests.get(privateApp.digest)!.toString('utf8'));
    });

    test.each([
      { name: 'without a credential', as: undefined, repository: 'team/app', status: 200 },
      { name: 'with a wrong password', as: wrong, repository: 'team/app', status: 401 },
      { name: 'for which the right is missing', as: alice, repository: 'other/app', status: 200 },
    ])('refuses a pull $name', async ({ as, repository, status }) => {
      expect(await craneRefused(as, 'manifest', `${registry.host}/${repository}:v1`)).toContain('UNAUTHORIZED');
      expect(tokens.requests.length).toBeGreaterThan(0);
      for (const asked of tokens.requests) {
        expect(asked).toMatchObject({ status, granted: [] });
        expect(asked.shown?.username).toBe(as?.username);
      }
    });

    test('tells the list of repositories to those who may know it', async () => {
      expect(linesOf(await crane(publisher, 'catalog', registry.host)).sort()).toEqual(['public/app', 'team/app']);
      expect(await craneRefused(alice, 'catalog', registry.host)).toContain('UNAUTHORIZED');
    });

    test('takes tokens that were had by POST, and by a refresh token', async () => {
      const session = new RegistrySession({ url: tokens.realm, caCertificate: registry.caCertificate });
      const post = async (form: Record<string, string>, expected: number) => {
        const parameters = { service: tokens.service, scope: 'repository:team/app:pull', client_id: 'tests', ...form };
        const { body } = await session.call(tokens.realm, '', {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: Buffer.from(new URLSearchParams(parameters).toString()),
          expected: [expected],
        });
        return JSON.parse(body.toString('utf8')) as Record<string, string>;
      };
      const password = { grant_type: 'password', ...alice, access_type: 'offline' };
      const first = await post(password, 200);
      const second = await post({ grant_type: 'refresh_token', refresh_token: first['refresh_token']! }, 200);
      await post({ ...password, password: 'wrong' }, 401);
      for (const { access_token } of [first, second]) {
        const headers = { authorization: `Bearer ${access_token!}`, accept: mediaTypes.manifest };
        const answer = await new RegistrySession(registry).call('/v2/team/app/manifests/v1', '', { headers });
        expect(answer.headers['docker-content-digest']).toBe(privateApp.digest);
      }
      await session.close();
      expect(tokens.requests.map(({ method, shown }) => [method, shown?.by, shown?.username])).toEqual([
        ['POST', 'password', 'alice'],
        ['POST', 'refresh_token', 'alice'],
        ['POST', 'password', 'alice'],
      ]);
    });

    test('is trusted by nobody who does not know its authority', async () => {
      const { environment } = commandOf(workspace, registry);
      const args = ['manifest', `${registry.host}/public/app:v1`];
      const refusal = await runRefused(installedProgram('crane'), args, {
        environment: { ...environment, SSL_CERT_FILE: '/nonexistent' },
      });
      expect(refusal).toMatch(/certificate signed by unknown authority/);
    });
  });
});

describeWithPrograms('docker-registry with passwords over TLS', ['docker-registry', 'skopeo', 'crane'], () => {
  const workspace = makeWorkspace();
  let registry: RealRegistry;
  let index: Pushed;
  const skopeo = (as: Login | undefined, ...args: readonly string[]) =>
    tryRun(installedProgram('skopeo'), args, {
      environment: {
        ...workspace.environment,
        REGISTRY_AUTH_FILE: path.join(credentialsOf(workspace, registry, as), 'config.json'),
      },
    });

  beforeAll(async () => {
    const tls = await makeCertificate(workspace.makeDirectory('tls'));
    const auth = { kind: 'htpasswd', users: [alice, publisher] } as const;
    const folder = workspace.makeDirectory('registry');
    registry = await startRealRegistry({ kind: 'docker-registry', folder, tls, auth });
    index = await pushImage(registry, 'team/app', 'v1', { as: publisher, layers: 2, platforms: ['amd64', 'arm64'] });
    await pushImage(registry, 'team/app', 'v2', { as: publisher, format: 'docker' });
  });
  afterAll(async () => {
    await registry.stop();
    await workspace.remove();
  });

  test('gives an index with all its images to whoever has a password', async () => {
    const trusted = ['--src-cert-dir', path.dirname(registry.caFile!)];
    const layout = workspace.path('pulled');
    const name = `docker://${registry.host}/team/app:v1`;
    expect(await skopeo(alice, 'copy', '--all', ...trusted, name, `oci:${layout}:v1`)).toMatchObject({ exitCode: 0 });
    expect(contentOf(await readLayout(layout))).toEqual(contentOf(index.image));
  });

  test.each([
    { name: 'without a credential', as: undefined },
    { name: 'with a wrong password', as: wrong },
  ])('refuses $name', async ({ as }) => {
    const name = `docker://${registry.host}/team/app:v1`;
    const outcome = await skopeo(as, 'inspect', '--raw', '--cert-dir', path.dirname(registry.caFile!), name);
    expect(outcome.exitCode).not.toBe(0);
    expect(outcome.stderr).toMatch(/authentication required|unauthorized/i);
  });

  test('lists tags and repositories', async () => {
    const command = commandOf(workspace, registry, alice);
    const name = `${registry.host}/team/app`;
    expect(linesOf(await run(installedProgram('crane'), ['ls', name], command))).toEqual(['v1', 'v2']);
    expect(await run(installedProgram('crane'), ['catalog', registry.host], command)).toBe('team/app\n');
  });
});

/** A directory with Docker's configuration file: the credential of one user for one registry, or none. */
function credentialsOf(workspace: Workspace, { host }: RealRegistry, as: Login | undefined): string {
  const auth = as && Buffer.from(`${as.username}:${as.password}`).toString('base64');
  const content = JSON.stringify({ auths: auth === undefined ? {} : { [host]: { auth } } });
  const name = Buffer.from(as === undefined ? 'nobody' : `${as.username}:${as.password}`).toString('hex');
  return path.dirname(workspace.writeFile(`credentials/${name}/config.json`, content));
}

/** For clients written in Go: the only authority they trust is that of the registry. */
function commandOf(workspace: Workspace, registry: RealRegistry, as?: Login): Command {
  const trust = registry.caFile === undefined ? {} : { SSL_CERT_FILE: registry.caFile, SSL_CERT_DIR: '/nonexistent' };
  const credentials = { DOCKER_CONFIG: credentialsOf(workspace, registry, as) };
  return { environment: { ...workspace.environment, ...trust, ...credentials } };
}

function linesOf(text: string): string[] {
  return text.split('\n').filter(Boolean);
}
