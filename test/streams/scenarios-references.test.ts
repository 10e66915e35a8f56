import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPerson } from '../support/identities.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { accepted, from, imageNamed, StreamApi } from './stream-api.js';

let registry: TestRegistry;
let team: StreamApi;
let other: StreamApi;
let host: string;
beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['team', 'other']) await registry.addProject(project);
  team = new StreamApi(registry, 'team');
  other = new StreamApi(registry, 'other');
  host = new URL(registry.url).host;
});
afterAll(() => registry.stop());

/** Somebody who may edit the streams of `team`. */
const addEditor = (name: string) => addPerson(registry, name, { role: 'edit', namespace: 'team' });

describe('a tag from elsewhere', () => {
  test('17: a tag from another stream of the project points at the image in its own repository', async () => {
    const { digest } = await team.push('base:v1', '17');
    await team.create('app17', { tags: [{ name: 'x', ...from.tag('base:v1') }] });
    expect(await team.items('app17:x')).toMatchObject([
      { image: digest, dockerImageReference: `${host}/team/app17@${digest}`, generation: 1 },
    ]);
    expect(await team.pull('app17', 'x')).toBe(digest);
  });

  test('18: so does one from another project, for those who may pull there', async () => {
    const editor = await addEditor('puller');
    await registry.bind(editor.name, 'system:image-puller', 'other');
    const { digest } = await other.push('base:v1', '18');
    accepted(await team.putTag('app18:x', from.tag('base:v1', 'other'), editor), 201);
    expect(await team.items('app18:x')).toMatchObject([
      { image: digest, dockerImageReference: `${host}/team/app18@${digest}` },
    ]);
    const local = await addPerson(registry, 'local', { role: 'system:image-puller', namespace: 'team' });
    expect(await team.pull('app18', 'x', local)).toBe(digest);
    expect(await other.pull('base', 'v1', local)).toBeNull();
  });

  test('20: who may not pull from a project may name it as the source in itself, and no other', async () => {
    const rules = [
      {
        apiGroups: ['image.openshift.io'],
        resources: ['imagestreams', 'imagestreamtags'],
        verbs: ['create', 'get', 'update'],
      },
    ];
    const role = { metadata: { name: 'tagger' }, rules };
    const made = await registry.api('/apis/rbac.authorization.k8s.io/v1/clusterroles', { method: 'POST', body: role });
    expect(made.status).toBe(201);
    const tagger = await addPerson(registry, 'tagger', { role: 'tagger', namespace: 'team' });
    const { digest } = await team.push('base:v1', '20');
    await other.push('base:v1', '20');
    expect(await team.pull('base', 'v1', tagger)).toBeNull();
    accepted(await team.putTag('app20:x', from.tag('base:v1', 'team'), tagger), 201);
    expect(await team.images('app20:x')).toEqual([digest]);
    expect((await team.putTag('app20:y', from.tag('base:v1', 'other'), tagger)).status).toBe(422);
  });

  test('21: each tag from a stream that may not be pulled has a field error of its own', async () => {
    const editor = await addEditor('denied');
    await other.push('secret:v1', '21');
    const sent = {
      metadata: { name: 'app21' },
      spec: {
        tags: [
          { name: 'x', ...from.tag('secret:v1', 'other') },
          { name: 'y', ...from.tag('secret:v2', 'other') },
          { name: 'z', ...from.docker('mysql:8') },
        ],
      },
    };
    const refused = await team.send('POST', 'imagestreams', { as: editor, body: sent });
    expect(refused.status).toBe(422);
    expect(refused.body.details.causes).toMatchObject(
      ['x', 'y'].map((tag) => ({
        reason: 'FieldValueForbidden',
        field: `spec.tags[${tag}].from`,
        message: expect.stringMatching(/^Forbidden: other\/secret: /) as string,
      })),
    );
    expect(refused.body.details.causes).toHaveLength(2);
    expect((await team.send('GET', 'imagestreams/app21')).status).toBe(404);
  });

  test('22: a tag that stays as it is outlives the right to pull its source', async () => {
    const editor = await addEditor('former');
    const bindings = '/apis/rbac.authorization.k8s.io/v1/namespaces/other/rolebindings';
    const binding = {
      metadata: { name: 'former' },
      subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: editor.name }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:image-puller' },
    };
    expect((await registry.api(bindings, { method: 'POST', body: binding })).status).toBe(201);
    const { digest } = await other.push('lent:v1', '22');
    accepted(await team.putTag('app22:x', from.tag('lent:v1', 'other'), editor), 201);
    expect((await registry.api(`${bindings}/former`, { method: 'DELETE' })).status).toBe(200);
    accepted(await team.editTags('app22', (tags) => [...tags, { name: 'y', ...from.docker('mysql:8') }], editor), 200);
    expect(await team.images('app22:x')).toEqual([digest]);
    expect(await team.pull('app22', 'x', editor)).toBe(digest);
    const asked = await team.editTags('app22', ([x, y]) => [{ ...x, ...from.tag('lent:v2', 'other') }, y!], editor);
    expect(asked.status).toBe(422);
  });

  test('24: a reference keeps the place of its source', async () => {
    const { digest } = await other.push('referred:v1', '24');
    accepted(await team.putTag('app24:x', { ...from.tag('referred:v1', 'other'), reference: true }), 201);
    expect(await team.items('app24:x')).toMatchObject([
      { image: digest, dockerImageReference: `${host}/other/referred@${digest}` },
    ]);
  });

  test('25: a source stream must be there, and a source tag need not', async () => {
    const put = (source: string) => team.putTag('app25:x', from.tag(source));
    const refused = await put('nowhere:v1');
    expect(refused.status).toBe(422);
    expect(refused.body.details.causes).toMatchObject([
      { reason: 'FieldValueNotFound', field: 'spec.tags[x].from.name' },
    ]);
    await team.create('empty');
    accepted(await put('empty:v1'), 201);
    expect(await team.items('app25:x')).toEqual([]);
    expect(await team.wanted('app25:x')).toMatchObject(from.tag('empty:v1'));
  });

  test('26: the beginning of a digest names an image when no other begins like it', async () => {
    const [one, two] = alike();
    const digests = [(await team.push('many:one', one)).digest, (await team.push('many:two', two)).digest];
    const hex = digests.map((digest) => digest.slice('sha256:'.length));
    const put = (id: string) => team.putTag('app26:x', from.image(`many@${id}`));
    const ambiguous = await put(hex[0]!.slice(0, 2));
    expect(ambiguous.status).toBe(422);
    const [cause] = ambiguous.body.details.causes!;
    expect(cause).toMatchObject({ reason: 'FieldValueInvalid', field: 'spec.tags[x].from.name' });
    expect(cause!.message).toContain(`multiple images match the prefix "${hex[0]!.slice(0, 2)}"`);
    for (const digest of digests) expect(cause!.message).toContain(digest);
    accepted(await put(hex[0]!.slice(0, 6)), 201);
    expect(await team.images('app26:x')).toEqual([digests[0]]);
    expect((await put('abcdef0123456789abcdef')).body.message).toContain('"abcdef0123456789abcdef" not found');
  });
});

