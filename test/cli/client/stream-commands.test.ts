import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/cli/usage-error.js';
import { failure, startAnswering, type Answers, type AnsweringServer } from './answering-server.js';
import { ClientTerminal } from './client-terminal.js';

const one = `sha256:${'1'.repeat(64)}`;
const two = `sha256:${'2'.repeat(64)}`;
const image = '/apis/image.openshift.io/v1/namespaces/shop';
const weir = '/apis/weir.dev/v1/namespaces/shop';

async function open(
  answers: Answers,
): Promise<{ readonly server: AnsweringServer; readonly terminal: ClientTerminal }> {
  const server = await startAnswering(answers);
  return { server, terminal: await ClientTerminal.open({ WEIR_SERVER: server.url, WEIR_TOKEN: 'sha256~t' }) };
}

function streamTag(digest: string, more: object = {}): object {
  return {
    kind: 'ImageStreamTag',
    apiVersion: 'image.openshift.io/v1',
    metadata: { name: 'app:prod', namespace: 'shop' },
    tag: null,
    generation: 3,
    image: { metadata: { name: digest }, dockerImageReference: `reg.example/shop/app@${digest}` },
    ...more,
  };
}

const event = {
  metadata: { name: 'app:prod@7', namespace: 'shop', creationTimestamp: '2026-05-01T11:00:00Z' },
  stream: 'app',
  tag: 'prod',
  generation: 7,
  current: true,
  created: '2026-05-01T11:00:00.000Z',
  user: { name: 'ada', kind: 'user' },
  cause: 'rollback',
  reason: 'v2 loses orders',
  image: one,
  source: 'app:prod@5',
  backTo: 5,
  size: 5_249_000,
  platforms: ['linux/amd64'],
  version: '1.4.0',
};

const events = [
  event,
  {
    ...event,
    generation: 6,
    current: false,
    created: '2026-04-30T12:00:00.000Z',
    user: { name: 'system:serviceaccount:shop:ci', kind: 'service-account' },
    cause: 'tag',
    reason: undefined,
    image: two,
    source: `ImageStreamImage base/app@${two}`,
    backTo: undefined,
    version: undefined,
  },
  {
    ...event,
    generation: 5,
    current: false,
    cause: 'delete',
    image: undefined,
    source: undefined,
    backTo: undefined,
    size: undefined,
  },
];

