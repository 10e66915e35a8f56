import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageIndex, imageManifest, pushBlob, pushImage, pushManifest, type PushedImage } from '../support/images.js';
import { startRegistry, user, type Credentials, type TestRegistry } from '../support/registry.js';

const weir = '/apis/weir.dev/v1/namespaces';
const images = '/apis/image.openshift.io/v1/namespaces';

interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
  readonly warnings: string;
}

interface EventList {
  readonly kind: string;
  readonly metadata: { readonly continue?: string };
  readonly items: readonly {
    readonly tag: string;
    readonly generation: number;
    readonly cause: string;
    readonly image?: string;
    readonly backTo?: number;
    readonly current: boolean;
    readonly reason?: string;
    readonly user: { readonly name: string; readonly kind: string };
  }[];
}

interface TagList {
  readonly total: number;
  readonly metadata: { readonly continue?: string };
  readonly items: readonly { readonly tag: string; readonly protectedBy?: string; readonly events: number }[];
}

interface Failure {
  readonly reason: string;
  readonly message: string;
}

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
  for (const project of ['shop', 'ops']) await registry.addProject(project);
});
afterAll(() => registry.stop());

async function call<Body>(
  method: string,
  path: string,
  { body, as, headers }: { readonly body?: unknown; readonly as?: Credentials; readonly headers?: object } = {},
): Promise<Answer<Body>> {
  const response = await registry.api(path, {
    method,
    ...(body !== undefined && { body }),
    ...(as !== undefined && { as }),
    ...(headers !== undefined && { headers: headers as Record<string, string> }),
  });
  const warnings = response.headers.get('Warning') ?? '';
  return { status: response.status, body: (await response.json()) as Body, warnings };
}

