import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Login } from './support/api-token.js';
import { follow } from './support/follow.js';
import { buildImage, buildIndex, mediaTypes, randomFiles, type Image } from './support/image.js';
import { fetchImage, fetchManifest, fetchTags, pushImage } from './support/registry-api.js';
import { siteWithWeir, skipLoudly } from './support/suite.js';
import { tar } from './support/tar.js';
import { openTerminal, type Terminal } from './support/terminal.js';
import { addUser } from './support/users.js';

// As in oc.test.ts: there is no package of oc to install, so `npm test` leaves this file out where none is named.
const oc = process.env['WEIR_TEST_OC'];

if (oc === undefined || oc === '') skipLoudly('oc with image streams', 'WEIR_TEST_OC names no oc');
else {
  describe('oc with image streams', () => {
    suite(oc);
  });
}

/** A registry that nobody can reach: whatever is to come from there stays pending. */
const elsewhere = 'registry.invalid/team/app:v1';

function suite(program: string): void {
  const site = siteWithWeir();
  const files = randomFiles(2, 20_000);
  const first = buildImage(files);
  const second = buildImage(randomFiles(2, 20_000));
  const firstDigest = first.descriptor.digest;
  const secondDigest = second.descriptor.digest;
  let admin: Terminal;
  let dev: Terminal;

  const push = (repository: string, tag: string, image: Image): Promise<void> =>
    pushImage(site.weir, repository, tag, image);
  const logIn = (terminal: Terminal, { username, password }: Login): Promise<string> =>
    terminal.run('login', site.weir.url, '--certificate-authority', site.weir.caFile, '-u', username, '-p', password);
  const read = async (...args: readonly string[]): Promise<unknown> =>
    JSON.parse(await dev.run('get', ...args, '-o', 'json')) as unknown;
  const pullSpec = (repository: string, digest: string): string => `${site.weir.host}/${repository}@${digest}`;

  beforeAll(async () => {
    admin = openTerminal(site, program, 'admin');
    dev = openTerminal(site, program, 'dev');
    await logIn(admin, site.weir);
    await logIn(dev, await addUser(site, 'dev'));
    await addUser(site, 'bob');
    for (const project of ['demo', 'other']) await dev.run('new-project', project, '--skip-config-write');
    await dev.run('project', 'demo');
    await push('demo/app', 'v1', first);
    await push('demo/app', 'v2', second);
  });

  describe('reads', () => {
    test('streams, their tags and their images in the columns that people know', async () => {
      const ago = '(Less than a second|1 second|\\d+ seconds) ago';
      expect(await dev.run('get', 'is')).toMatch(
        new RegExp(`^NAME +IMAGE REPOSITORY +TAGS +UPDATED\napp +${site.weir.host}/demo/app +(v1,v2|v2,v1) +${ago}\n$`),
      );
      expect(await admin.run('get', 'is', '-A')).toMatch(
        /^NAMESPACE +NAME +IMAGE REPOSITORY +TAGS +UPDATED\ndemo +app /,
      );
      expect(await dev.run('get', 'istag', '-o', 'wide')).toMatch(
        new RegExp(
          `^NAME +IMAGE REFERENCE +UPDATED +IMAGE NAME\napp:v1 +${pullSpec('demo/app', firstDigest)} +${ago} +${firstDigest}\n`,
        ),
      );
      expect(await dev.run('get', 'itag')).toMatch(
        new RegExp(
          `^NAME +SPEC +STATUS +HISTORY +UPDATED\napp:v1 +Push +image/${firstDigest} +1 +${ago}\napp:v2 +Push .*\n$`,
        ),
      );
      expect(await dev.run('get', 'is/app', 'istag/app:v1', '-o', 'name')).toBe(
        'imagestream.image.openshift.io/app\nimagestreamtag.image.openshift.io/app:v1\n',
      );
      expect(await dev.run('get', 'all', '-o', 'name')).toBe('imagestream.image.openshift.io/app\n');
      const short = firstDigest.slice(0, 20);
      expect(await dev.run('get', 'isimage', `app@${short}`)).toMatch(
        new RegExp(`^NAME +UPDATED\napp@${short} +${ago}\n$`),
      );
      expect(await admin.run('get', 'images')).toContain(`${firstDigest}   ${pullSpec('demo/app', firstDigest)}\n`);
    });

    test('what a stream is, tag by tag', async () => {
      const description = await dev.run('describe', 'is', 'app');
      expect(description).toMatch(new RegExp(`^Image Repository:\\s+${site.weir.host}/demo/app$`, 'm'));
      expect(description).toMatch(/^Unique Images:\s+2\nTags:\s+2$/m);
      expect(description).toContain(`\n\nv1\n  no spec tag\n\n  * ${pullSpec('demo/app', firstDigest)}\n`);
    });

    test.each(['istag/app:v1', `isimage/app@${firstDigest.slice(0, 20)}`])(
      'what the image of %s is',
      async (object) => {
        const description = await dev.run('describe', object);
        expect(description).toMatch(new RegExp(`^Name:\\s+${firstDigest}$`, 'm'));
        expect(description).toMatch(new RegExp(`^Docker Image:\\s+${pullSpec('demo/app', firstDigest)}$`, 'm'));
        expect(description).toMatch(/^Image Size:\s+\d+(\.\d+)?kB in 2 layers$/m);
        expect(description).toMatch(/^Arch:\s+amd64$/m);
        expect(description).toMatch(/^Command:\s+\/none$/m);
      },
    );

    test('what an image of the cluster is, to those who may see all of them', async () => {
      expect(await admin.run('describe', 'image', firstDigest)).toMatch(new RegExp(`^Name:\\s+${firstDigest}$`, 'm'));
      expect(await dev.refused('describe', 'image', firstDigest)).toContain(
        'User "dev" cannot get resource "images" in API group "image.openshift.io" at the cluster scope',
      );
    });

    test('what the images of an index are', async () => {
      const child = buildImage(randomFiles(1, 1000), 'arm64');
      const index = buildIndex([buildImage(randomFiles(1, 1000)), child]);
      await push('demo/multi', 'v1', index);
      const description = await dev.run('describe', 'istag', 'multi:v1');
      expect(description).toMatch(new RegExp(`^Name:\\s+${index.descriptor.digest}$`, 'm'));
      expect(description).toMatch(new RegExp(`linux/arm64\\s+${child.descriptor.digest}$`, 'm'));
      const ofChild = await dev.run('describe', 'isimage', `multi@${child.descriptor.digest}`);
      expect(ofChild).toMatch(/^Arch:\s+arm64$/m);
    });

    test('nothing that the API does not have, and says so', async () => {
      expect(await dev.refused('get', 'isimage')).toContain('Error from server (MethodNotAllowed)');
      expect(await dev.refused('get', 'istag', '-w')).toContain('Error from server (MethodNotAllowed)');
      expect(await dev.refused('get', 'is', 'none')).toBe(
        'Error from server (NotFound): imagestreams.image.openshift.io "none" not found\n',
      );
      expect(await dev.refused('get', 'istag', 'app:none')).toBe(
        'Error from server (NotFound): imagestreamtags.image.openshift.io "app:none" not found\n',
      );
      expect(await dev.refused('get', 'istag', 'app')).toContain('must be retrieved with <name>:<tag>');
      expect(await dev.refused('describe', 'is', 'none')).toContain('imagestreams.image.openshift.io "none" not found');
    });

    test('each change of a stream as it happens', async () => {
      await dev.run('create', 'is', 'watched');
      const watch = follow(program, ['get', 'is', '-w'], dev.command);
      try {
        await watch.waitFor(/^watched /m);
        await push('demo/watched', 'v1', first);
        await watch.waitFor(/^watched +\S+ +v1 /m);
        await dev.run('tag', 'watched:v1', 'watched:prod');
        await watch.waitFor(/^watched +\S+ +(prod,v1|v1,prod) /m);
        await dev.run('tag', '-d', 'watched:v1');
        await watch.waitFor(/^watched +\S+ +prod /m);
      } finally {
        await watch.stop();
      }
    });
  });

  describe('tag', () => {
    const image = (digest: string, more: object = {}): object => ({
      kind: 'ImageStreamImage',
      name: `app@${digest}`,
      ...more,
    });
    const registry = (name: string): object => ({ kind: 'DockerImage', name });
    const policies = { importPolicy: { importMode: 'Legacy' }, referencePolicy: { type: 'Source' } };

    test.each([
      {
        name: 'from a tag',
        args: ['app:v1'],
        says: `set to app@${firstDigest}`,
        spec: { from: image(firstDigest), ...policies },
        status: `image/${firstDigest}`,
      },
      {
        name: 'from a tag of which the project is said',
        args: ['demo/app:v1'],
        says: `set to demo/app@${firstDigest}`,
        spec: { from: image(firstDigest, { namespace: 'demo' }), ...policies },
        status: `image/${firstDigest}`,
      },
      {
        name: 'from an image',
        args: [`app@${secondDigest}`],
        says: `set to app@${secondDigest}`,
        spec: { from: image(secondDigest), ...policies },
        status: `image/${secondDigest}`,
      },
      {
        name: 'that follows another',
        args: ['--alias', 'app:v1'],
        says: 'set up to track app:v1',
        spec: { from: { kind: 'ImageStreamTag', name: 'app:v1' }, ...policies },
        status: `image/${firstDigest}`,
      },
      {
        name: 'from another registry',
        args: [elsewhere],
        says: `set to ${elsewhere}`,
        spec: { from: registry(elsewhere), ...policies },
        status: elsewhere,
      },
      {
        name: 'from a name without a registry',
        args: ['busybox'],
        says: 'set to busybox',
        spec: { from: registry('busybox'), ...policies },
        status: 'busybox',
      },
      {
        name: 'from what is said to be of another registry',
        args: ['--source=docker', 'busybox:latest'],
        says: 'set to busybox:latest',
        spec: { from: registry('busybox:latest'), ...policies },
        status: 'busybox:latest',
      },
      {
        name: 'that only refers to another registry',
        args: ['--reference', elsewhere],
        says: `set to ${elsewhere}`,
        spec: { from: registry(elsewhere), reference: true, ...policies },
        status: elsewhere,
      },
      {
        name: 'that is to be imported again and again',
        args: ['--scheduled', elsewhere],
        says: `set to import ${elsewhere} periodically`,
        spec: { from: registry(elsewhere), ...policies, importPolicy: { importMode: 'Legacy', scheduled: true } },
        status: elsewhere,
      },
      {
        name: 'from a registry without a certificate',
        args: ['--insecure', elsewhere],
        says: `set to ${elsewhere}`,
        spec: { from: registry(elsewhere), ...policies, importPolicy: { importMode: 'Legacy', insecure: true } },
        status: elsewhere,
      },
      {
        name: 'for every platform',
        args: ['--import-mode=PreserveOriginal', elsewhere],
        says: `set to ${elsewhere}`,
        spec: { from: registry(elsewhere), ...policies, importPolicy: { importMode: 'PreserveOriginal' } },
        status: elsewhere,
      },
      {
        name: 'to be pulled from here',
        args: ['--reference-policy=local', elsewhere],
        says: `set to ${elsewhere}`,
        spec: { from: registry(elsewhere), ...policies, referencePolicy: { type: 'Local' } },
        status: elsewhere,
      },
    ])('$name', async ({ name, args, says, spec, status }) => {
      const tag = name.replaceAll(' ', '-');
      expect(await dev.run('tag', ...args, `app:${tag}`)).toBe(`Tag app:${tag} ${says}.\n`);
      const { spec: kept } = (await read('itag', `app:${tag}`)) as { readonly spec: Record<string, unknown> };
      expect(kept).toEqual({ name: tag, generation: expect.any(Number) as unknown, ...spec });
      const [, row] = (await dev.run('get', 'itag', `app:${tag}`)).split('\n');
      expect(row).toMatch(new RegExp(`^app:${tag} .* ${status.replaceAll('.', '\\.')}( |$)`));
    });

    test('several at once, also in another project, and makes the streams', async () => {
      expect(await dev.run('tag', 'app:v1', 'other/foo:x', 'made:t4', 'other/foo:y')).toBe(
        ['other/foo:x', 'made:t4', 'other/foo:y'].map((tag) => `Tag ${tag} set to app@${firstDigest}.\n`).join(''),
      );
      expect(await read('itag', 'foo:x', '-n', 'other')).toMatchObject({
        spec: { from: image(firstDigest, { namespace: 'demo' }) },
        status: { items: [{ image: firstDigest }] },
      });
      // Not a byte is copied, and all of it can be pulled.
      expect((await fetchImage(site.weir, 'other/foo', 'y')).blobs.size).toBe(3);
    });

    test('back to an image of its history', async () => {
      await push('demo/back', 'prod', first);
      await push('demo/back', 'prod', second);
      await dev.run('tag', `back@${firstDigest}`, 'back:prod');
      expect((await fetchManifest(site.weir, 'demo/back', 'prod')).digest).toBe(firstDigest);
      const { status } = (await read('is', 'back')) as {
        readonly status: { readonly tags: readonly { readonly items: readonly { readonly image: string }[] }[] };
      };
      expect(status.tags[0]!.items.map(({ image: digest }) => digest)).toEqual([
        firstDigest,
        secondDigest,
        firstDigest,
      ]);
      expect(await dev.run('describe', 'is', 'back')).toContain(`  * ${pullSpec('demo/back', firstDigest)}\n      `);
    });

    test('goes where the tag goes that it follows', async () => {
      await push('demo/alias', 'v1', first);
      await dev.run('tag', '--alias', 'alias:v1', 'alias:stable');
      await push('demo/alias', 'v1', second);
      expect((await fetchManifest(site.weir, 'demo/alias', 'stable')).digest).toBe(secondDigest);
      expect(await dev.refused('tag', '--alias', 'alias:v1', 'other/foo:a')).toContain(
        'cannot set alias across different Image Streams',
      );
    });

    test('is refused for what is not there, and for who may not', async () => {
      expect(await dev.refused('tag', 'app:none', 'app:x')).toContain(
        '"app:none" is not currently pointing to an image, cannot use it as the source of a tag',
      );
      expect(await dev.refused('tag', 'none:v1', 'app:x')).toContain(
        'imagestreams.image.openshift.io "none" not found',
      );
      expect(await dev.refused('tag', `app@sha256:${'0'.repeat(64)}`, 'app:x')).toContain('not found');
      const bob = openTerminal(site, program, 'bob');
      await logIn(bob, { username: 'bob', password: 'the password of bob' });
      await dev.run('policy', 'add-role-to-user', 'view', 'bob');
      await bob.run('project', 'demo');
      expect(await bob.refused('tag', 'app:v1', 'app:bob')).toMatch(
        /Forbidden.*User "bob" cannot \w+ resource "imagestream(tag)?s" in API group "image.openshift.io" in the namespace "demo"/,
      );
      expect(await fetchTags(site.weir, 'demo/app')).not.toContain('bob');
    });

    test('can be deleted, several at once', async () => {
      await dev.run('tag', 'app:v1', 'app:one', 'app:two');
      expect(await dev.run('tag', '-d', 'app:one', 'app:two')).toBe(
        'Deleted tag demo/app:one.\nDeleted tag demo/app:two.\n',
      );
      const tags = await fetchTags(site.weir, 'demo/app');
      expect(tags).toContain('v1');
      expect(tags.filter((tag) => ['one', 'two'].includes(tag))).toEqual([]);
      expect(await dev.refused('tag', '-d', 'app:one')).toContain(
        'imagestreamtags.image.openshift.io "app:one" not found',
      );
    });
  });

  describe('changes', () => {
    const stream = (...tags: readonly (readonly [name: string, from: string])[]): string =>
      JSON.stringify({
        apiVersion: 'image.openshift.io/v1',
        kind: 'ImageStream',
        metadata: { name: 'applied' },
        spec: { tags: tags.map(([name, from]) => ({ name, from: { kind: 'DockerImage', name: from } })) },
      });
    const sources = async (name: string): Promise<readonly (readonly [string, string])[]> => {
      const { spec } = (await read('is', name)) as {
        readonly spec: {
          readonly tags?: readonly { readonly name: string; readonly from: { readonly name: string } }[];
        };
      };
      return (spec.tags ?? []).map((tag) => [tag.name, tag.from.name]);
    };

    test('by apply, tag by tag, and leaves those of others alone', async () => {
      const apply = (file: string, ...args: readonly string[]): Promise<string> =>
        dev.given(file, 'apply', '-f', '-', ...args);
      const before = stream(['old', 'a/old'], ['x', 'a/b']);
      expect(await apply(before)).toBe('imagestream.image.openshift.io/applied created\n');
      expect(await apply(before)).toBe('imagestream.image.openshift.io/applied unchanged\n');
      await dev.run('tag', 'a/other', 'applied:other');
      const after = stream(['x', 'a/b2'], ['z', 'a/z']);
      expect(await apply(after, '--dry-run=server')).toContain('configured (server dry run)');
      expect(await apply(after)).toBe('imagestream.image.openshift.io/applied configured\n');
      expect([...(await sources('applied'))].sort()).toEqual([
        ['other', 'a/other'],
        ['x', 'a/b2'],
        ['z', 'a/z'],
      ]);
      const file = site.workspace.writeFile('applied.json', after);
      expect(await dev.refused('apply', '--server-side', '-f', file)).toContain(
        'Server-side apply not available on the server',
      );
    });

    test('by replace, unless someone else was faster', async () => {
      await dev.given(stream(['x', 'a/b']).replace('applied', 'replaced'), 'create', '-f', '-');
      const object = await dev.run('get', 'is', 'replaced', '-o', 'json');
      const file = site.workspace.writeFile('replaced.json', object.replace('"a/b"', '"a/c"'));
      expect(await dev.run('replace', '-f', file)).toBe('imagestream.image.openshift.io/replaced replaced\n');
      expect(await sources('replaced')).toEqual([['x', 'a/c']]);
      expect(await dev.refused('replace', '-f', file)).toContain(
        'Operation cannot be fulfilled on imagestreams.image.openshift.io "replaced": the object has been modified; please apply your changes to the latest version and try again',
      );
    });

    test.each([
      {
        type: 'strategic',
        patch: '{"spec":{"tags":[{"name":"x","from":{"name":"a/new"}},{"$patch":"delete","name":"y"}]}}',
        expected: [['x', 'a/new']],
      },
      {
        type: 'merge',
        patch: '{"spec":{"tags":[{"name":"z","from":{"kind":"DockerImage","name":"a/z"}}]}}',
        expected: [['z', 'a/z']],
      },
      {
        type: 'json',
        patch: '[{"op":"replace","path":"/spec/tags/1/from/name","value":"a/new"}]',
        expected: [
          ['x', 'a/b'],
          ['y', 'a/new'],
        ],
      },
    ])('by a $type patch', async ({ type, patch, expected }) => {
      const name = `patched-${type}`;
      await dev.given(stream(['x', 'a/b'], ['y', 'a/y']).replace('applied', name), 'create', '-f', '-');
      expect(await dev.run('patch', 'is', name, '--type', type, '-p', patch)).toBe(
        `imagestream.image.openshift.io/${name} patched\n`,
      );
      expect(await sources(name)).toEqual(expected);
    });

    test('with an editor, a stream and a tag', async () => {
      await dev.run('tag', 'app:v1', 'edited:t');
      const preserve = 'sed -i s/Legacy/PreserveOriginal/';
      expect(await dev.edit(preserve, 'edit', 'is', 'edited')).toBe('imagestream.image.openshift.io/edited edited\n');
      const mode = ['itag', 'edited:t', '-o', 'jsonpath={.spec.importPolicy.importMode}'];
      expect(await dev.run('get', ...mode)).toBe('PreserveOriginal');
      const legacy = 'sed -i s/PreserveOriginal/Legacy/';
      expect(await dev.edit(legacy, 'edit', 'istag', 'edited:t')).toBe(
        'imagestreamtag.image.openshift.io/edited:t edited\n',
      );
      expect(await dev.run('get', ...mode)).toBe('Legacy');
      expect(await dev.edit('true', 'edit', 'is', 'edited')).toBe('');
      // The image is where it was.
      expect((await fetchManifest(site.weir, 'demo/edited', 't')).digest).toBe(firstDigest);
    });

    test('labels and annotations, of a tag too', async () => {
      await dev.run('tag', 'app:v1', 'labeled:t');
      expect(await dev.run('label', 'is', 'labeled', 'tier=gold')).toBe(
        'imagestream.image.openshift.io/labeled labeled\n',
      );
      expect(await dev.run('get', 'is', '-l', 'tier=gold', '-o', 'name')).toBe(
        'imagestream.image.openshift.io/labeled\n',
      );
      expect(await dev.refused('label', 'is', 'labeled', 'tier-', '--resource-version=1')).toContain('Conflict');
      expect(await dev.run('annotate', 'is', 'labeled', 'owner=dev')).toBe(
        'imagestream.image.openshift.io/labeled annotated\n',
      );
      expect(await dev.run('annotate', 'istag', 'labeled:t', 'description=the first')).toBe(
        'imagestreamtag.image.openshift.io/labeled:t annotated\n',
      );
      expect(await read('is', 'labeled')).toMatchObject({
        metadata: { labels: { tier: 'gold' }, annotations: { owner: 'dev' } },
        spec: { tags: [{ name: 't', annotations: { description: 'the first' } }] },
      });
      expect(await dev.run('describe', 'is', 'labeled')).toContain('the first');
    });

    test('whether names of images are looked up in a stream', async () => {
      await dev.run('create', 'is', 'looked-up');
      const local = async (): Promise<string> =>
        dev.run('get', 'is', 'looked-up', '-o', 'jsonpath={.spec.lookupPolicy.local}');
      const said = 'imagestream.image.openshift.io/looked-up image lookup updated\n';
      expect(await dev.run('set', 'image-lookup', 'looked-up')).toBe(said);
      expect(await local()).toBe('true');
      expect(await dev.run('set', 'image-lookup')).toMatch(/^looked-up +true$/m);
      expect(await dev.run('set', 'image-lookup', 'looked-up', '--enabled=false')).toBe(said);
      expect(await local()).toBe('false');
    });
  });

  describe('creates', () => {
    test('streams, not twice, and nothing in a dry run', async () => {
      expect(await dev.run('create', 'is', 'dry', '--dry-run=server')).toContain('created (server dry run)');
      expect(await dev.refused('get', 'is', 'dry')).toContain('not found');
      expect(await dev.run('create', 'imagestream', 'made-here', '--lookup-local')).toBe(
        'imagestream.image.openshift.io/made-here created\n',
      );
      expect(await read('is', 'made-here')).toMatchObject({
        spec: { lookupPolicy: { local: true } },
        status: { dockerImageRepository: `${site.weir.host}/demo/made-here` },
      });
      expect(await dev.refused('create', 'is', 'made-here')).toBe(
        'Error from server (AlreadyExists): imagestreams.image.openshift.io "made-here" already exists\n',
      );
      expect(await dev.refused('create', 'is', 'No_Name')).toContain('The ImageStream "No_Name" is invalid');
    });

    test('tags, with their streams', async () => {
      const create = (...args: readonly string[]): Promise<string> => dev.run('create', 'istag', ...args);
      expect(await create('created:own', '--from=app:v1')).toBe(
        'imagestreamtag.image.openshift.io/created:own created\n',
      );
      await create('created:image', `--from=app@${secondDigest}`);
      await create('created:outside', '--from-image', elsewhere, '--scheduled');
      expect(await read('is', 'created')).toMatchObject({
        spec: {
          tags: expect.arrayContaining([
            expect.objectContaining({ name: 'own', from: { kind: 'ImageStreamTag', name: 'app:v1' } }),
            expect.objectContaining({ name: 'image', from: { kind: 'ImageStreamImage', name: `app@${secondDigest}` } }),
            expect.objectContaining({ name: 'outside', importPolicy: { importMode: 'Legacy', scheduled: true } }),
          ]) as unknown,
        },
      });
      expect((await fetchManifest(site.weir, 'demo/created', 'own')).digest).toBe(firstDigest);
      expect(await dev.refused('create', 'istag', 'created:own', '--from=app:v1')).toContain('already exists');
    });
  });

  describe('moves images', () => {
    test('after a login to the registry, whose name it learns from a stream', async () => {
      expect(await dev.run('registry', 'login')).toMatch(new RegExp(`^Saved credentials for ${site.weir.host} into `));
      expect(await dev.run('registry', 'info')).toBe(`${site.weir.host}\n`);
      expect(await dev.run('registry', 'info', '--check')).toBe(`${site.weir.host}\n`);
    });

    test('and tells what they are', async () => {
      const info = await dev.run('image', 'info', `${site.weir.host}/demo/app:v1`);
      expect(info).toMatch(new RegExp(`^Digest: +${firstDigest}$`, 'm'));
      expect(info).toMatch(/^Arch: +amd64$/m);
      expect(info).toMatch(/^Command: +\/none$/m);
    });

    test('from one repository to another, whatever their form', async () => {
      const source = `${site.weir.host}/demo/app:v1`;
      for (const target of ['demo/app:mirrored', 'other/mirrored:v1']) {
        await dev.run('image', 'mirror', source, `${site.weir.host}/${target}`);
        const [repository = '', tag = ''] = target.split(':');
        expect((await fetchImage(site.weir, repository, tag)).descriptor).toMatchObject({
          digest: firstDigest,
          mediaType: mediaTypes.manifest,
        });
      }
    });

    test('with another layer on top', async () => {
      const layer = site.workspace.writeFile('layer.tar.gz', gzipSync(tar(new Map([['on-top', Buffer.from('top')]]))));
      const [from, to] = ['v1', 'appended'].map((tag) => `${site.weir.host}/demo/app:${tag}`);
      await dev.run('image', 'append', `--from=${from}`, `--to=${to}`, layer);
      const { manifest } = await fetchManifest(site.weir, 'demo/app', 'appended');
      expect(manifest.layers).toHaveLength(3);
      expect(await dev.run('get', 'istag', 'app:appended', '-o', 'jsonpath={.image.dockerImageLayers[2].name}')).toBe(
        manifest.layers![2]!.digest,
      );
    });

    test('out of the registry, file by file', async () => {
      const directory = site.workspace.makeDirectory('extracted');
      await dev.run('image', 'extract', `${site.weir.host}/demo/app:v1`, '--path', `/:${directory}`);
      for (const [file, content] of files) {
        expect((await readFile(`${directory}/${file}`)).equals(content), `content of ${file}`).toBe(true);
      }
    });
  });

  describe('administers', () => {
    test('and shows which images and streams take most', async () => {
      const images = await admin.run('adm', 'top', 'images');
      expect(images).toMatch(new RegExp(`^${firstDigest} .*demo/app \\([^)]*v1\\)`, 'm'));
      expect(await admin.run('adm', 'top', 'imagestreams')).toMatch(/^demo\/app +\d+(\.\d+)?\w+ +\d+ +\d+ *$/m);
      expect(await dev.refused('adm', 'top', 'images')).toContain('Forbidden');
    });

    test('and prunes what only an older revision of a tag holds', async () => {
      const old = buildImage(randomFiles(1, 1000));
      const current = buildImage(randomFiles(1, 1000));
      await push('demo/pruned', 'prod', old);
      await push('demo/pruned', 'prod', current);
      const prune = ['adm', 'prune', 'images', '--keep-younger-than=0s', '--keep-tag-revisions=1'];
      const trial = await admin.tried(...prune);
      expect(trial.stdout + trial.stderr).toContain('Dry run enabled - no modifications will be made');
      expect(await read('itag', 'pruned:prod')).toMatchObject({ status: { items: [{}, {}] } });

      const registry = ['--registry-url', site.weir.url, '--certificate-authority', site.weir.caFile];
      // It wants layers gone before their image is, which is refused and makes it fail; they go with the image.
      const { stdout } = await admin.tried(...prune, '--confirm', ...registry);
      expect(stdout).toContain(`Deleting image ${old.descriptor.digest}`);
      const { status } = (await read('itag', 'pruned:prod')) as {
        readonly status: { readonly items: readonly { readonly image: string }[] };
      };
      expect(status.items.map(({ image }) => image)).toEqual([current.descriptor.digest]);
      expect(await admin.refused('get', 'image', old.descriptor.digest)).toContain('not found');
      await expect(fetchManifest(site.weir, 'demo/pruned', old.descriptor.digest)).rejects.toThrow(/404/);
      expect((await fetchImage(site.weir, 'demo/pruned', 'prod')).descriptor.digest).toBe(current.descriptor.digest);
      expect(await dev.refused(...prune)).toContain('Forbidden');
    });
  });

  describe('deletes', () => {
    test('a tag, and the image stays for the other tags', async () => {
      await dev.run('tag', 'app:v1', 'deleted:a', 'deleted:b');
      expect(await dev.run('delete', 'istag', 'deleted:a')).toMatch(
        /^imagestreamtag.image.openshift.io "deleted:a" deleted/,
      );
      expect(await fetchTags(site.weir, 'demo/deleted')).toEqual(['b']);
    });

    test('streams with all that is in them', async () => {
      await dev.run('tag', 'app:v1', 'deleted-too:a');
      expect(await dev.run('delete', 'is', 'deleted-too', '--dry-run=server')).toContain('(server dry run)');
      expect(await fetchTags(site.weir, 'demo/deleted-too')).toEqual(['a']);
      const output = await dev.run('delete', 'is', 'deleted', 'deleted-too');
      expect(output).toMatch(
        /^imagestream.image.openshift.io "deleted" deleted.*\nimagestream.image.openshift.io "deleted-too" deleted/,
      );
      expect(await dev.refused('delete', 'is', 'deleted')).toContain(
        'imagestreams.image.openshift.io "deleted" not found',
      );
      expect(await dev.run('delete', 'is', 'deleted', '--ignore-not-found')).toBe('');
      await expect(fetchTags(site.weir, 'demo/deleted')).rejects.toThrow(/404/);
    });

    test('those of a label, and the last ones of a project', async () => {
      await dev.run('tag', 'app:v1', 'other/one:a', 'other/two:a');
      await dev.run('label', 'is', 'one', 'q=1', '-n', 'other');
      expect(await dev.run('delete', 'is', '-l', 'q=1', '-n', 'other')).toMatch(/"one" deleted/);
      await dev.run('delete', 'is', '--all', '-n', 'other');
      expect(await dev.tried('get', 'is', '-n', 'other')).toMatchObject({
        stderr: 'No resources found in other namespace.\n',
      });
      expect((await fetchManifest(site.weir, 'demo/app', 'v1')).digest).toBe(firstDigest);
    });
  });
}