/** Names of two images whose digests begin with the same two hex digits. */
function alike(): readonly [string, string] {
  const seen = new Map<string, string>();
  for (let count = 0; ; count += 1) {
    const name = `alike ${count}`;
    const hex = imageNamed(name).digest.slice('sha256:'.length);
    const earlier = seen.get(hex.slice(0, 2));
    if (earlier !== undefined) return [earlier, name];
    seen.set(hex.slice(0, 2), name);
  }
}

describe('a tag that follows another of its stream', () => {
  const follower = (name: string, followed: string, more: object = {}) => ({ name, ...from.tag(followed), ...more });

  test.each(['v1', 'app28:v1'])('28: points at what is pushed to the other, which it calls %s', async (followed) => {
    const name = followed === 'v1' ? 'short28' : 'app28';
    await team.create(name, { tags: [follower('latest', followed)] });
    const { digest } = await team.push(`${name}:v1`, '28');
    const head = { image: digest, dockerImageReference: `${host}/team/${name}@${digest}`, generation: 1 };
    expect(await team.items(`${name}:v1`)).toMatchObject([head]);
    expect(await team.items(`${name}:latest`)).toEqual(await team.items(`${name}:v1`));
    expect(await team.pull(name, 'latest')).toBe(digest);
  });

  test('29: is not followed by a third one', async () => {
    await team.create('chain', { tags: [follower('a', 'b'), follower('b', 'c')] });
    const { digest } = await team.push('chain:c', '29');
    expect(await team.images('chain:b')).toEqual([digest]);
    expect(await team.images('chain:a')).toEqual([]);
  });

  test('30: may be followed by it in turn', async () => {
    await team.create('mutual', { tags: [follower('a', 'b'), follower('b', 'a')] });
    const first = (await team.push('mutual:a', '30 first')).digest;
    const second = (await team.push('mutual:b', '30 second')).digest;
    for (const tag of ['a', 'b']) expect(await team.images(`mutual:${tag}`)).toEqual([second, first]);
  });

  test('32: follows as a mere reference too', async () => {
    await team.create('mere', { tags: [follower('latest', 'v1', { reference: true })] });
    const { digest } = await team.push('mere:v1', '32');
    expect(await team.images('mere:latest')).toEqual([digest]);
  });

  test('33: takes a push of its own, which is nothing to the other', async () => {
    await team.create('direct', { tags: [follower('latest', 'v1')] });
    const source = (await team.push('direct:v1', '33 source')).digest;
    const wish = await team.wanted('direct:latest');
    const own = (await team.push('direct:latest', '33 own')).digest;
    expect(await team.images('direct:latest')).toEqual([own, source]);
    expect(await team.wanted('direct:latest')).toEqual(wish);
    expect(await team.images('direct:v1')).toEqual([source]);
    const next = (await team.push('direct:v1', '33 next')).digest;
    expect(await team.images('direct:latest')).toEqual([next, own, source]);
  });

  test('33: follows when its stream is edited or the other one is tagged, as it does for a push', async () => {
    const base = (await team.push('base33:v1', '33 base')).digest;
    await team.create('edited', { tags: [follower('latest', 'v1')] });
    const wish = { name: 'v1', ...from.tag('base33:v1') };
    accepted(await team.editTags('edited', (tags) => [...tags, wish]), 200);
    expect(await team.images('edited:latest')).toEqual([base]);
    const later = (await team.push('base33:v2', '33 later')).digest;
    accepted(await team.putTag('edited:v1', from.tag('base33:v2')), 200);
    expect(await team.images('edited:latest')).toEqual([later, base]);
  });
});