async function get<Body>(path: string, as?: Credentials): Promise<Body> {
  const { status, body } = await call<Body>('GET', path, as && { as });
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

const historyOf = (tag: string, query = '') => get<EventList>(`${weir}/shop/imagestreamtags/${tag}/history${query}`);

function rollback(tag: string, spec: object, query = ''): Promise<Answer<Failure & Record<string, unknown>>> {
  return call('POST', `${weir}/shop/imagestreamtags/${tag}/rollback${query}`, { body: { spec } });
}

/** Pushes images one after the other to a tag. */
async function pushes(tag: string, ...names: readonly string[]): Promise<PushedImage[]> {
  const [repository, reference] = tag.split(':') as [string, string];
  const pushed: PushedImage[] = [];
  for (const name of names) pushed.push(await pushImage(registry, `shop/${repository}`, reference, name));
  return pushed;
}

describe('the history of a tag', () => {
  test('has every event, newest first, with who and why', async () => {
    const [one, two] = await pushes('story:prod', 'one', 'two');
    const back = await rollback('story:prod', { to: { steps: 1 }, reason: 'two is broken' });
    expect(back).toMatchObject({
      status: 201,
      body: { kind: 'ImageStreamTag', image: { metadata: { name: one!.digest } } },
    });
    const { kind, items } = await historyOf('story:prod');
    expect(kind).toBe('TagEventList');
    expect(items).toMatchObject([
      { generation: 3, cause: 'rollback', image: one!.digest, backTo: 1, current: true, reason: 'two is broken' },
      { generation: 2, cause: 'push', image: two!.digest, current: false, user: { name: 'admin', kind: 'user' } },
      { generation: 1, cause: 'push', image: one!.digest, current: false },
    ]);
    const pulled = await registry.fetch('/v2/shop/story/manifests/prod');
    expect(pulled.headers.get('Docker-Content-Digest')).toBe(one!.digest);
  });

  test('comes in pages', async () => {
    await pushes('paged:t', 'a', 'b', 'a', 'b', 'a');
    const seen: number[] = [];
    let position: string | undefined;
    do {
      const query = position === undefined ? '' : `&continue=${position}`;
      const page = await historyOf('paged:t', `?limit=2${query}`);
      seen.push(...page.items.map(({ generation }) => generation));
      position = page.metadata.continue;
    } while (position !== undefined);
    expect(seen).toEqual([5, 4, 3, 2, 1]);
  });

  test('is filtered by cause, person and time', async () => {
    await pushes('filtered:t', 'a', 'b');
    await rollback('filtered:t', { to: { generation: 1 } });
    await registry.bind(user.name, 'edit', 'shop');
    await pushImage(registry, 'shop/filtered', 't', 'c', { as: user });
    const generations = async (query: string) =>
      (await historyOf('filtered:t', query)).items.map(({ generation }) => generation);
    expect(await generations('?cause=rollback')).toEqual([3]);
    expect(await generations('?cause=push,rollback')).toEqual([4, 3, 2, 1]);
    expect(await generations(`?user=${user.name}`)).toEqual([4]);
    expect(await generations('?until=2020-01-01')).toEqual([]);
    expect(await generations('?since=2020-01-01T00:00:00Z')).toEqual([4, 3, 2, 1]);
  });

  test.each([
    { query: '?cause=luck', says: 'expected push, tag, import, rollback, delete, undelete' },
    { query: '?since=yesterday', says: 'since: expected a time' },
    { query: '?image=latest', says: 'image: expected a digest' },
    { query: '?continue=xx', says: 'continue key is not valid' },
    { query: '?limit=-1', says: 'limit' },
  ])('is refused for $query', async ({ query, says }) => {
    const { status, body } = await call<Failure>('GET', `${weir}/shop/imagestreamtags/story:prod/history${query}`);
    expect(status).toBe(400);
    expect(body.message).toContain(says);
  });

  test('of a tag that never was is not found', async () => {
    for (const tag of ['story:never', 'nowhere:v1']) {
      expect((await call('GET', `${weir}/shop/imagestreamtags/${tag}/history`)).status).toBe(404);
    }
  });

  test('goes on after the tag was deleted, and the tag can be brought back with it', async () => {
    const [, two] = await pushes('back:t', 'a', 'b');
    await call('DELETE', `${images}/shop/imagestreamtags/back:t`, { headers: { 'Weir-Reason': 'cleaning%20up' } });
    expect((await registry.fetch('/v2/shop/back/manifests/t')).status).toBe(404);
    expect((await historyOf('back:t')).items[0]).toMatchObject({ cause: 'delete', reason: 'cleaning up' });
    const undeleted = await call('POST', `${weir}/shop/imagestreamtags/back:t/undelete`, { body: { spec: {} } });
    expect(undeleted).toMatchObject({ status: 201, body: { image: { metadata: { name: two!.digest } } } });
    expect((await registry.fetch('/v2/shop/back/manifests/t')).headers.get('Docker-Content-Digest')).toBe(two!.digest);
    expect((await historyOf('back:t')).items.map(({ cause }) => cause)).toEqual(['undelete', 'delete', 'push', 'push']);
    const stream = await get<{ status: { tags: { items: unknown[] }[] } }>(`${images}/shop/imagestreams/back`);
    expect(stream.status.tags[0]!.items).toHaveLength(3);
    const again = await call<Failure>('POST', `${weir}/shop/imagestreamtags/back:t/undelete`, { body: { spec: {} } });
    expect(again).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('the tag is there') as string },
    });
  });

  test('is that of all tags for a stream, and of all streams for a project', async () => {
    await pushImage(registry, 'ops/first', 'a', 'x');
    await pushImage(registry, 'ops/second', 'b', 'y');
    await pushImage(registry, 'ops/first', 'c', 'z');
    const stream = await get<EventList>(`${weir}/ops/imagestreams/first/history`);
    expect(stream.items.map(({ tag }) => tag)).toEqual(['c', 'a']);
    const first = await get<EventList>(`${weir}/ops/activities?limit=2`);
    expect(first.items.map(({ tag }) => tag)).toEqual(['c', 'b']);
    const rest = await get<EventList>(`${weir}/ops/activities?limit=2&continue=${first.metadata.continue}`);
    expect(rest.items.map(({ tag }) => tag)).toEqual(['a']);
  });

  test('is nothing for those who may not see the project', async () => {
    for (const path of ['/ops/activities', '/ops/imagestreams/first/history', '/ops/imagestreamtags/first:a/history']) {
      expect((await call('GET', `${weir}${path}`, { as: outsider })).status).toBe(403);
    }
  });
});

const outsider: Credentials = { name: 'outsider', password: 'outsider-secret' };
beforeAll(() => registry.addUser({ ...outsider, role: 'user' }));