describe('weir history', () => {
  test('tells when, who, how, from where, what, how large and why, and which it is now', async () => {
    const { server, terminal } = await open({
      [`GET ${weir}/imagestreamtags/app:prod/history`]: { kind: 'TagEventList', metadata: {}, items: events },
    });
    const { stdout } = await terminal.weir('history', 'shop/app:prod');
    const [heading, ...rows] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(heading).toEqual(['', 'EVENT', 'WHEN', 'AGE', 'WHO', 'HOW', 'FROM', 'IMAGE', 'SIZE', 'VERSION', 'REASON']);
    expect(rows).toEqual([
      [
        '*',
        '7',
        '2026-05-01T11:00:00Z',
        '60m',
        'ada',
        'rollback',
        'back to 5',
        'sha256:111111111111',
        '5.2MB',
        '1.4.0',
        'v2 loses orders',
      ],
      [
        '',
        '6',
        '2026-04-30T12:00:00Z',
        '24h',
        'system:serviceaccount:shop:ci',
        'tag',
        'ImageStreamImage base/app@sha256:222222222222',
        'sha256:222222222222',
        '5.2MB',
      ],
      ['', '5', '2026-05-01T11:00:00Z', '60m', 'ada', 'delete', '-', '1.4.0', 'v2 loses orders'],
    ]);
    expect(server.requests[0]!.query).toEqual({ limit: '50' });
  });

  test.each([
    { name: 'a stream', args: ['shop/a/b'], path: `${weir}/imagestreams/a__b/history`, columns: / TAG +EVENT/ },
    { name: 'a project', args: ['-n', 'shop'], path: `${weir}/activities`, columns: / STREAM +TAG +EVENT/ },
  ])('of $name tells which tag it was', async ({ args, path, columns }) => {
    const { terminal } = await open({ [`GET ${path}`]: { items: events } });
    expect((await terminal.weir('history', ...args)).stdout).toMatch(columns);
  });

  test('asks for what is wanted, as far back as is said', async () => {
    const path = `${weir}/imagestreams/app/history`;
    const { server, terminal } = await open({ [`GET ${path}`]: { items: [] } });
    const { stderr } = await terminal.weir(
      ...[
        'history',
        'shop/app',
        '--cause',
        'push',
        '--user',
        'ada',
        '--since',
        '3d',
        '--until',
        '2026-04-30',
        '--limit',
        '7',
      ],
    );
    expect(server.requests[0]!.query).toEqual({
      cause: 'push',
      user: 'ada',
      since: '2026-04-28T12:00:00Z',
      until: '2026-04-30T00:00:00Z',
      limit: '7',
    });
    expect(stderr).toBe('Nothing of that kind has happened to shop/app.\n');
  });

  test('reads page by page until there is no more, and gives all of it to a program', async () => {
    const page = (generation: number, next?: string): object => ({
      body: {
        kind: 'TagEventList',
        apiVersion: 'weir.dev/v1',
        metadata: { continue: next },
        items: [{ ...event, generation }],
      },
    });
    const { server, terminal } = await open({
      [`GET ${weir}/imagestreamtags/app:prod/history`]: [page(3, 'a'), page(2, 'b'), page(1)],
    });
    const { stdout } = await terminal.weir('history', 'shop/app:prod', '--limit', '0', '-o', 'json');
    expect(server.requests.map(({ query }) => query['continue'])).toEqual([undefined, 'a', 'b']);
    const list = JSON.parse(stdout) as { kind: string; items: { generation: number }[] };
    expect(list.kind).toBe('TagEventList');
    expect(list.items.map(({ generation }) => generation)).toEqual([3, 2, 1]);
  });

  test('says when there is more than was asked for', async () => {
    const list = { metadata: { continue: 'x' }, items: [event] };
    const { terminal } = await open({ [`GET ${weir}/imagestreamtags/app:prod/history`]: list });
    const { stderr } = await terminal.weir('history', 'shop/app:prod', '--limit', '1');
    expect(stderr).toBe('These are the last 1; --limit 0 tells all.\n');
  });
});

describe('weir tags', () => {
  const list = {
    kind: 'StreamTagList',
    metadata: { continue: 'x' },
    total: 41,
    items: [
      {
        metadata: { name: 'app:v1', namespace: 'shop' },
        tag: 'v1',
        image: one,
        cause: 'push',
        user: { name: 'ada', kind: 'user' },
        changed: '2026-05-01T09:00:00Z',
        size: 1200,
        platforms: ['linux/amd64', 'linux/arm64'],
        version: '1.4.0',
        events: 2,
        protectedBy: 'protect-v',
        scheduled: true,
        failing: false,
      },
    ],
  };

  test('shows what each tag is', async () => {
    const { server, terminal } = await open({ [`GET ${weir}/imagestreams/app/tags`]: list });
    const args = ['tags', 'shop/app', '-q', 'v*', '--sort', '-changed', '--state', 'protected', '--limit', '1'];
    const { stdout, stderr } = await terminal.weir(...args);
    expect(server.requests[0]!.query).toEqual({ q: 'v*', sort: '-changed', state: 'protected', limit: '1' });
    const [heading, row] = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(heading).toEqual(['TAG', 'IMAGE', 'HOW', 'WHO', 'AGE', 'SIZE', 'PLATFORMS', 'VERSION', 'EVENTS', 'STATE']);
    expect(row).toEqual([
      'v1',
      'sha256:111111111111',
      'push',
      'ada',
      '3h',
      '1.2kB',
      'linux/amd64,linux/arm64',
      '1.4.0',
      '2',
      'protected by protect-v, scheduled',
    ]);
    expect(stderr).toBe('These are 1 of 41; --limit 0 lists all, and --query some.\n');
  });

  test('gives a program the list with its total', async () => {
    const { terminal } = await open({ [`GET ${weir}/imagestreams/app/tags`]: list });
    const { stdout } = await terminal.weir('tags', 'shop/app', '--limit', '1', '-o', 'json');
    expect(JSON.parse(stdout)).toEqual({ ...list });
  });

  test('knows the project that is current', async () => {
    const { server, terminal } = await open({ [`GET ${weir}/imagestreams/app/tags`]: { items: [] } });
    await terminal.weir('tags', 'app', '--project', 'shop');
    await terminal.write(
      '.kube/config',
      `
current-context: c
clusters: [{name: k, cluster: {server: '${server.url}'}}]
contexts: [{name: c, context: {cluster: k, user: u, namespace: shop}}]
`,
    );
    await terminal.weir('tags', 'app');
    expect(server.requests).toHaveLength(2);
  });
});

