import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { accepted, from, imageNamed, StreamApi } from './stream-api.js';

let registry: TestRegistry;
let team: StreamApi;
let host: string;
beforeAll(async () => {
  registry = await startRegistry();
  await registry.addProject('team');
  team = new StreamApi(registry, 'team');
  host = new URL(registry.url).host;
});
afterAll(() => registry.stop());

const mysql = (version: string) => from.docker(`mysql:${version}`);

describe('generations', () => {
  test('1: a new stream and its tags have generation 1, the default policies and no status tags', async () => {
    const made = await team.create('new', { tags: [{ name: 'latest', ...mysql('5.7') }] });
    for (const { metadata, spec, status } of [made, await team.read('new')]) {
      expect(metadata.generation).toBe(1);
      expect(spec.tags).toEqual([
        {
          name: 'latest',
          ...mysql('5.7'),
          generation: 1,
          importPolicy: { importMode: 'Legacy' },
          referencePolicy: { type: 'Source' },
        },
      ]);
      expect(status).toEqual({ dockerImageRepository: `${host}/team/new` });
    }
  });

  test('2: a label leaves the generation', async () => {
    const before = await team.create('labelled', { tags: [{ name: 'latest', ...mysql('5.7') }] });
    const after = accepted(
      await team.edit('labelled', ({ metadata }) => ({ metadata: { ...metadata, labels: { tier: 'db' } } })),
      200,
    );
    expect(after.metadata).toMatchObject({ generation: 1, labels: { tier: 'db' } });
    expect(after.metadata.resourceVersion).not.toBe(before.metadata.resourceVersion);
    expect(after.spec).toEqual(before.spec);
  });

  test('4: another source makes the next generation of stream and tag, and what the tag is stays', async () => {
    await team.create('sourced', { tags: [{ name: 'latest', ...mysql('5.7') }] });
    const { digest } = await team.push('sourced:latest', 'sourced');
    const edited = accepted(await team.editTags('sourced', ([tag]) => [{ ...tag, ...mysql('8') }]), 200);
    expect(edited.metadata.generation).toBe(2);
    expect(edited.spec.tags).toMatchObject([{ ...mysql('8'), generation: 2 }]);
    expect(await team.items('sourced:latest')).toMatchObject([{ image: digest, generation: 1 }]);
  });

  test('5: a generation that a client makes up changes nothing', async () => {
    await team.create('made-up', { tags: [{ name: 'latest', ...mysql('5.7') }] });
    const edited = accepted(await team.editTags('made-up', ([tag]) => [{ ...tag, generation: 57 }]), 200);
    expect(edited.metadata.generation).toBe(1);
    expect(edited.spec.tags).toMatchObject([{ generation: 1 }]);
    const fresh = accepted(
      await team.editTags('made-up', (tags) => [...tags, { name: 'more', ...mysql('8'), generation: 57 }]),
      200,
    );
    expect(fresh.metadata.generation).toBe(2);
    expect(fresh.spec.tags).toMatchObject([
      { name: 'latest', generation: 1 },
      { name: 'more', generation: 2 },
    ]);
  });

  test('6: generation 0 asks for the next one, of the stream and of the tag', async () => {
    await team.create('again', {
      tags: [
        { name: 'latest', ...mysql('5.7') },
        { name: 'other', ...mysql('8') },
      ],
    });
    const edited = accepted(
      await team.editTags('again', ([latest, other]) => [{ ...latest, generation: 0 }, other!]),
      200,
    );
    expect(edited.metadata.generation).toBe(2);
    expect(edited.spec.tags).toMatchObject([
      { name: 'latest', generation: 2 },
      { name: 'other', generation: 1 },
    ]);
  });
});