describe('a rollback', () => {
  test('goes to an event by its number, or to an image', async () => {
    const [a, b] = await pushes('to:t', 'a', 'b', 'c');
    await rollback('to:t', { to: { generation: 1 } });
    expect((await historyOf('to:t')).items[0]).toMatchObject({ image: a!.digest, backTo: 1 });
    await rollback('to:t', { to: { image: b!.digest } });
    expect((await historyOf('to:t')).items[0]).toMatchObject({ image: b!.digest, backTo: 2 });
  });

  test('is only tried with dryRun, and tells what would move with it', async () => {
    const [a] = await pushes('tried:t', 'a', 'b');
    const from = { kind: 'ImageStreamTag', name: 'tried:t' };
    await call('PUT', `${images}/shop/imagestreamtags/tried:follower`, {
      body: { metadata: { name: 'tried:follower' }, tag: { name: 'follower', from } },
    });
    const { status, body, warnings } = await rollback('tried:t', { to: { steps: 1 } }, '?dryRun=All');
    expect(status).toBe(201);
    expect(body).toMatchObject({ image: { metadata: { name: a!.digest } }, consequences: { moves: ['follower'] } });
    expect(warnings).toContain('follower follows t and would move with it');
    expect((await historyOf('tried:t')).items).toHaveLength(2);
  });

  test.each([
    { spec: {}, status: 422, says: 'spec.to: Required value' },
    { spec: { to: {} }, status: 422, says: 'give exactly one of steps, generation and image' },
    { spec: { to: { steps: 1, generation: 1 } }, status: 422, says: 'give exactly one' },
    { spec: { to: { steps: 0 } }, status: 422, says: 'expected a number from 1' },
    { spec: { to: { image: 'v1' } }, status: 422, says: 'expected a digest' },
    { spec: { to: { steps: 99 } }, status: 400, says: 'has no 99 earlier entries' },
    { spec: { to: { generation: 99 } }, status: 404, says: 'story:prod@99' },
    { spec: { to: { steps: 1 }, reason: 'two\nlines' }, status: 400, says: 'one line' },
  ])('to $spec is refused with $status', async ({ spec, status, says }) => {
    const answer = await rollback('story:prod', spec);
    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(says);
  });

  test('to an image whose manifest was deleted is refused', async () => {
    const [a] = await pushes('gone:t', 'a', 'b');
    await registry.fetch(`/v2/shop/gone/manifests/${a!.digest}`, { method: 'DELETE' });
    const { status, body } = await rollback('gone:t', { to: { generation: 1 } });
    expect(status).toBe(409);
    expect(body.message).toContain(`image ${a!.digest} was deleted`);
  });

  test('pauses the schedule of a tag, so that the next import does not undo it', async () => {
    await pushes('paused:t', 'a', 'b');
    const tag = { name: 't', from: { kind: 'DockerImage', name: 'quay.io/x/y:1' }, importPolicy: { scheduled: true } };
    await call('PUT', `${images}/shop/imagestreamtags/paused:t`, { body: { metadata: { name: 'paused:t' }, tag } });
    await rollback('paused:t', { to: { steps: 1 } });
    const { items } = await get<{ items: Record<string, unknown>[] }>(`${weir}/shop/imagestreams/paused/tags`);
    expect(items[0]).toMatchObject({ tag: 't', scheduled: false });
    const istag = await get<{ metadata: { annotations: object } }>(`${images}/shop/imagestreamtags/paused:t`);
    expect(Object.keys(istag.metadata.annotations)).toEqual(['weir.dev/schedule-paused']);
    // It goes on when the annotation is taken away.
    const resumed = await registry.api(`${images}/shop/imagestreamtags/paused:t`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/merge-patch+json' },
      body: { metadata: { annotations: { 'weir.dev/schedule-paused': null } } },
    });
    expect(resumed.status).toBe(200);
    const after = await get<{ items: Record<string, unknown>[] }>(`${weir}/shop/imagestreams/paused/tags`);
    expect(after.items[0]).toMatchObject({ tag: 't', scheduled: true });
  });
});