test('weir streams lists the streams of a project by the names of their repositories', async () => {
  const { terminal } = await open({
    [`GET ${image}/imagestreams`]: {
      items: [
        {
          metadata: { name: 'a__b', namespace: 'shop' },
          status: {
            dockerImageRepository: 'reg.example/shop/a/b',
            tags: [
              { tag: 'v1', items: [{ created: '2026-05-01T10:00:00Z', image: one }] },
              { tag: 'v2', items: null },
            ],
          },
        },
      ],
    },
  });
  const { stdout } = await terminal.weir('streams', 'shop');
  expect(stdout).toMatch(/^STREAM +TAGS +CHANGED +REPOSITORY\na\/b +2 +120m +reg\.example\/shop\/a\/b\n$/);
});

describe('weir tag', () => {
  test('points a tag at the image that another is now, as oc tag does', async () => {
    const { server, terminal } = await open({
      [`GET ${image}/imagestreamtags/app:v1`]: streamTag(one),
      [`PUT ${image}/imagestreamtags/app:prod`]: streamTag(one),
    });
    const { stdout } = await terminal.weir('tag', 'shop/app:v1', 'shop/app:prod', '--reason', 'größer – 12');
    expect(stdout).toBe('shop/app:prod is sha256:111111111111\n');
    const put = server.requests[1]!;
    expect(decodeURIComponent(String(put.headers['weir-reason']))).toBe('größer – 12');
    expect(put.body).toEqual({
      kind: 'ImageStreamTag',
      apiVersion: 'image.openshift.io/v1',
      metadata: { name: 'app:prod', namespace: 'shop' },
      tag: {
        name: 'prod',
        annotations: null,
        from: { kind: 'ImageStreamImage', namespace: 'shop', name: `app@${one}` },
        generation: null,
        importPolicy: { importMode: 'Legacy' },
        referencePolicy: { type: 'Source' },
      },
      generation: 0,
      lookupPolicy: { local: false },
      image: { metadata: {}, dockerImageMetadata: null },
    });
  });

  test.each([
    {
      name: 'a digest, as it is typed',
      args: ['shop/app@sha256:12ab34cd'],
      tag: { from: { kind: 'ImageStreamImage', namespace: 'shop', name: 'app@sha256:12ab34cd' } },
    },
    {
      name: 'an image of another registry',
      args: ['quay.io/team/app:v1', '--scheduled', '--insecure-source', '--reference-policy', 'local'],
      tag: {
        from: { kind: 'DockerImage', name: 'quay.io/team/app:v1' },
        importPolicy: { importMode: 'Legacy', scheduled: true, insecure: true },
        referencePolicy: { type: 'Local' },
      },
    },
    {
      name: 'an image of another registry that is named without it',
      args: ['busybox', '--source', 'registry', '--reference', '--import-mode', 'PreserveOriginal'],
      tag: {
        from: { kind: 'DockerImage', name: 'busybox' },
        reference: true,
        importPolicy: { importMode: 'PreserveOriginal' },
      },
    },
    {
      name: 'whatever another tag will be',
      args: ['--alias', 'shop/app:v1'],
      tag: { from: { kind: 'ImageStreamTag', name: 'app:v1' } },
    },
  ])('points a tag at $name', async ({ args, tag }) => {
    const { server, terminal } = await open({ [`PUT ${image}/imagestreamtags/app:prod`]: streamTag('') });
    await terminal.weir('tag', ...args, 'shop/app:prod');
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]!.body).toMatchObject({ tag });
  });

  test('knows its own server by the host of a reference', async () => {
    const { server, terminal } = await open({
      [`GET ${image}/imagestreamtags/app:v1`]: streamTag(one),
      [`PUT ${image}/imagestreamtags/app:prod`]: streamTag(one),
    });
    await terminal.weir('tag', `${server.host}/shop/app:v1`, 'shop/app:prod');
    expect(server.requests[1]!.body).toMatchObject({ tag: { from: { kind: 'ImageStreamImage' } } });
  });

  test('tries again when somebody else wrote at the same moment, but not for ever', async () => {
    const changed = failure(409, 'Conflict', 'the object has been modified');
    const put = `PUT ${image}/imagestreamtags/app:prod`;
    const lucky = await open({ [put]: [changed, changed, { body: streamTag(one) }] });
    await lucky.terminal.weir('tag', `shop/app@${one}`, 'shop/app:prod');
    expect(lucky.server.requests).toHaveLength(3);
    const unlucky = await open({ [put]: Array.from({ length: 9 }, () => changed) });
    await expect(unlucky.terminal.weir('tag', `shop/app@${one}`, 'shop/app:prod')).rejects.toThrow('has been modified');
    expect(unlucky.server.requests).toHaveLength(5);
  });

  test.each([
    { name: '-d', args: ['tag', '-d'] },
    { name: 'untag', args: ['untag'] },
  ])('deletes tags by $name', async ({ args }) => {
    const { server, terminal } = await open({
      [`DELETE ${image}/imagestreamtags/app:a`]: { kind: 'Status', status: 'Success' },
      [`DELETE ${image}/imagestreamtags/app:b`]: { kind: 'Status', status: 'Success' },
    });
    const { stdout } = await terminal.weir(...args, 'shop/app:a', 'shop/app:b', '--reason', 'old');
    expect(stdout).toBe('shop/app:a is deleted\nshop/app:b is deleted\n');
    expect(server.requests.map(({ headers }) => headers['weir-reason'])).toEqual(['old', 'old']);
  });

  test('only tries with --dry-run', async () => {
    const { server, terminal } = await open({ [`DELETE ${image}/imagestreamtags/app:a`]: { kind: 'Status' } });
    expect((await terminal.weir('untag', 'shop/app:a', '--dry-run')).stdout).toBe('shop/app:a would be deleted\n');
    expect(server.requests[0]!.query).toEqual({ dryRun: 'All' });
  });
});