describe('status', () => {
  const pullSpec = (image: string) => `quay.io/example/app@${image}`;
  const image = imageNamed('of a status').digest;
  const item = { created: '2026-01-02T03:04:05Z', dockerImageReference: pullSpec(image), image, generation: 9 };
  const status = { tags: [{ tag: 'latest', items: [item] }] };

  test('8: it is ignored in a stream that is made or edited', async () => {
    const made = await team.create('ignored', { tags: [{ name: 'latest', ...mysql('5.7') }] }, { status });
    expect(made.status.tags).toBeUndefined();
    const edited = accepted(await team.edit('ignored', () => ({ status })), 200);
    expect(edited.status.tags).toBeUndefined();
    expect(edited.metadata).toEqual(made.metadata);
    const { digest } = await team.push('ignored:latest', 'ignored');
    accepted(
      await team.edit('ignored', ({ spec }) => ({ status, spec: { ...spec, lookupPolicy: { local: true } } })),
      200,
    );
    expect(await team.images('ignored:latest')).toEqual([digest]);
  });

  test('9: an update of it leaves the tags that are wanted', async () => {
    const made = await team.create('kept', { tags: [{ name: 'latest', ...mysql('5.7') }] });
    const tags = [
      { name: 'latest', ...mysql('8') },
      { name: 'smuggled', ...mysql('5.7') },
    ];
    const updated = accepted(
      await team.edit('kept', () => ({ spec: { tags, dockerImageRepository: 'quay.io/example/app' }, status }), {
        path: '/status',
      }),
      200,
    );
    expect(updated.spec).toEqual(made.spec);
    expect(updated.metadata.generation).toBe(1);
    expect(await team.items('kept:latest')).toEqual([item]);
  });

  test('9: an update of it may leave out what is not meant', async () => {
    await team.create('sparse');
    const bare = { tags: [{ tag: 'latest', items: [{ dockerImageReference: 'quay.io/example/app:1' }] }] };
    accepted(await team.edit('sparse', () => ({ spec: null, status: bare }), { path: '/status' }), 200);
    expect(await team.items('sparse:latest')).toEqual([
      {
        created: expect.any(String) as string,
        dockerImageReference: 'quay.io/example/app:1',
        image: '',
        generation: 1,
      },
    ]);
    accepted(await team.edit('sparse', () => ({ status: null }), { path: '/status' }), 200);
    expect(await team.items('sparse:latest')).toEqual([]);
  });

  test.each([
    { tag: '', items: [item], field: 'status.tags[].name' },
    { tag: 'a/b', items: [item], field: 'status.tags[a/b].name' },
    { tag: 'v1', items: [{}], field: 'status.tags[v1].items[0].dockerImageReference' },
    {
      tag: 'v1',
      items: [{ ...item, dockerImageReference: 'A B' }],
      field: 'status.tags[v1].items[0].dockerImageReference',
    },
    { tag: 'v1', items: [item, { ...item, image: 'sha256:1' }], field: 'status.tags[v1].items[1].image' },
  ])('9: an update of it is refused for $field of tag "$tag"', async ({ tag, items, field }) => {
    await team.putTag('refused:latest', mysql('8'));
    const refused = await team.edit('refused', () => ({ status: { tags: [{ tag, items }] } }), { path: '/status' });
    expect(refused.status).toBe(422);
    expect(refused.body.details.causes).toMatchObject([{ field }]);
  });

  test('10: an item of generation 0 gets that of the wish on a new head, and that of the stream on an old one', async () => {
    await team.create('observed', { tags: [{ name: 'latest', ...mysql('1') }] });
    for (const version of ['2', '3', '4']) {
      accepted(await team.editTags('observed', ([tag]) => [{ ...tag, ...mysql(version) }]), 200);
    }
    accepted(await team.edit('observed', ({ spec }) => ({ spec: { ...spec, lookupPolicy: { local: true } } })), 200);
    const observe = async () => {
      const observed = { tags: [{ tag: 'latest', items: [{ ...item, generation: 0 }] }] };
      const { metadata } = accepted(
        await team.edit('observed', () => ({ status: observed }), { path: '/status' }),
        200,
      );
      expect(metadata.generation).toBe(5);
      return (await team.items('observed:latest')).map(({ generation }) => generation);
    };
    expect(await team.wanted('observed:latest')).toMatchObject({ generation: 4 });
    expect(await observe()).toEqual([4]);
    expect(await observe()).toEqual([5]);
  });
});

describe('validation', () => {
  const create = (name: string, spec: object) =>
    team.send('POST', 'imagestreams', { body: { metadata: { name }, spec } });

  test('12: project and name together have at most 255 characters', async () => {
    const ofLength = (length: number) => 'n'.repeat(length - 'team/'.length);
    accepted(await create(ofLength(255), {}), 201);
    const refused = await create(ofLength(256), {});
    expect(refused).toMatchObject({ status: 422, body: { reason: 'Invalid' } });
    expect(refused.body.message).toContain("'namespace/name' cannot be longer than 255 characters");
  });

  test.each([
    { spec: 'a/b:c', says: 'the repository name may not contain a tag' },
    { spec: `a/b@sha256:${'0'.repeat(64)}`, says: 'the repository name may not contain an ID' },
  ])('13: the repository $spec is refused: $says', async ({ spec, says }) => {
    const refused = await create('from-repository', { dockerImageRepository: spec });
    expect(refused).toMatchObject({
      status: 422,
      body: {
        details: {
          causes: [{ field: 'spec.dockerImageRepository', message: expect.stringContaining(says) as string }],
        },
      },
    });
  });

  test('14: a source of an unknown kind is told the kinds there are', async () => {
    const refused = await create('foo', { tags: [{ name: 'latest', from: { kind: 'Foo', name: 'x' } }] });
    expect(refused.status).toBe(422);
    expect(refused.body.details.causes).toEqual([
      {
        reason: 'FieldValueRequired',
        field: 'spec.tags[latest].from.kind',
        message: "Required value: valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'",
      },
    ]);
  });

  test('16: tags come back in the order of their names, and of two of one name the last', async () => {
    const { spec } = await team.create('ordered', {
      tags: [
        { name: 'z', ...mysql('1') },
        { name: 'a', ...mysql('2') },
        { name: 'a', ...mysql('3') },
      ],
    });
    expect(spec.tags).toMatchObject([
      { name: 'a', ...mysql('3') },
      { name: 'z', ...mysql('1') },
    ]);
    expect(spec.tags).toHaveLength(2);
  });
});
