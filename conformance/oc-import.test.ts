import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Login } from './support/api-token.js';
import { fetchManifest } from './support/registry-api.js';
import { findProgram } from '../scripts/tools.mjs';
import { siteWithWeir, skipLoudly } from './support/suite.js';
import { openTerminal, type Terminal } from './support/terminal.js';
import { makeCertificate } from './support/upstreams/certificate.js';
import { startRealRegistry, type RealRegistry } from './support/upstreams/real-registry.js';
import { pushImage, type Pushed, type PushOptions } from './support/upstreams/seed.js';
import { addUser } from './support/users.js';
import { makeWorkspace } from './support/workspace.js';

// As in oc.test.ts: there is no package of oc to install, so `npm test` leaves this file out where none is named.
const oc = process.env['WEIR_TEST_OC'];

if (oc === undefined || oc === '') skipLoudly('oc with imports', 'WEIR_TEST_OC names no oc');
else if (findProgram('registry') === undefined) skipLoudly('oc with imports', 'not installed: registry');
else {
  describe('oc with imports', () => {
    suite(oc);
  });
}

/** What the tests read of image.openshift.io/v1 ImageStream. */
interface Stream {
  readonly metadata: { readonly resourceVersion: string; readonly generation: number };
  readonly spec: {
    readonly tags?: readonly {
      readonly name: string;
      readonly from: { readonly name: string };
      readonly importPolicy: object;
      readonly referencePolicy: object;
    }[];
  };
  readonly status: {
    readonly tags?: readonly {
      readonly tag: string;
      readonly items: readonly { readonly image: string }[] | null;
      readonly conditions?: readonly { readonly reason: string }[];
    }[];
  };
}