describe('weir rollback', () => {
  const path = `${weir}/imagestreamtags/app:prod/rollback`;

  test.each([
    { args: [], to: { steps: 1 } },
    { args: ['--steps', '2'], to: { steps: 2 } },
    { args: ['--to', '41'], to: { generation: 41 } },
    { args: ['--to', one], to: { image: one } },
  ])('$args goes back to $to', async ({ args, to }) => {
    const { server, terminal } = await open({ [`POST ${path}`]: streamTag(one) });
    const { stdout } = await terminal.weir('rollback', 'shop/app:prod', ...args, '--reason', 'v2 loses orders');
    expect(stdout).toBe('shop/app:prod is sha256:111111111111 again\n');
    expect(server.requests[0]!.body).toEqual({
      kind: 'TagRollback',
      apiVersion: 'weir.dev/v1',
      spec: { to, reason: 'v2 loses orders' },
    });
  });

  test('takes the digits of a digest that the history shows', async () => {
    const { server, terminal } = await open({
      [`GET ${image}/imagestreamimages/app@sha256:111111111111`]: { image: { metadata: { name: one } } },
      [`POST ${path}`]: streamTag(one),
    });
    await terminal.weir('rollback', 'shop/app:prod', '--to', 'sha256:111111111111');
    expect(server.requests[1]!.body).toMatchObject({ spec: { to: { image: one } } });
  });

  test('tells what else would change when it is only tried', async () => {
    const { server, terminal } = await open({
      [`POST ${path}`]: [
        {
          headers: { Warning: '299 - "tag stable follows prod and would move with it"' },
          body: streamTag(one, { consequences: { moves: ['stable'], untagged: [two] } }),
        },
      ],
    });
    const { stdout, stderr } = await terminal.weir('rollback', 'shop/app:prod', '--dry-run');
    expect(server.requests[0]!.query).toEqual({ dryRun: 'All' });
    expect(stdout).toBe('shop/app:prod would be sha256:111111111111 again\n');
    expect(stderr).toBe(
      'warning: tag stable follows prod and would move with it\nNo tag would point at sha256:222222222222 any more.\n',
    );
  });

  test('is refused by a rule in its own words', async () => {
    const refusal = failure(403, 'Forbidden', 'tag prod is protected by rule "protect-v"');
    const { terminal } = await open({ [`POST ${path}`]: [refusal] });
    await expect(terminal.weir('rollback', 'shop/app:prod')).rejects.toThrow(
      'tag prod is protected by rule "protect-v"',
    );
  });
});