describe('the tags of a stream', () => {
  beforeAll(async () => {
    for (const tag of ['v10', 'v2', 'v1', 'latest', 'feature_x'])
      await pushImage(registry, 'shop/many', tag, `many-${tag}`);
    await pushImage(registry, 'shop/many', 'v1', 'many-v1-again-and-longer');
  });

  const tags = async (query: string) => {
    const list = await get<TagList>(`${weir}/shop/imagestreams/many/tags${query}`);
    return list.items.map(({ tag }) => tag);
  };

  test('are in the order that people expect, or by change or size', async () => {
    expect(await tags('')).toEqual(['feature_x', 'latest', 'v1', 'v2', 'v10']);
    expect(await tags('?sort=-name')).toEqual(['v10', 'v2', 'v1', 'latest', 'feature_x']);
    expect(await tags('?sort=-changed')).toEqual(['v1', 'feature_x', 'latest', 'v2', 'v10']);
    expect((await tags('?sort=-size'))[0]).toBe('v1');
  });

  test('are found by a glob, a part of the name, or a digest', async () => {
    expect(await tags('?q=v*')).toEqual(['v1', 'v2', 'v10']);
    expect(await tags('?q=v?')).toEqual(['v1', 'v2']);
    expect(await tags('?q=ture_')).toEqual(['feature_x']);
    expect(await tags('?q=V*')).toEqual([]);
    const digest = (await registry.fetch('/v2/shop/many/manifests/v2')).headers.get('Docker-Content-Digest')!;
    expect(await tags(`?q=${digest.slice(0, 20)}`)).toEqual(['v2']);
  });

  test('come in pages, with how many there are', async () => {
    for (const sort of ['name', '-changed', 'size']) {
      const first = await get<TagList>(`${weir}/shop/imagestreams/many/tags?sort=${sort}&limit=3`);
      expect(first).toMatchObject({ total: 5, items: { length: 3 } });
      const rest = await get<TagList>(
        `${weir}/shop/imagestreams/many/tags?sort=${sort}&limit=3&continue=${first.metadata.continue}`,
      );
      expect(rest.items).toHaveLength(2);
      expect(new Set([...first.items, ...rest.items].map(({ tag }) => tag)).size).toBe(5);
    }
    expect(await get<TagList>(`${weir}/shop/imagestreams/many/tags?q=v*&limit=1`)).toMatchObject({ total: 3 });
  });

  test('tell how many entries their history has', async () => {
    const { items } = await get<TagList>(`${weir}/shop/imagestreams/many/tags?q=v1`);
    expect(items[0]).toMatchObject({
      tag: 'v1',
      events: 2,
      user: { name: 'admin', kind: 'user' },
      platforms: ['linux/amd64'],
    });
  });

  test.each(['?sort=luck', '?state=sad', '?continue=!', `?q=${'a'.repeat(300)}`])(
    'are refused for %s',
    async (query) => {
      expect((await call('GET', `${weir}/shop/imagestreams/many/tags${query}`)).status).toBe(400);
    },
  );
});

describe('a comparison', () => {
  test('of two events of a tag says what changed', async () => {
    const config = (version: string) =>
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: { Env: [`VERSION=${version}`], Labels: { v: version } },
        history: [{ created_by: 'base' }, { created_by: `install ${version}` }],
      });
    for (const version of ['1', '2']) {
      const pushed = await pushBlob(registry, 'shop/diff', config(version));
      const base = await pushBlob(registry, 'shop/diff', 'base');
      const layer = await pushBlob(registry, 'shop/diff', `layer ${version}`);
      await pushManifest(registry, 'shop/diff', imageManifest(pushed, [base, layer]), 't');
    }
    const comparison = await get(`${weir}/shop/imagestreamtags/diff:t/compare?from=1&to=2`);
    expect(comparison).toMatchObject({
      kind: 'ImageComparison',
      from: { tag: 't', generation: 1 },
      to: { tag: 't', generation: 2 },
      platforms: [
        {
          name: 'linux/amd64',
          environment: { changed: [{ name: 'VERSION', from: '1', to: '2' }] },
          layers: { kept: 1, added: [{ createdBy: 'install 2' }], removed: [{ createdBy: 'install 1' }] },
        },
      ],
    });
    expect(await get(`${weir}/shop/imagestreams/diff/compare?from=t@1&to=t`)).toMatchObject({
      from: { generation: 1 },
    });
  });

  test('of indexes goes platform by platform', async () => {
    const child = async (name: string, architecture: string) => {
      const config = await pushBlob(registry, 'shop/multi', JSON.stringify({ architecture, os: 'linux', name }));
      return pushManifest(registry, 'shop/multi', imageManifest(config, []));
    };
    const index = async (tag: string, architectures: readonly string[]) => {
      const children = [];
      for (const architecture of architectures) {
        const manifest = await child(tag, architecture);
        children.push({ ...manifest, platform: { os: 'linux', architecture } });
      }
      const manifests = children.map(({ mediaType, digest, bytes, platform }) => ({
        mediaType,
        digest,
        size: bytes.length,
        platform,
      }));
      await pushManifest(registry, 'shop/multi', imageIndex([], { manifests }), tag);
    };
    await index('old', ['amd64', 'arm64', 's390x']);
    await index('new', ['amd64', 'arm64', 'ppc64le']);
    expect(await get(`${weir}/shop/imagestreams/multi/compare?from=old&to=new`)).toMatchObject({
      platforms: [{ name: 'linux/amd64' }, { name: 'linux/arm64' }],
      onlyIn: { from: ['linux/s390x'], to: ['linux/ppc64le'] },
    });
    const one = await get<{ platforms: unknown[] }>(
      `${weir}/shop/imagestreams/multi/compare?from=old&to=new&platform=linux/arm64`,
    );
    expect(one.platforms).toHaveLength(1);
  });

  test('shows nothing of an image that the repository does not have', async () => {
    const secret = await pushImage(registry, 'ops/secret', 'v1', 'secret');
    const { status } = await call('GET', `${weir}/shop/imagestreams/diff/compare?from=t&to=${secret.digest}`);
    expect(status).toBe(404);
  });
});