function suite(program: string): void {
  const reader: Login = { username: 'reader', password: 'the password of reader' };
  const outside = makeWorkspace();
  const settings: Record<string, string> = {};
  let secure: RealRegistry;
  /** It speaks HTTP only. */
  let plain: RealRegistry;
  // Before Weir starts, which is told of them.
  beforeAll(async () => {
    secure = await startRealRegistry({
      kind: 'distribution',
      folder: outside.makeDirectory('secure'),
      tls: await makeCertificate(outside.makeDirectory('tls')),
      auth: { kind: 'htpasswd', users: [reader] },
    });
    plain = await startRealRegistry({ kind: 'distribution', folder: outside.makeDirectory('plain') });
    Object.assign(settings, {
      WEIR_IMPORTS_AUTOMATIC: 'true',
      WEIR_IMPORTS_INTERVAL_SECONDS: '1',
      WEIR_IMPORTS_MIN_INTERVAL_SECONDS: '1',
      WEIR_IMPORTS_MAX_TAGS_PER_REPOSITORY: '2',
      WEIR_UPSTREAMS_ALLOW_PRIVATE: `${secure.host},${plain.host}`,
      WEIR_UPSTREAMS_REGISTRIES: JSON.stringify([{ registry: secure.host, caFile: secure.caFile }]),
    });
  });
  afterAll(async () => {
    await secure.stop();
    await plain.stop();
    await outside.remove();
  });
  const site = siteWithWeir({ settings });
  let dev: Terminal;

  const push = (repository: string, tag: string, options: PushOptions = {}): Promise<Pushed> =>
    pushImage(secure, repository, tag, { as: reader, ...options });
  const at = (name: string): string => `${secure.host}/${name}`;
  const read = async (name: string): Promise<Stream> =>
    JSON.parse(await dev.run('get', 'is', name, '-o', 'json')) as Stream;
  const imagesOf = async (name: string, tag: string): Promise<readonly string[]> => {
    const { status } = await read(name);
    return status.tags?.find((each) => each.tag === tag)?.items?.map(({ image }) => image) ?? [];
  };
  const wanted = async (name: string, tag: string) => (await read(name)).spec.tags?.find((each) => each.name === tag);

  beforeAll(async () => {
    dev = openTerminal(site, program, 'dev');
    const { username, password } = await addUser(site, 'dev');
    const login = ['--certificate-authority', site.weir.caFile, '-u', username, '-p', password];
    await dev.run('login', site.weir.url, ...login);
    await dev.run('new-project', 'demo', '--skip-config-write');
    await dev.run('project', 'demo');
    await dev.run(
      ...['create', 'secret', 'docker-registry', 'upstream', `--docker-server=${secure.host}`],
      ...[`--docker-username=${reader.username}`, `--docker-password=${reader.password}`],
    );
  });

  describe('import-image', () => {
    test('makes a stream when it may, and describes it', async () => {
      const { digest } = await push('team/app', 'latest');
      expect(await dev.refused('import-image', 'app', `--from=${at('team/app')}`)).toContain(
        'no image stream named "app" exists, pass --confirm to create and import',
      );
      const said = await dev.run('import-image', 'app', `--from=${at('team/app')}`, '--confirm');
      expect(said).toMatch(/^imagestream\.image\.openshift\.io\/app imported$/m);
      expect(said).toMatch(/^Unique Images:\s+1$/m);
      expect(said).toContain(`tagged from ${at('team/app')}`);
      expect(said).toContain(`* ${at('team/app')}@${digest}`);
      expect(await imagesOf('app', 'latest')).toEqual([digest]);
      expect((await fetchManifest(site.weir, 'demo/app', 'latest')).digest).toBe(digest);
    });

    test('looks again at what is there, and changes nothing when that stayed', async () => {
      await push('team/again', 'v1');
      await dev.run('import-image', 'again:v1', `--from=${at('team/again:v1')}`, '--confirm');
      const before = await read('again');
      await dev.run('import-image', 'again:v1');
      expect(await read('again')).toEqual(before);
      const { digest } = await push('team/again', 'v1', { layers: 2 });
      await dev.run('import-image', 'again:v1');
      expect((await imagesOf('again', 'v1'))[0]).toBe(digest);
      expect(await dev.refused('import-image', 'again:none')).toContain(
        'the tag "none" does not exist on the image stream',
      );
      expect(await dev.refused('import-image', 'again:v1', `--from=${at('team/app')}`)).toContain(
        `the tag "v1" points to "${at('team/again:v1')}" - use the 'tag' command if you want to change the source`,
      );
    });

    test('with all of its flags', async () => {
      const { digest, platforms } = await push('team/flags', 'v9', { platforms: ['amd64', 'arm64'] });
      const flags = ['--scheduled', '--reference-policy=local', '--import-mode=PreserveOriginal'];
      const said = await dev.run(
        ...['import-image', 'flags:v9', `--from=${at('team/flags:v9')}`, '--confirm', ...flags],
      );
      expect(said).toContain('prefer registry pullthrough when referencing this tag');
      expect(await imagesOf('flags', 'v9')).toEqual([digest]);
      expect(await wanted('flags', 'v9')).toMatchObject({
        importPolicy: { scheduled: true, importMode: 'PreserveOriginal' },
        referencePolicy: { type: 'Local' },
      });
      // Again: on its schedule still, but one image of the index.
      await dev.run('import-image', 'flags:v9');
      expect((await imagesOf('flags', 'v9'))[0]).toBe(platforms[process.arch === 'arm64' ? 'arm64' : 'amd64']);
      expect(await wanted('flags', 'v9')).toMatchObject({
        importPolicy: { scheduled: true, importMode: 'Legacy' },
        referencePolicy: { type: 'Local' },
      });
    });

    test('from a registry without a certificate, when that is said', async () => {
      const { digest } = await pushImage(plain, 'team/app', 'v1');
      const from = `--from=${plain.host}/team/app:v1`;
      const refused = await dev.tried('import-image', 'plain:v1', from, '--confirm');
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain('is HTTP only and requires the insecure flag to import');
      await dev.run('import-image', 'plain:v1', '--insecure');
      expect(await imagesOf('plain', 'v1')).toEqual([digest]);
      // It stays said.
      await dev.run('import-image', 'plain:v1');
    });

    test('all tags of a repository, as many as may be', async () => {
      for (const tag of ['1.0', '1.1', '1.2']) await push('team/whole', tag);
      const said = await dev.run('import-image', 'whole', '--all', `--from=${at('team/whole')}`, '--confirm');
      expect(said).toMatch(/1\.0/);
      const { status } = await read('whole');
      expect(status.tags?.map(({ tag }) => tag).sort()).toEqual(['1.1', '1.2']);
      await dev.run('import-image', 'whole', '--all');
    });

    test('only to look', async () => {
      const { digest } = await push('team/look', 'v1');
      const said = await dev.run('import-image', 'look:v1', `--from=${at('team/look:v1')}`, '--confirm', '--dry-run');
      expect(said).toContain(digest);
      expect(await dev.refused('get', 'is', 'look')).toContain('NotFound');
    });

    test('of what is not there says so, and ends as failed', async () => {
      const { exitCode, stderr, stdout } = await dev.tried(
        ...['import-image', 'bad:v1', `--from=${at('team/nothing:v1')}`, '--confirm'],
      );
      expect(exitCode).toBe(1);
      expect(stderr).toContain(
        `error: tag v1 failed: dockerimage.image.openshift.io "${at('team/nothing:v1')}" not found`,
      );
      expect(stdout + stderr).toMatch(/imported( completed)? with errors/);
      expect(await dev.run('describe', 'is', 'bad')).toMatch(/! error: Import failed \(NotFound\): /);
      expect(await dev.run('get', 'itag', 'bad:v1')).toMatch(/ImportFailed \(NotFound\)|NotFound/);
    });
  });

  describe('tag', () => {
    const until = async (stream: string, tag: string, digest: string): Promise<void> => {
      await expect.poll(async () => (await imagesOf(stream, tag))[0], { timeout: 60_000, interval: 500 }).toBe(digest);
    };

    test('--source=docker imports at once', async () => {
      const { digest } = await push('team/tagged', 'v1');
      await dev.run('tag', '--source=docker', at('team/tagged:v1'), 'tagged:v1');
      await until('tagged', 'v1', digest);
      expect((await fetchManifest(site.weir, 'demo/tagged', 'v1')).digest).toBe(digest);
    });

    test('--scheduled follows', async () => {
      const { digest: first } = await push('team/moving', 'v1');
      await dev.run('tag', '--source=docker', '--scheduled', at('team/moving:v1'), 'moving:v1');
      await until('moving', 'v1', first);
      const { digest: second } = await push('team/moving', 'v1', { layers: 2 });
      await until('moving', 'v1', second);
      expect(await imagesOf('moving', 'v1')).toEqual([second, first]);
      expect(await dev.run('describe', 'is', 'moving')).toContain(
        `updates automatically from registry ${at('team/moving:v1')}`,
      );
    });

    test('--reference-policy=local is pulled from here', async () => {
      const { digest } = await push('team/local', 'v1');
      await dev.run('tag', '--source=docker', '--reference-policy=local', at('team/local:v1'), 'local:v1');
      await until('local', 'v1', digest);
      expect(await dev.run('describe', 'is', 'local')).toContain(
        'prefer registry pullthrough when referencing this tag',
      );
      expect(await dev.run('get', 'istag', 'local:v1')).toContain(`${site.weir.host}/demo/local@${digest}`);
    });

    test('of a tag that was imported points at the same image', async () => {
      const { digest } = await push('team/source', 'v1');
      await dev.run('import-image', 'source:v1', `--from=${at('team/source:v1')}`, '--confirm');
      await dev.run('tag', 'source:v1', 'source:prod');
      expect(await imagesOf('source', 'prod')).toEqual([digest]);
      expect((await fetchManifest(site.weir, 'demo/source', 'prod')).digest).toBe(digest);
    });
  });
}