test('weir undelete brings a tag back', async () => {
  const { server, terminal } = await open({ [`POST ${weir}/imagestreamtags/app:old/undelete`]: streamTag(two) });
  expect((await terminal.weir('undelete', 'shop/app:old')).stdout).toBe('shop/app:old is sha256:222222222222 again\n');
  expect(server.requests[0]!.body).toEqual({ kind: 'TagUndelete', apiVersion: 'weir.dev/v1', spec: {} });
});

describe('weir diff', () => {
  const path = `GET ${weir}/imagestreams/app/compare`;
  const comparison = {
    kind: 'ImageComparison',
    platforms: [
      {
        image: { from: one, to: two },
        version: { from: '1.4.0', to: null },
        name: 'linux/amd64',
        platform: { from: 'linux/amd64', to: 'linux/amd64' },
        created: { from: null, to: null },
        size: { from: 1_000_000, to: 2_500_000 },
        config: { cmd: { from: ['serve'], to: ['serve', '--fast'] }, user: { from: 'root', to: null } },
        environment: {
          added: [{ name: 'B', value: '2' }],
          removed: [{ name: 'C', value: '3' }],
          changed: [{ name: 'A', from: '1', to: '\u001b[2J9' }],
        },
        labels: { added: [], removed: [], changed: [] },
        layers: {
          kept: 3,
          keptSize: 900_000,
          added: [{ digest: two, size: 1_600_000, createdBy: 'RUN make' }],
          removed: [{ digest: one, size: 100_000 }],
        },
      },
    ],
    onlyIn: { from: [], to: ['linux/arm64'] },
  };

  test('tells what is different, and nothing else', async () => {
    const { server, terminal } = await open({ [path]: comparison });
    const { stdout } = await terminal.weir('diff', 'shop/app:v1', `shop/app@${two}`, '--platform', 'linux/amd64');
    expect(server.requests[0]!.query).toEqual({ from: 'v1', to: two, platform: 'linux/amd64' });
    expect(stdout).toBe(`v1 -> ${two}
platform linux/amd64
image sha256:111111111111 -> sha256:222222222222
version 1.4.0 -> (none)
size 1.0MB -> 2.5MB
settings
  cmd:
  - ["serve"]
  + ["serve","--fast"]
  user:
  - root
environment
  - A=1
  + A=[2J9
  + B=2
  - C=3
layers: 3 (900kB) are in both
  - sha256:111111111111   100kB
  + sha256:222222222222   1.6MB  RUN make

+ platform linux/arm64
`);
  });

  test.each([
    { args: ['shop/app:prod', '--from', '41', '--to', '44'], query: { from: 'prod@41', to: 'prod@44' } },
    { args: ['shop/app:prod', '--from', '41'], query: { from: 'prod@41', to: 'prod' } },
  ])('$args compares events of a tag', async ({ args, query }) => {
    const { server, terminal } = await open({ [path]: comparison });
    await terminal.weir('diff', ...args);
    expect(server.requests[0]!.query).toEqual(query);
  });

  test('of one tag tells what its last change changed', async () => {
    const { server, terminal } = await open({
      [`GET ${weir}/imagestreamtags/app:prod/history`]: { items: events.slice(0, 2) },
      [path]: comparison,
    });
    await terminal.weir('diff', 'shop/app:prod');
    expect(server.requests[1]!.query).toEqual({ from: 'prod@6', to: 'prod@7' });
  });

  test('of a tag that has never changed says so', async () => {
    const { terminal } = await open({ [`GET ${weir}/imagestreamtags/app:prod/history`]: { items: [event] } });
    await expect(terminal.weir('diff', 'shop/app:prod')).rejects.toThrow('shop/app:prod has changed less than twice');
  });
});