describe('a protected tag', () => {
  beforeAll(async () => {
    await registry.addProject('kept');
    const spec = {
      protect: [{ tags: ['v*'], overriddenBy: [{ kind: 'User', name: 'user' }] }],
      requireReason: ['rollback'],
    };
    await call('POST', `${weir}/kept/tagpolicies`, { body: { metadata: { name: 'releases' }, spec } });
    await registry.bind(user.name, 'edit', 'kept');
    await pushImage(registry, 'kept/app', 'v1', 'first');
    await pushImage(registry, 'kept/app', 'dev', 'first');
  });

  const istag = (tag: string, source: string) => ({
    body: {
      metadata: { name: `app:${tag}` },
      tag: { name: tag, from: { kind: 'ImageStreamTag', name: `app:${source}` } },
    },
  });

  test('may be pushed again as it is, and no other way', async () => {
    await pushImage(registry, 'kept/app', 'v1', 'first');
    await expect(pushImage(registry, 'kept/app', 'v1', 'second')).rejects.toThrow(/DENIED.*policy releases, tags v\*/);
    await pushImage(registry, 'kept/app', 'dev', 'second');
    const tagged = await call<Failure>('PUT', `${images}/kept/imagestreamtags/app:v1`, istag('v1', 'dev'));
    expect(tagged).toMatchObject({
      status: 403,
      body: { message: expect.stringContaining('policy releases') as string },
    });
    expect((await call('DELETE', `${images}/kept/imagestreamtags/app:v1`)).status).toBe(403);
    expect((await call('DELETE', `${images}/kept/imagestreams/app`)).status).toBe(403);
    const digest = (await registry.fetch('/v2/kept/app/manifests/v1')).headers.get('Docker-Content-Digest')!;
    for (const reference of ['v1', digest]) {
      expect((await registry.fetch(`/v2/kept/app/manifests/${reference}`, { method: 'DELETE' })).status).toBe(403);
    }
    expect(await get<TagList>(`${weir}/kept/imagestreams/app/tags?state=protected`)).toMatchObject({
      total: 1,
      items: [{ tag: 'v1', protectedBy: 'policy releases, tags v*' }],
    });
  });

  test('does not move with the tag that it follows', async () => {
    await call('PUT', `${images}/kept/imagestreamtags/app:v2`, istag('v2', 'dev'));
    await expect(pushImage(registry, 'kept/app', 'dev', 'third')).rejects.toThrow(/tag v2 of kept\/app is protected/);
    await call('DELETE', `${images}/kept/imagestreamtags/app:v2`, { as: user });
  });

  test('is moved by those who may override it', async () => {
    await pushImage(registry, 'kept/app', 'v1', 'fourth', { as: user });
    const answer = await call<Failure>('POST', `${weir}/kept/imagestreamtags/app:v1/rollback`, {
      as: user,
      body: { spec: { to: { steps: 1 } } },
    });
    expect(answer).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('wants a reason') as string },
    });
    const given = { as: user, body: { spec: { to: { steps: 1 } } }, headers: { 'Weir-Reason': 'fourth%20fails' } };
    expect((await call('POST', `${weir}/kept/imagestreamtags/app:v1/rollback`, given)).status).toBe(201);
  });
});
