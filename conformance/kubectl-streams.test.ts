import { beforeAll, describe, expect, test } from 'vitest';
import { fetchApiToken } from './support/api-token.js';
import { follow } from './support/follow.js';
import { buildImage, randomFiles } from './support/image.js';
import { writeKubeconfig } from './support/kubeconfig.js';
import { fetchManifest, fetchTags, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';
import { openTerminal, type Terminal } from './support/terminal.js';
import { addUser } from './support/users.js';

/** A registry that nobody can reach: whatever is to come from there stays pending. */
const elsewhere = 'registry.invalid/team/app:v1';

/** What the tests read of a stream. */
interface Stream {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec: {
    readonly tags?: readonly { readonly name: string; readonly from: { readonly name: string } }[];
  };
}

/** A stream in a file, with tags from other registries. */
function streamFile(name: string, tags: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    apiVersion: 'image.openshift.io/v1',
    kind: 'ImageStream',
    metadata: { name },
    spec: {
      tags: Object.entries(tags).map(([tag, from]) => ({ name: tag, from: { kind: 'DockerImage', name: from } })),
    },
  });
}

describeWithPrograms('kubectl with image streams', ['kubectl'], () => {
  const site = siteWithWeir();
  const first = buildImage(randomFiles(1, 1000));
  const second = buildImage(randomFiles(1, 1000));
  const firstDigest = first.descriptor.digest;
  const secondDigest = second.descriptor.digest;
  let admin: Terminal;
  let viewer: Terminal;

  const read = async <T>(...args: readonly string[]): Promise<T> =>
    JSON.parse(await admin.run('get', ...args, '-o', 'json')) as T;
  const sources = async (name: string): Promise<Record<string, string>> => {
    const { spec } = await read<Stream>('imagestream', name);
    return Object.fromEntries((spec.tags ?? []).map((tag) => [tag.name, tag.from.name]));
  };
  const create = (file: string, ...args: readonly string[]): Promise<string> =>
    admin.given(file, 'create', '-f', '-', ...args);
  /** Points a tag at an image of the stream `app`. */
  const tagFile = (name: string, digest: string): string =>
    JSON.stringify({
      apiVersion: 'image.openshift.io/v1',
      kind: 'ImageStreamTag',
      metadata: { name },
      tag: { from: { kind: 'ImageStreamImage', name: `app@${digest}` } },
    });

  beforeAll(async () => {
    const terminalOf = async (name: string, token: Promise<string>): Promise<Terminal> => {
      const kubeconfig = writeKubeconfig(site, [{ name, token: await token, namespace: 'shop' }]);
      return openTerminal(site, installedProgram('kubectl'), name, kubeconfig);
    };
    admin = await terminalOf('admin', fetchApiToken(site.weir));
    viewer = await terminalOf('viewer', fetchApiToken(site.weir, await addUser(site, 'viewer')));
    await admin.run('create', 'namespace', 'shop');
    await admin.run('create', 'rolebinding', 'viewers', '--clusterrole=view', '--user=viewer');
    await pushImage(site.weir, 'shop/app', 'v1', first);
    await pushImage(site.weir, 'shop/app', 'prod', first);
    await pushImage(site.weir, 'shop/app', 'prod', second);
    await pushImage(site.weir, 'shop/web/front', 'v1', second);
  });

  describe('reads', () => {
    const ago = '(Less than a second|1 second|\\d+ seconds|About a minute) ago';

    test.each([
      {
        name: 'streams',
        what: ['is', 'app', 'web__front'],
        table: () =>
          `NAME +IMAGE REPOSITORY +TAGS +UPDATED\napp +${site.weir.host}/shop/app +(prod,v1|v1,prod) +${ago}\nweb__front +${site.weir.host}/shop/web/front +v1 +${ago}\n`,
      },
      {
        name: 'a tag of a stream',
        what: ['istag', 'app:v1'],
        table: () => `NAME +IMAGE REFERENCE +UPDATED\napp:v1 +${site.weir.host}/shop/app@${firstDigest} +${ago}\n`,
      },
      {
        name: 'a tag of a stream with all its columns',
        what: ['istag', 'app:v1', '-o', 'wide'],
        table: () =>
          `NAME +IMAGE REFERENCE +UPDATED +IMAGE NAME\napp:v1 +${site.weir.host}/shop/app@${firstDigest} +${ago} +${firstDigest}\n`,
      },
      {
        name: 'what a tag is wanted to be and what it is',
        what: ['imagetag', 'app:prod'],
        table: () => `NAME +SPEC +STATUS +HISTORY +UPDATED\napp:prod +Push +image/${secondDigest} +2 +${ago}\n`,
      },
      {
        name: 'an image of a stream, by the beginning of its digest',
        what: ['isimage', `app@${firstDigest.slice(0, 20)}`, '-o', 'wide'],
        table: () =>
          `NAME +UPDATED +IMAGE REFERENCE +IMAGE NAME\napp@${firstDigest.slice(0, 20)} +${ago} +${site.weir.host}/shop/app@${firstDigest} +${firstDigest}\n`,
      },
      {
        name: 'an image',
        what: ['image', firstDigest],
        table: () => `NAME +IMAGE REFERENCE\n${firstDigest} +${site.weir.host}/shop/app@${firstDigest}\n`,
      },
      {
        name: 'streams in the order of a field',
        what: [
          'is',
          '--sort-by={.status.dockerImageRepository}',
          '--no-headers',
          '-o',
          'custom-columns=N:.metadata.name',
        ],
        table: () => 'app\n(.*\n)*web__front\n',
      },
      {
        name: 'streams by a field',
        what: ['is', '--field-selector=metadata.name=app', '-o', 'name'],
        table: () => 'imagestream.image.openshift.io/app\n',
      },
      {
        name: 'tags by a field',
        what: ['istag', '--field-selector=metadata.name=app:prod', '-o', 'name'],
        table: () => 'imagestreamtag.image.openshift.io/app:prod\n',
      },
      {
        name: 'streams page by page',
        what: ['is', '-A', '--chunk-size=1', '--no-headers'],
        table: () => `shop +app .*\n(.*\n)*shop +web__front .*\n`,
      },
      {
        name: 'of a stream what is asked for',
        what: ['is', 'app', '-o', 'jsonpath={.status.tags[?(@.tag=="prod")].items[*].image}'],
        table: () => `${secondDigest} ${firstDigest}`,
      },
      {
        name: 'a stream as YAML',
        what: ['is', 'app', '-o', 'yaml'],
        table: () => `apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n(.*\n)*`,
      },
      {
        name: 'everything',
        what: ['all', '-o', 'name', '--field-selector=metadata.name=app'],
        table: () => 'imagestream.image.openshift.io/app\n',
      },
      {
        name: 'what happened in the project',
        what: ['activities', '--no-headers'],
        table: () => `(.*\n)*app:prod@1 +app:prod +push +admin +${firstDigest} +${ago}\n(.*\n)*`,
      },
    ])('$name', async ({ what, table }) => {
      expect(await admin.run('get', ...what)).toMatch(new RegExp(`^${table()}$`));
    });

    test.each([
      'imagestream/app',
      'imagestreamtag/app:v1',
      'imagetag/app:v1',
      `imagestreamimage/app@FIRST`,
      'image/FIRST',
    ])('a description of %s', async (object) => {
      const [kind = '', name = ''] = object.replace('FIRST', firstDigest).split('/');
      const description = await admin.run('describe', kind, name);
      expect(description).toMatch(new RegExp(`^Name: +${name}\n`));
      expect(description).toContain(firstDigest);
    });

    test('nothing that there is not', async () => {
      expect(await admin.refused('get', 'is', 'none')).toBe(
        'Error from server (NotFound): imagestreams.image.openshift.io "none" not found\n',
      );
      expect(await admin.refused('get', 'istag', 'app:none')).toBe(
        'Error from server (NotFound): imagestreamtags.image.openshift.io "app:none" not found\n',
      );
      expect(await admin.refused('get', 'isimage')).toContain('Error from server (MethodNotAllowed)');
      await admin.run('create', 'namespace', 'bare');
      expect(await admin.tried('get', 'is', '-n', 'bare')).toMatchObject({
        stdout: '',
        stderr: 'No resources found in bare namespace.\n',
      });
    });

    test('the history of a tag, page by page, and only what is asked for', async () => {
      interface Events {
        readonly metadata: { readonly continue?: string };
        readonly items: readonly { readonly image: string; readonly user: { readonly name: string } }[];
      }
      const history = async (query: string): Promise<Events> =>
        JSON.parse(
          await admin.run('get', '--raw', `/apis/weir.dev/v1/namespaces/shop/imagestreamtags/app:prod/history${query}`),
        ) as Events;
      const page = await history('?limit=1');
      expect(page.items).toMatchObject([{ image: secondDigest, generation: 2, current: true, cause: 'push' }]);
      const rest = await history(`?limit=1&continue=${page.metadata.continue}`);
      expect(rest.items).toMatchObject([{ image: firstDigest, generation: 1, user: { name: 'admin', kind: 'user' } }]);
      expect(rest.metadata.continue ?? '').toBe('');
      expect((await history('?cause=rollback')).items).toEqual([]);
      expect((await history(`?image=${firstDigest}&user=admin&cause=push`)).items).toHaveLength(1);
    });

    test('the tags of a stream as a query', async () => {
      const raw = '/apis/weir.dev/v1/namespaces/shop/imagestreams/app/tags?q=p*&sort=-changed';
      expect(JSON.parse(await admin.run('get', '--raw', raw))).toMatchObject({
        kind: 'StreamTagList',
        total: 1,
        items: [{ tag: 'prod', image: secondDigest, events: 2, platforms: ['linux/amd64'] }],
      });
    });

    test('changes of streams and images as they happen', async () => {
      await create(streamFile('watched', {}));
      const watches = [
        follow(admin.program, ['get', 'is', '-w', '--field-selector=metadata.name=watched'], admin.command),
        follow(admin.program, ['get', 'images', '-w', '--output-watch-events'], admin.command),
      ] as const;
      const [streams, images] = watches;
      try {
        await streams.waitFor(/^watched /m);
        await images.waitFor(new RegExp(`^ADDED +${firstDigest}`, 'm'));
        const image = buildImage(randomFiles(1, 1000));
        await pushImage(site.weir, 'shop/watched', 'new', image);
        await streams.waitFor(/^watched +\S+ +new /m);
        await images.waitFor(new RegExp(`^ADDED +${image.descriptor.digest}`, 'm'));
        await admin.run('annotate', 'image', image.descriptor.digest, 'seen=yes');
        await images.waitFor(new RegExp(`^MODIFIED +${image.descriptor.digest}`, 'm'));
      } finally {
        for (const watch of watches) await watch.stop();
      }
    });
  });

  describe('creates', () => {
    test('what a file names, each kind of object', async () => {
      const file = `
apiVersion: image.openshift.io/v1
kind: ImageStream
metadata: { name: from-file, labels: { tier: gold } }
spec:
  lookupPolicy: { local: true }
  tags:
    - { name: outside, from: { kind: DockerImage, name: ${elsewhere} }, importPolicy: { scheduled: true } }
    - { name: here, from: { kind: ImageStreamTag, name: "app:v1" } }
---
apiVersion: image.openshift.io/v1
kind: ImageStreamTag
metadata: { name: "from-file:tag", annotations: { description: by digest } }
tag: { from: { kind: ImageStreamImage, name: "app@${secondDigest}" } }
---
apiVersion: image.openshift.io/v1
kind: ImageTag
metadata: { name: "from-file:itag" }
spec: { from: { kind: ImageStreamTag, name: "app:prod" } }
---
apiVersion: weir.dev/v1
kind: TagPolicy
metadata: { name: from-file }
spec:
  streams: [none]
  protect: [{ tags: ["v*", "!v0*"], overriddenBy: [{ kind: User, name: admin }] }]
  requireReason: [rollback, delete]
  keepEvents: 50
`;
      expect((await create(file)).split('\n')).toEqual([
        'imagestream.image.openshift.io/from-file created',
        'imagestreamtag.image.openshift.io/from-file:tag created',
        'imagetag.image.openshift.io/from-file:itag created',
        'tagpolicy.weir.dev/from-file created',
        '',
      ]);
      for (const [tag, digest] of [
        ['here', firstDigest],
        ['tag', secondDigest],
        ['itag', secondDigest],
      ] as const) {
        expect((await fetchManifest(site.weir, 'shop/from-file', tag)).digest).toBe(digest);
      }
      expect(await admin.run('get', 'itag', 'from-file:outside', '--no-headers')).toMatch(
        /^from-file:outside +Scheduled +registry\.invalid\/team\/app:v1 /,
      );
      expect(await admin.run('get', 'tagpolicy', 'from-file')).toMatch(
        /^NAME +STREAMS +PROTECTS +REASONS +KEEPS +AGE\nfrom-file +none +v\*,!v0\* +rollback,delete +50 +\d+m?s\n$/,
      );
      expect(await admin.run('get', 'is', '-l', 'tier=gold', '-o', 'name')).toBe(
        'imagestream.image.openshift.io/from-file\n',
      );
      expect(await admin.run('get', 'istag', '-l', 'tier=gold', '-o', 'name')).toMatch(
        /^(imagestreamtag\.image\.openshift\.io\/from-file:\w+\n){3}$/,
      );
    });

    test('nothing twice, and nothing in a dry run of the server', async () => {
      const file = streamFile('twice', {});
      expect(await create(file, '--dry-run=server')).toContain('created (server dry run)');
      expect(await create(file)).toBe('imagestream.image.openshift.io/twice created\n');
      const again = site.workspace.writeFile('twice.json', file);
      expect(await admin.refused('create', '-f', again)).toContain(
        'imagestreams.image.openshift.io "twice" already exists',
      );
    });

    test.each([
      { kind: 'ImageStream', group: 'image.openshift.io/v1', rest: 'spec: { tgs: [] }', field: 'spec.tgs' },
      {
        kind: 'ImageStreamTag',
        group: 'image.openshift.io/v1',
        rest: `tag: { form: { kind: DockerImage, name: a } }`,
        field: 'tag.form',
      },
      { kind: 'ImageTag', group: 'image.openshift.io/v1', rest: 'spec: { policy: {} }', field: 'spec.policy' },
      {
        kind: 'TagPolicy',
        group: 'weir.dev/v1',
        rest: 'spec: { protect: [{ tags: [v1], by: me }] }',
        field: 'spec.protect[0].by',
      },
    ])('no $kind that has a field of no such name', async ({ kind, group, rest, field }) => {
      const name = kind.endsWith('Tag') ? 'misspelt:t' : 'misspelt';
      const file = `apiVersion: ${group}\nkind: ${kind}\nmetadata: { name: "${name}" }\n${rest}\n`;
      expect(await admin.refused('create', '-f', site.workspace.writeFile('misspelt.yaml', file))).toMatch(
        new RegExp(`strict decoding error: .*unknown field "${field.replace(/[[\].]/g, '\\$&')}"`),
      );
    });

    test('nothing that is not valid, and says each thing that is wrong', async () => {
      const file = `
apiVersion: image.openshift.io/v1
kind: ImageStream
metadata: { name: Not_Valid }
spec:
  tags:
    - { name: one, from: { kind: Nonsense, name: a/b } }
    - { name: two, from: { kind: ImageStreamTag, name: "app:v1" }, importPolicy: { scheduled: true } }
`;
      const said = await admin.refused('create', '-f', site.workspace.writeFile('invalid.yaml', file));
      expect(said).toContain('The ImageStream "Not_Valid" is invalid:');
      for (const field of ['metadata.name', 'spec.tags[one].from.kind', 'spec.tags[two].importPolicy.scheduled']) {
        expect(said).toContain(`* ${field}: `);
      }
    });
  });

  describe('changes', () => {
    test('by apply, once for each difference, after what diff has shown', async () => {
      const apply = (file: string): Promise<string> => admin.given(file, 'apply', '-f', '-');
      const before = streamFile('applied', { a: 'a/b', b: 'b/c' });
      expect(await apply(before)).toBe('imagestream.image.openshift.io/applied created\n');
      expect(await apply(before)).toBe('imagestream.image.openshift.io/applied unchanged\n');
      const after = streamFile('applied', { a: 'a/new', c: 'c/d' });
      const diff = await admin.tried('diff', '-f', site.workspace.writeFile('applied.json', after));
      expect(diff).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^-.*a\/b\n\+.*a\/new$/m) as unknown });
      expect(await apply(after)).toBe('imagestream.image.openshift.io/applied configured\n');
      expect(await sources('applied')).toEqual({ a: 'a/new', c: 'c/d' });
    });

    test('not by the server side of apply, and says so', async () => {
      const file = site.workspace.writeFile('server-side.json', streamFile('server-side', {}));
      const said = await admin.refused('apply', '--server-side', '-f', file, '-v=6');
      expect(said).toMatch(/\bPATCH\b.*\b415 Unsupported Media Type/);
      expect(said).toContain('Server-side apply not available on the server');
      expect(said).toContain('the body of a PATCH was "application/apply-patch+yaml": expected');
    });

    test('with an editor, a stream, a tag and a policy', async () => {
      await create(tagFile('edited:t', firstDigest));
      const mode = async (): Promise<string> =>
        admin.run('get', 'itag', 'edited:t', '-o', 'jsonpath={.spec.importPolicy.importMode}');
      expect(await admin.edit('sed -i s/Legacy/PreserveOriginal/', 'edit', 'is', 'edited')).toBe(
        'imagestream.image.openshift.io/edited edited\n',
      );
      expect(await mode()).toBe('PreserveOriginal');
      expect(await admin.edit('sed -i s/PreserveOriginal/Legacy/', 'edit', 'istag', 'edited:t')).toBe(
        'imagestreamtag.image.openshift.io/edited:t edited\n',
      );
      expect(await mode()).toBe('Legacy');
      expect(
        await admin.edit(`sed -i s/app@${firstDigest}/app@${secondDigest}/`, 'edit', 'itag', 'edited:t'),
      ).toContain('edited:t edited');
      expect((await fetchManifest(site.weir, 'shop/edited', 't')).digest).toBe(secondDigest);
      await create(
        '{"apiVersion":"weir.dev/v1","kind":"TagPolicy","metadata":{"name":"edited"},"spec":{"keepEvents":9}}',
      );
      expect(await admin.edit('sed -i s/keepEvents:.*/keepEvents:\\ 7/', 'edit', 'tagpolicy', 'edited')).toBe(
        'tagpolicy.weir.dev/edited edited\n',
      );
      expect(await admin.run('get', 'tagpol', 'edited', '-o', 'jsonpath={.spec.keepEvents}')).toBe('7');
    });

    test.each([
      {
        type: 'strategic',
        patch: '{"spec":{"tags":[{"name":"a","from":{"name":"a/new"}}]}}',
        result: { a: 'a/new', b: 'b/c' },
      },
      {
        type: 'merge',
        patch: '{"spec":{"tags":[{"name":"z","from":{"kind":"DockerImage","name":"z/z"}}]}}',
        result: { z: 'z/z' },
      },
      {
        type: 'json',
        patch: '[{"op":"test","path":"/spec/tags/0/name","value":"a"},{"op":"remove","path":"/spec/tags/0"}]',
        result: { b: 'b/c' },
      },
    ])('by a $type patch', async ({ type, patch, result }) => {
      const name = `patched-${type}`;
      await create(streamFile(name, { a: 'a/b', b: 'b/c' }));
      expect(await admin.run('patch', 'is', name, '--type', type, '-p', patch)).toBe(
        `imagestream.image.openshift.io/${name} patched\n`,
      );
      expect(await sources(name)).toEqual(result);
    });

    test('where a tag points, by a patch of the tag', async () => {
      await create(tagFile('moved:t', firstDigest));
      const patch = JSON.stringify({ tag: { from: { name: `app@${secondDigest}` } } });
      expect(await admin.run('patch', 'istag', 'moved:t', '--type=merge', '-p', patch)).toBe(
        'imagestreamtag.image.openshift.io/moved:t patched\n',
      );
      expect((await fetchManifest(site.weir, 'shop/moved', 't')).digest).toBe(secondDigest);
    });

    test('labels and annotations, of a tag annotations only', async () => {
      await create(tagFile('labeled:t', firstDigest));
      expect(await admin.run('label', 'is', 'labeled', 'tier=silver')).toBe(
        'imagestream.image.openshift.io/labeled labeled\n',
      );
      expect(await admin.run('annotate', 'is', 'labeled', 'owner=dev')).toContain('annotated');
      expect(await admin.run('annotate', 'istag', 'labeled:t', 'description=a tag')).toContain('annotated');
      expect(await read<Stream>('is', 'labeled')).toMatchObject({
        metadata: { labels: { tier: 'silver' }, annotations: { owner: 'dev' } },
        spec: { tags: [{ name: 't', annotations: { description: 'a tag' } }] },
      });
      expect(await admin.run('get', 'istag', 'labeled:t', '--no-headers', '-L', 'tier')).toMatch(/ silver\n$/);
      expect(await admin.refused('label', 'istag', 'labeled:t', 'tier=gold', '--overwrite')).toContain(
        'may not update fields other than metadata.annotations',
      );
      expect(await admin.run('label', 'is', 'labeled', 'tier-')).toContain('unlabeled');
    });

    test('by replace, unless someone else was faster', async () => {
      await create(streamFile('replaced', { a: 'a/b' }));
      const before = await admin.run('get', 'is', 'replaced', '-o', 'json');
      const file = site.workspace.writeFile('replaced.json', before.replace('"a/b"', '"a/new"'));
      expect(await admin.run('replace', '-f', file)).toBe('imagestream.image.openshift.io/replaced replaced\n');
      expect(await sources('replaced')).toEqual({ a: 'a/new' });
      const said = await admin.refused('replace', '-f', file);
      expect(said).toContain('Error from server (Conflict)');
      expect(said).toContain(
        'Operation cannot be fulfilled on imagestreams.image.openshift.io "replaced": the object has been modified; please apply your changes to the latest version and try again',
      );
      expect(await admin.refused('annotate', 'is', 'replaced', 'a=b', '--resource-version=1')).toContain(
        'Error from server (Conflict)',
      );
    });

    test('a tag back to what it was, and again, by the paths of the API alone', async () => {
      for (const image of [first, second]) await pushImage(site.weir, 'shop/back', 'prod', image);
      const tag = '/apis/image.openshift.io/v1/namespaces/shop/imagestreamtags/back:prod';
      const rollback = JSON.stringify({ spec: { to: { steps: 1 }, reason: 'the second does not start' } });
      await admin.given(rollback, 'create', '--raw', `${tag}/rollback`, '-f', '-');
      expect((await fetchManifest(site.weir, 'shop/back', 'prod')).digest).toBe(firstDigest);
      const body = tagFile('back:prod', secondDigest).replace('app@', 'back@');
      await admin.given(body, 'replace', '--raw', tag, '-f', '-');
      expect((await fetchManifest(site.weir, 'shop/back', 'prod')).digest).toBe(secondDigest);
      const history = await admin.run(
        'get',
        '--raw',
        '/apis/weir.dev/v1/namespaces/shop/imagestreamtags/back:prod/history',
      );
      const { items } = JSON.parse(history) as { readonly items: readonly object[] };
      expect(items).toMatchObject([
        { generation: 4, cause: 'tag', image: secondDigest },
        { generation: 3, cause: 'rollback', image: firstDigest, backTo: 1, reason: 'the second does not start' },
        { generation: 2, cause: 'push', image: secondDigest },
        { generation: 1, cause: 'push', image: firstDigest },
      ]);
    });
  });

  describe('waits', () => {
    test('until a tag is there', async () => {
      await create(streamFile('awaited', {}));
      const wait = admin.run('wait', 'is/awaited', '--for=jsonpath={.status.tags[0].tag}=new', '--timeout=60s');
      await pushImage(site.weir, 'shop/awaited', 'new', first);
      expect(await wait).toBe('imagestream.image.openshift.io/awaited condition met\n');
    });

    test('until a stream is gone', async () => {
      await create(streamFile('leaving', {}));
      const wait = follow(admin.program, ['wait', 'is/leaving', '--for=delete', '-v=6'], admin.command);
      try {
        await wait.waitFor(/watch=true/);
        await admin.run('delete', 'is', 'leaving');
        await wait.waitFor(/^imagestream\.image\.openshift\.io\/leaving condition met$/m);
      } finally {
        await wait.stop();
      }
    });
  });

  describe('deletes', () => {
    test('a tag, and what the registry has agrees', async () => {
      await create(tagFile('deleted:a', firstDigest));
      await create(tagFile('deleted:b', firstDigest));
      expect(await admin.run('delete', 'istag', 'deleted:a', '--dry-run=server')).toContain('(server dry run)');
      expect(await fetchTags(site.weir, 'shop/deleted')).toEqual(['a', 'b']);
      expect(await admin.run('delete', 'istag', 'deleted:a')).toMatch(
        /^imagestreamtag\.image\.openshift\.io "deleted:a" deleted/,
      );
      expect(await fetchTags(site.weir, 'shop/deleted')).toEqual(['b']);
      expect(await admin.run('delete', 'itag', 'deleted:b')).toMatch(/"deleted:b" deleted/);
      expect(await fetchTags(site.weir, 'shop/deleted')).toEqual([]);
      expect(await admin.refused('delete', 'istag', 'deleted:a')).toContain('"deleted:a" not found');
    });

    test('streams by their labels, and the images stay for the others', async () => {
      for (const name of ['gone-1', 'gone-2']) {
        await create(tagFile(`${name}:t`, firstDigest));
        await admin.run('label', 'is', name, 'gone=yes');
      }
      expect(await admin.run('delete', 'is', '-l', 'gone=yes')).toMatch(/"gone-1" deleted.*\n.*"gone-2" deleted/);
      expect(await admin.run('get', 'is', '-l', 'gone=yes', '-o', 'name')).toBe('');
      expect((await fetchManifest(site.weir, 'shop/app', 'v1')).digest).toBe(firstDigest);
      await expect(fetchTags(site.weir, 'shop/gone-1')).rejects.toThrow(/404/);
    });

    test('no tag that a policy protects, until the policy is gone', async () => {
      await pushImage(site.weir, 'shop/kept', 'v1', first);
      await create(
        '{"apiVersion":"weir.dev/v1","kind":"TagPolicy","metadata":{"name":"releases"},"spec":{"streams":["kept"],"protect":[{"tags":["v*"]}]}}',
      );
      const rule = 'tag v1 of shop/kept is protected by policy releases, tags v*';
      expect(await admin.refused('delete', 'istag', 'kept:v1')).toContain(rule);
      await expect(pushImage(site.weir, 'shop/kept', 'v1', second)).rejects.toThrow(/policy releases, tags v\*/);
      expect((await fetchManifest(site.weir, 'shop/kept', 'v1')).digest).toBe(firstDigest);
      expect(await admin.run('delete', 'tagpolicy', 'releases')).toMatch(/^tagpolicy\.weir\.dev "releases" deleted/);
      await admin.run('delete', 'istag', 'kept:v1');
    });
  });

  describe('explains', () => {
    test.each([
      { field: 'imagestream.spec.tags', says: /^FIELD: +tags <\[\]Object>$[^]*^ +name\t<string>/m },
      { field: 'imagestream.status.tags.items', says: /^FIELD: +items <\[\]Object>$[^]*^ +image\t<string>/m },
      { field: 'imagestreamtag.tag', says: /^FIELD: +tag <Object>$[^]*^ +referencePolicy\t<Object>/m },
      { field: 'imagetag', says: /^KIND: +ImageTag$[^]*^ +status\t<Object>/m },
      { field: 'image', says: /^KIND: +Image$[^]*^ +dockerImageLayers\t<\[\]Object>/m },
      { field: 'tagpolicy.spec.protect', says: /^FIELD: +protect <\[\]Object>$[^]*^ +tags\t<\[\]string>/m },
    ])('$field', async ({ field, says }) => {
      expect(await admin.run('explain', field)).toMatch(says);
    });

    test('which resources there are, and what they are called for short', async () => {
      const resources = await admin.run('api-resources', '--api-group=image.openshift.io', '--no-headers');
      expect(resources).toMatch(/^imagestreams +is +image\.openshift\.io\/v1 +true +ImageStream$/m);
      expect(resources).toMatch(/^imagestreamtags +istag +image\.openshift\.io\/v1 +true +ImageStreamTag$/m);
      expect(resources).toMatch(/^imagetags +itag +image\.openshift\.io\/v1 +true +ImageTag$/m);
      expect(resources).toMatch(/^images +image\.openshift\.io\/v1 +false +Image$/m);
    });
  });

  describe('knows who may do what', () => {
    test.each([
      { verb: 'get', resource: 'imagestreams', may: true },
      { verb: 'watch', resource: 'imagestreams', may: true },
      { verb: 'list', resource: 'imagestreamtags', may: true },
      { verb: 'create', resource: 'imagestreams', may: false },
      { verb: 'update', resource: 'imagestreamtags', may: false },
      { verb: 'create', resource: 'imagestreamtags/rollback', may: false },
      { verb: 'update', resource: 'imagestreams/layers', may: false },
      { verb: 'create', resource: 'tagpolicies.weir.dev', may: false },
      { verb: 'list', resource: 'images', may: false },
    ])('a viewer, asked for $verb $resource', async ({ verb, resource, may }) => {
      const { exitCode, stdout } = await viewer.tried('auth', 'can-i', verb, resource);
      expect({ exitCode, answer: stdout.slice(0, 2) }).toEqual(
        may ? { exitCode: 0, answer: 'ye' } : { exitCode: 1, answer: 'no' },
      );
      expect(await admin.run('auth', 'can-i', verb, resource)).toBe('yes\n');
    });

    test('and a viewer reads what there is, and changes none of it', async () => {
      expect(await viewer.run('get', 'is', 'app', '-o', 'name')).toBe('imagestream.image.openshift.io/app\n');
      expect(await viewer.run('get', 'istag', 'app:v1', '-o', 'jsonpath={.image.metadata.name}')).toBe(firstDigest);
      const history = '/apis/weir.dev/v1/namespaces/shop/imagestreamtags/app:prod/history';
      expect(await viewer.run('get', '--raw', history)).toContain(secondDigest);
      const forbidden = (verb: string, resource: string, name: string): string =>
        `${resource}.image.openshift.io "${name}" is forbidden: User "viewer" cannot ${verb} resource "${resource}" in API group "image.openshift.io" in the namespace "shop"`;
      expect(await viewer.refused('annotate', 'is', 'app', 'a=b')).toContain(forbidden('patch', 'imagestreams', 'app'));
      expect(await viewer.refused('delete', 'istag', 'app:v1')).toContain(
        forbidden('delete', 'imagestreamtags', 'app:v1'),
      );
      expect(await viewer.refused('delete', 'is', 'app')).toContain(forbidden('delete', 'imagestreams', 'app'));
      const file = site.workspace.writeFile('viewer.json', tagFile('app:mine', firstDigest));
      expect(await viewer.refused('create', '-f', file)).toContain('User "viewer" cannot create resource');
      const rollback = [
        'create',
        '--raw',
        '/apis/image.openshift.io/v1/namespaces/shop/imagestreamtags/app:prod/rollback',
      ];
      const body = site.workspace.writeFile('rollback.json', '{"spec":{"to":{"steps":1}}}');
      expect(await viewer.refused(...rollback, '-f', body)).toContain('Forbidden');
      expect(await viewer.refused('get', 'images')).toContain(
        'User "viewer" cannot list resource "images" in API group "image.openshift.io" at the cluster scope',
      );
      expect(await fetchTags(site.weir, 'shop/app')).toEqual(['prod', 'v1']);
      expect((await fetchManifest(site.weir, 'shop/app', 'prod')).digest).toBe(secondDigest);
    });
  });
});