describe('weir import', () => {
  const imports = `POST ${image}/imagestreamimports`;

  test('fails when a tag failed, and shows what the registry said', async () => {
    const failed = { tag: '7', status: { status: 'Failure', message: 'you may not have this\u001b[2J' } };
    const { terminal } = await open({ [imports]: [{ status: 201, body: { status: { images: [failed] } } }] });
    const run = terminal.weir('import', 'shop/redis:7', '--from', 'q.io/redis:7');
    await expect(run).rejects.toThrow('not everything was imported into shop/redis:7: 7 failed');
  });

  test('shows plainly that a server cannot import', async () => {
    const { terminal } = await open({
      [imports]: [failure(404, 'NotFound', 'the server could not find the requested resource', {})],
    });
    await expect(terminal.weir('import', 'shop/redis:7', '--from', 'q.io/redis:7')).rejects.toThrow(
      'the server could not find the requested resource',
    );
  });

  test('without a source that is known asks for one', async () => {
    const { terminal } = await open({});
    await expect(terminal.weir('import', 'shop/redis:7')).rejects.toThrow(
      'shop/redis:7 does not come from another registry; name one with --from',
    );
  });
});

describe('weir policy', () => {
  const created = { metadata: { name: 'protect-x7k2p', namespace: 'shop' } };

  test.each([
    {
      name: 'protects tags',
      args: [
        'protect',
        'shop',
        'v*',
        '!v0*',
        '--stream',
        'a/*',
        '--override',
        'user:bob',
        '--override',
        'serviceaccount:ci/robot',
      ],
      prefix: 'protect-',
      spec: {
        streams: ['a__*'],
        protect: [
          {
            tags: ['v*', '!v0*'],
            overriddenBy: [
              { kind: 'User', name: 'bob' },
              { kind: 'ServiceAccount', namespace: 'ci', name: 'robot' },
            ],
          },
        ],
      },
    },
    {
      name: 'asks for reasons',
      args: ['require-reason', 'shop', 'tag', 'rollback'],
      prefix: 'reason-',
      spec: { streams: ['*'], requireReason: ['tag', 'rollback'] },
    },
    {
      name: 'keeps events',
      args: ['keep', 'shop', '1000'],
      prefix: 'keep-',
      spec: { streams: ['*'], keepEvents: 1000 },
    },
  ])('$name', async ({ args, prefix, spec }) => {
    const { server, terminal } = await open({ [`POST ${weir}/tagpolicies`]: [{ status: 201, body: created }] });
    expect((await terminal.weir('policy', ...args)).stdout).toBe('policy protect-x7k2p counts in shop from now on\n');
    expect(server.requests[0]!.body).toEqual({
      kind: 'TagPolicy',
      apiVersion: 'weir.dev/v1',
      metadata: { generateName: prefix, namespace: 'shop' },
      spec,
    });
  });

  test('lists what there is', async () => {
    const { terminal } = await open({
      [`GET ${weir}/tagpolicies`]: {
        items: [
          {
            metadata: { name: 'p' },
            spec: {
              streams: ['app'],
              protect: [{ tags: ['v*'], overriddenBy: [{ kind: 'User', name: 'bob' }] }],
              requireReason: ['tag'],
              keepEvents: 9,
            },
          },
        ],
      },
    });
    const [heading, row] = (await terminal.weir('policy', 'list', 'shop')).stdout.split('\n');
    expect(heading!.split(/ {2,}/)).toEqual([
      'NAME',
      'STREAMS',
      'PROTECTED TAGS',
      'EXCEPT FOR',
      'REASON FOR',
      'EVENTS KEPT',
    ]);
    expect(row!.split(/ {2,}/)).toEqual(['p', 'app', 'v*', 'user:bob', 'tag', '9']);
  });

  test('removes one', async () => {
    const { terminal } = await open({ [`DELETE ${weir}/tagpolicies/p`]: { kind: 'Status', status: 'Success' } });
    expect((await terminal.weir('policy', 'remove', 'shop', 'p')).stdout).toBe('policy p of shop is removed\n');
  });
});

describe('a mistake is told before anything is sent', () => {
  test.each([
    { args: ['tag', 'shop/app:v1'], message: 'name the tags to point at it' },
    { args: ['tag', 'shop/app:v1', 'shop/app'], message: '"shop/app" names no tag; write it behind a colon' },
    { args: ['tag', '--alias', 'shop/app:v1', 'live/app:v1'], message: 'an alias follows a tag of the same stream' },
    { args: ['tag', '--alias', `shop/app@${one}`, 'shop/app:v1'], message: 'a digest never changes' },
    { args: ['tag', '--alias', 'quay.io/a/b:c', 'shop/app:v1'], message: 'and no other registry' },
    { args: ['untag', 'shop/app'], message: 'names no tag' },
    { args: ['rollback', 'shop/app:prod', '--to', 'v1'], message: '"v1" is nothing to go back to' },
    { args: ['rollback', 'shop/app:prod', '--to', '4', '--steps', '1'], message: 'either --to or --steps' },
    {
      args: ['rollback', 'shop/app:prod', '--steps', '0'],
      message: '"0" is no count; expected a whole number from 1 on',
    },
    { args: ['rollback', 'shop/app:prod', '--reason', ' '], message: 'a reason is not empty' },
    { args: ['rollback', 'shop/app:prod', '--reason', 'x'.repeat(1001)], message: 'at most 1000 characters' },
    { args: ['history', `shop/app@${one}`], message: 'an image has no history' },
    { args: ['history', 'shop/app', '--since', 'yesterday'], message: '"yesterday" is no time' },
    { args: ['tags', 'shop/app:v1'], message: '"shop/app:v1" is more than a stream' },
    { args: ['diff', 'shop/app:v1', 'shop/other:v1'], message: 'shop/app and shop/other are two' },
    { args: ['diff', 'shop/app', 'shop/app:v1'], message: 'shop/app is a stream' },
    { args: ['diff', 'shop/app:v1', '--to', '4'], message: '--to needs a --from' },
    { args: ['diff', 'shop/app:v1', 'shop/app:v2', '--to', '4'], message: '--from and --to are events of one tag' },
    { args: ['import', 'shop/app:v1', '--all'], message: 'leave out :v1' },
    { args: ['policy', 'protect', 'shop', 'v*', '--override', 'bob'], message: '"bob" is nobody' },
    { args: ['policy', 'require-reason', 'shop', 'pull'], message: '"pull" is no change of a tag' },
    { args: ['policy', 'list', 'Shop'], message: '"Shop" is no name of a project' },
    { args: ['policy', 'remove', 'shop', '../x'], message: '"../x" is no name of a policy' },
    { args: ['streams', 'a', '-n', 'b'], message: 'the project is named twice' },
    { args: ['streams'], message: 'no project is named' },
    { args: ['tags', 'app'], message: '"app" names no project' },
  ])('$args', async ({ args, message }) => {
    const { server, terminal } = await open({});
    const refused = terminal.weir(...args);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
    expect(server.requests).toEqual([]);
  });
});
