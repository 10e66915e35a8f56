import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  content,
  imageManifest,
  pushBlob,
  pushImage,
  putManifest,
  types,
  type PushedImage,
} from '../support/images.js';
import { chunkedBody, exchange, rawBytes, type RawResponse } from '../support/raw-http.js';
import { admin, authorizationOf, type Credentials, type TestRegistry } from '../support/registry.js';
import { ann, ask, must, pathOf, startTenants, startTimeout } from './tenants.js';

/** Names in which one has a character that a careless search takes for any character of the other. */
const underscored: Credentials = { name: 'a_b', password: 'underscored-secret' };
const lettered: Credentials = { name: 'axb', password: 'lettered-secret' };

let registry: TestRegistry;
let image: PushedImage;
let adminToken: string;

beforeAll(async () => {
  registry = await startTenants();
  for (const who of [underscored, lettered]) await registry.addUser({ ...who, role: 'user' });
  image = await pushImage(registry, 'red/app', 'v1');
  adminToken = await registry.apiToken(admin);
}, startTimeout);
afterAll(() => registry.stop());

/** Sends a body as it is, with headers that `fetch` would not send. */
function sendRaw(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): Promise<RawResponse> {
  const isApi = target.startsWith('/api');
  const all = {
    Host: new URL(registry.url).host,
    Connection: 'close',
    Authorization: isApi ? `Bearer ${adminToken}` : authorizationOf(admin)!,
    ...headers,
  };
  return exchange(registry.url, rawBytes({ method, target, headers: Object.entries(all), body }));
}

describe('CVE-2017-11468 distribution: bodies that are held in memory are small', () => {
  const mebibyte = 1024 * 1024;
  const json = (bytes: number) => Buffer.from(`{"padding":"${'x'.repeat(bytes)}"}`);
  /** A few kilobytes, and 16 MiB when it is inflated. */
  const bomb = gzipSync(json(16 * mebibyte));
  const manifestPath = '/v2/red/app/manifests/large';
  const targets: readonly (readonly [string, string, string, number])[] = [
    ['PUT', manifestPath, types.manifest, 5 * mebibyte],
    ['POST', '/api/v1/namespaces/red/configmaps', 'application/json', 5 * mebibyte],
    ['PUT', '/api/v1/namespaces/red/configmaps/large', 'application/json', 5 * mebibyte],
    ['PATCH', '/api/v1/namespaces/red/configmaps/large', 'application/merge-patch+json', 5 * mebibyte],
    ['DELETE', '/api/v1/namespaces/red/configmaps/large', 'application/json', 5 * mebibyte],
    ['POST', '/api/v1/namespaces/red/configmaps', 'application/vnd.kubernetes.protobuf', 5 * mebibyte],
    ['POST', '/apis/authentication.k8s.io/v1/tokenreviews', 'application/json', 5 * mebibyte],
    ['POST', '/auth/token', 'application/x-www-form-urlencoded', mebibyte],
    ['POST', '/oauth/token', 'application/x-www-form-urlencoded', mebibyte],
    ['POST', '/oauth/login', 'application/x-www-form-urlencoded', mebibyte],
  ];
  const expected = (target: string) => (target.startsWith('/oauth') || target.startsWith('/auth') ? 400 : 413);

  test.each(targets)(
    'CVE-2017-11468 distribution: %s %s as %s, with its length',
    async (method, target, type, size) => {
      const body = json(size);
      const headers = { 'Content-Type': type, 'Content-Length': String(body.length) };
      expect((await sendRaw(method, target, headers, body)).status).toBe(expected(target));
    },
  );

  test.each(targets)(
    'CVE-2017-11468 distribution: %s %s as %s, in chunks, is refused before its end',
    async (method, target, type, size) => {
      const body = chunkedBody(json(size)).subarray(0, -'0\r\n\r\n'.length);
      const headers = { 'Content-Type': type, 'Transfer-Encoding': 'chunked' };
      expect((await sendRaw(method, target, headers, body)).status).toBe(expected(target));
    },
  );

  test.each(targets)(
    'CVE-2017-11468 distribution: %s %s as %s is not inflated, so it cannot be a bomb',
    async (method, target, type) => {
      for (const encoding of ['gzip', 'gzip, gzip']) {
        const headers = { 'Content-Type': type, 'Content-Encoding': encoding, 'Content-Length': String(bomb.length) };
        const { status } = await sendRaw(method, target, headers, bomb);
        expect([400, 401, 403, 404, 415]).toContain(status);
      }
      expect((await registry.fetch(manifestPath)).status).toBe(404);
    },
  );

  test('CVE-2017-11468 distribution: what was too large is not there', async () => {
    expect((await registry.fetch(manifestPath)).status).toBe(404);
    expect((await ask(registry, '/api/v1/namespaces/red/configmaps')).json!.items).toEqual([]);
  });
});

describe('CVE-2023-2253 distribution: how much is asked for decides nothing but how little is given', () => {
  const name = 'CVE-2023-2253 distribution';
  const lists = () => ['/v2/_catalog', '/v2/red/app/tags/list', `/v2/red/app/referrers/${image.digest}`];
  const refused = ['-1', 'NaN', '', '1e9', '0x10', '1.5', 'Infinity', '9'.repeat(40), '1,000', '%00', 'null', '1&n=2'];
  const taken = ['0', '1', '1000', '4294967296', '9007199254740991', '9007199254740992'];

  test.each(refused)(`${name}: n=%s of a list of the registry is refused`, async (n) => {
    for (const list of lists()) {
      const { status } = await registry.fetch(`${list}?n=${n}`);
      expect({ list, status }).toEqual({ list, status: 400 });
    }
  });

  test.each(taken)(`${name}: n=%s of a list of the registry is taken for at most what there is`, async (n) => {
    for (const list of lists()) {
      const response = await registry.fetch(`${list}?n=${n}`);
      expect(response.status).toBe(200);
      expect((await response.text()).length).toBeLessThan(2000);
    }
  });

  const apiLists = [
    '/api/v1/namespaces',
    '/api/v1/namespaces/red/configmaps',
    '/api/v1/secrets',
    '/apis/project.openshift.io/v1/projects',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles',
    '/apis/oauth.openshift.io/v1/useroauthaccesstokens',
    '/apis/weir.dev/v1/auditrecords',
  ];

  test.each(['-1', 'NaN', '1e9', '0x10', '1.5', '9'.repeat(40), '%00', '1&limit=2'])(
    `${name}: limit=%s of a list of the API is refused`,
    async (limit) => {
      for (const path of apiLists) {
        const { status } = await ask(registry, `${path}?limit=${limit}`);
        expect({ path, status }).toEqual({ path, status: 400 });
      }
    },
  );

  test.each(['', '0', '1', '500', '999999999999999'])(
    `${name}: limit=%s of a list of the API is taken`,
    async (limit) => {
      for (const path of apiLists) {
        const { status, json } = await ask(registry, `${path}?limit=${limit}`);
        expect(status).toBe(200);
        if (limit === '1') expect(json!.items!.length).toBeLessThanOrEqual(1);
      }
    },
  );

  const positions = [
    'x',
    '-1',
    '1e3',
    '%00',
    "'",
    '9'.repeat(400),
    ...['null', '0', '[]', '{}', '["1"]', '[1,2,3]', '["1",{},[]]', '[["1"],"",""]', '"1"'].map((text) =>
      Buffer.from(text).toString('base64url'),
    ),
  ];
  test.each(positions)(`${name}: continue=%s is no place in a list`, async (position) => {
    for (const path of apiLists) {
      const { status } = await ask(registry, `${path}?limit=1&continue=${position}`);
      expect({ path, status }).toEqual({ path, status: 400 });
    }
  });
});

describe('GO-2024-2916 Harbor: what is put into a query is a value and never a part of a statement', () => {
  const name = 'GO-2024-2916 Harbor';
  const values = [
    "'",
    '"',
    "' or '1'='1",
    "'; drop table object; --",
    "') union select password_hash from user --",
    '%',
    '_',
    '\\',
    '`',
    '$1',
    '?',
    ':name',
    '\u0000',
    '\ud800',
  ];
  const queries: readonly string[] = [
    '/v2/_catalog?last=',
    '/v2/_catalog?n=1&last=',
    '/v2/red/app/tags/list?last=',
    '/v2/red/app/tags/list?n=',
    `/v2/red/app/referrers/sha256:${'0'.repeat(64)}?artifactType=`,
    `/v2/red/app/referrers/sha256:${'0'.repeat(64)}?last=`,
    '/v2/red/app/manifests/',
    '/v2/red/app/blobs/',
    '/v2/red/app/blobs/uploads/',
    '/auth/token?service=',
    '/auth/token?client_id=',
    '/auth/token?offline_token=true&client_id=',
    '/auth/token?scope=repository:red/app:',
    '/auth/token?scope=repository:',
    '/oauth/authorize?client_id=',
    '/oauth/authorize?client_id=openshift-browser-client&response_type=token&state=',
    '/api/v1/namespaces/',
    '/api/v1/namespaces/red/secrets/',
    '/api/v1/namespaces/red/secrets?labelSelector=',
    '/api/v1/namespaces/red/secrets?fieldSelector=metadata.name=',
    '/api/v1/namespaces/red/secrets?fieldSelector=',
    '/api/v1/namespaces/red/secrets?limit=1&continue=',
    '/api/v1/namespaces/red/secrets?limit=',
    '/api/v1/namespaces/red/secrets?resourceVersion=',
    '/api/v1/namespaces/red/secrets?watch=true&timeoutSeconds=1&resourceVersion=',
    '/apis/user.openshift.io/v1/users/',
    '/apis/oauth.openshift.io/v1/oauthaccesstokens?fieldSelector=userName=',
    '/apis/weir.dev/v1/auditrecords/',
    '/apis/weir.dev/v1/auditrecords?fieldSelector=spec.user=',
    '/apis/weir.dev/v1/auditrecords?fieldSelector=spec.namespace=',
    '/apis/weir.dev/v1/auditrecords?continue=',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles/',
    '/apis/',
  ];
  /** What an injection would bring: another list's content, or words of the database. */
  const tells = /sqlite|syntax error|insert into|\$2b\$|no such (table|column)|unterminated/i;

  test.each(queries)(`${name}: %s…`, async (query) => {
    for (const value of values) {
      const text = value === '\ud800' ? '%ED%A0%80' : encodeURIComponent(value);
      const isRegistry = /^\/(v2|auth|oauth)/.test(query);
      const response = isRegistry
        ? await registry.fetch(query + text, { redirect: 'manual' })
        : await registry.api(query + text);
      const answer = await response.text();
      expect({ value, status: response.status }).not.toMatchObject({ status: 500 });
      expect(answer).not.toMatch(tells);
    }
  });

  test(`${name}: names in bodies`, async () => {
    for (const value of values.slice(0, -2)) {
      const review = await ask(registry, '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        method: 'POST',
        body: {
          spec: {
            user: value,
            groups: [value],
            resourceAttributes: { verb: value, resource: value, namespace: value, name: value },
          },
        },
      });
      expect(review.status).toBeLessThan(500);
      expect(review.text).not.toContain('"allowed":true');
      const created = await ask(registry, '/api/v1/namespaces/red/configmaps', {
        method: 'POST',
        body: { metadata: { name: value } },
      });
      expect(created.status).toBe(422);
    }
    for (const value of values.slice(2, 5)) {
      const login = await registry.fetch('/auth/token', { as: { name: value, password: value } });
      expect(login.status).toBe(401);
    }
  });

  test(`${name}: everything is there as it was`, async () => {
    expect((await registry.fetch('/v2/red/app/manifests/v1')).status).toBe(200);
    const { items } = await must(registry, '/apis/user.openshift.io/v1/users');
    expect(items!.map(({ metadata }) => metadata.name)).toContain('admin');
  });
});

describe('CVE-2025-30086 Harbor: a list is selected by what one may see of it, and by nothing that is kept secret', () => {
  const name = 'CVE-2025-30086 Harbor';
  const fields = [
    'data.password=x',
    'data.value!=x',
    'data=x',
    'stringData.value=x',
    'sealed.text=x',
    'sealed.key!=x',
    'secret=x',
    'secretHash=x',
    'secretHash!=x',
    'passwordHash=x',
    'password_hash!=x',
    'password=x',
    'token=x',
    'status.token=x',
    'metadata.annotations=x',
    'metadata.resourceVersion!=0',
    'metadata=x',
    '__proto__.polluted=x',
    'constructor.name=Object',
    'toString=x',
    'type.length=6',
    'metadata.name.length=3',
  ];
  const lists = [
    '/api/v1/secrets',
    '/api/v1/namespaces/red/secrets',
    '/api/v1/namespaces/red/serviceaccounts',
    '/apis/user.openshift.io/v1/users',
    '/apis/user.openshift.io/v1/identities',
    '/apis/oauth.openshift.io/v1/oauthclients',
    '/apis/oauth.openshift.io/v1/oauthaccesstokens',
    '/apis/oauth.openshift.io/v1/useroauthaccesstokens',
    '/apis/weir.dev/v1/auditrecords',
  ];

  test.each(fields)(`${name}: fieldSelector=%s is refused for lists, watches and deletions of many`, async (field) => {
    const selector = `fieldSelector=${encodeURIComponent(field)}`;
    for (const path of lists) {
      const { status, text } = await ask(registry, `${path}?${selector}`);
      expect({ path, status }).toEqual({ path, status: 400 });
      expect(text).toContain('field label not supported');
    }
    for (const [method, query] of [
      ['GET', 'watch=true&timeoutSeconds=1&'],
      ['DELETE', ''],
    ] as const) {
      const { status } = await ask(registry, `/api/v1/namespaces/red/secrets?${query}${selector}`, { method });
      expect({ method, status }).toEqual({ method, status: 400 });
    }
  });

  test(`${name}: what resources declare to be selected by is none of their secrets`, () => {
    const declared = registry.running.app.resources.flatMap(({ plural, fieldSelectors = [] }) =>
      fieldSelectors.map((field) => `${plural} ${field}`),
    );
    expect(declared.filter((field) => /data|secret$|hash|password|sealed|token$/i.test(field))).toEqual([]);
  });
});

describe('CVE-2026-110697 Quay: no character of a name stands for another one', () => {
  const name = 'CVE-2026-110697 Quay';

  test(`${name}: a role that is bound to one user is not the other’s`, async () => {
    await registry.bind(underscored.name, 'view', 'red');
    const path = '/api/v1/namespaces/red/configmaps';
    expect((await ask(registry, path, { as: underscored })).status).toBe(200);
    expect((await ask(registry, path, { as: lettered })).status).toBe(403);
    expect((await registry.fetch('/v2/red/app/manifests/v1', { as: lettered })).status).toBe(403);
    const list = await must(registry, '/apis/project.openshift.io/v1/projects', { as: lettered });
    expect(list.items).toEqual([]);
  });

  test(`${name}: a group has whom it names`, async () => {
    await must(registry, '/apis/user.openshift.io/v1/groups', {
      method: 'POST',
      body: { metadata: { name: 'of_one' }, users: [underscored.name] },
    });
    const groups = async (as: Credentials) =>
      (await must(registry, '/apis/user.openshift.io/v1/users/~', { as }))['groups'] as readonly string[];
    expect(await groups(underscored)).toContain('of_one');
    expect(await groups(lettered)).not.toContain('of_one');
    await registry.bind({ kind: 'Group', name: 'ofxone' }, 'view', 'blue');
    expect((await ask(registry, '/api/v1/namespaces/blue/configmaps', { as: underscored })).status).toBe(403);
  });

  test.each([
    ['a_b', ['a_b']],
    ['axb', ['axb']],
    ['a%b', []],
    ['a*b', []],
    ['%', []],
    ['_', []],
    ['', []],
    ['A_B', []],
  ])(`${name}: tokens and audit records selected by user %j are those of %j`, async (selected, expected) => {
    for (const as of [underscored, lettered]) {
      await registry.apiToken(as);
      await registry.api('/api/v1/namespaces/blue/secrets', { as });
    }
    for (const [path, field, nameOf] of [
      ['/apis/oauth.openshift.io/v1/oauthaccesstokens', 'userName', 'userName'],
      ['/apis/weir.dev/v1/auditrecords', 'spec.user', 'user'],
    ] as const) {
      const selector = encodeURIComponent(`${field}=${selected}`);
      const { items } = await must(registry, `${path}?fieldSelector=${selector}`);
      const names = items!.map((item) => (item[nameOf] ?? (item['spec'] as Record<string, unknown>)[nameOf]) as string);
      expect(names.filter((each) => each !== '').every((each) => each === selected)).toBe(true);
      if (expected.length > 0) expect(names.length).toBeGreaterThan(0);
      if (selected !== '') expect([...new Set(names)]).toEqual(expected);
    }
  });

  test(`${name}: everybody lists their own tokens only`, async () => {
    for (const as of [underscored, lettered]) {
      const { items } = await must(registry, '/apis/oauth.openshift.io/v1/useroauthaccesstokens', { as });
      expect(new Set(items!.map((item) => item['userName']))).toEqual(new Set([as.name]));
    }
  });

  test(`${name}: labels are selected as they are written`, async () => {
    for (const value of ['a_b', 'axb', 'a.b', 'A_B']) {
      await must(registry, '/api/v1/namespaces/red/configmaps', {
        method: 'POST',
        body: {
          metadata: {
            generateName: 'labelled-',
            labels: { [`of.${value.toLowerCase().replace('_', '-')}/who`]: value, who: value },
          },
        },
      });
    }
    for (const selector of ['who=a_b', 'who in (a_b)', 'who notin (axb,a.b,A_B),who']) {
      const { items } = await must(
        registry,
        `/api/v1/namespaces/red/configmaps?labelSelector=${encodeURIComponent(selector)}`,
      );
      expect(items!.map(({ metadata }) => metadata.labels!['who'])).toEqual(['a_b']);
    }
  });

  test(`${name}: repositories and projects whose names begin alike are not each other’s`, async () => {
    for (const project of ['red-1', 'red1']) await registry.addProject(project);
    for (const repository of ['red/a_b', 'red/axb', 'red/a.b', 'red-1/app', 'red1/app']) {
      await pushImage(registry, repository, `tag-of-${repository.replaceAll('/', '-')}`);
    }
    for (const repository of ['red/a_b', 'red/axb', 'red/a.b']) {
      const { tags } = (await (await registry.fetch(`/v2/${repository}/tags/list`)).json()) as { tags: string[] };
      expect(tags).toEqual([`tag-of-${repository.replaceAll('/', '-')}`]);
    }
    const { repositories } = (await (await registry.fetch('/v2/_catalog', { as: ann })).json()) as {
      repositories: string[];
    };
    expect(repositories).toEqual(['red/a.b', 'red/a_b', 'red/app', 'red/axb']);
    for (const last of ['red/a%25', 'red/a%5f']) {
      const page = (await (await registry.fetch(`/v2/_catalog?last=${last}`, { as: ann })).json()) as {
        repositories: string[];
      };
      expect(page.repositories.every((repository) => repository.startsWith('red/a'))).toBe(true);
    }
  });

  test(`${name}: with one user go their tokens, and not the other’s`, async () => {
    const [gone, kept] = [await registry.apiToken(underscored), await registry.apiToken(lettered)];
    await must(registry, '/apis/user.openshift.io/v1/users/a_b', { method: 'DELETE' });
    expect((await ask(registry, '/apis/user.openshift.io/v1/users/~', { as: { token: gone } })).status).toBe(401);
    expect((await ask(registry, '/apis/user.openshift.io/v1/users/~', { as: { token: kept } })).status).toBe(200);
  });
});

describe('GO-2025-3825 Harbor: nothing that was sent comes back as a page that runs', () => {
  const name = 'GO-2025-3825 Harbor';
  const script = '"><script>alert(1)</script><img src=x onerror=alert(1)>';

  test(`${name}: what was pushed is served as what no browser runs`, async () => {
    const page = '<!doctype html><script>alert(1)</script>';
    const { digest } = await pushBlob(registry, 'red/app', page);
    const blob = await registry.fetch(`/v2/red/app/blobs/${digest}`);
    expect(blob.headers.get('Content-Type')).toBe('application/octet-stream');
    const manifest = imageManifest(content('{}'), [], { annotations: { page }, mediaType: 'text/html' });
    expect((await putManifest(registry, 'red/app', manifest, 'page')).status).toBe(400);
    const unsaid = await registry.fetch('/v2/red/app/manifests/page', {
      method: 'PUT',
      headers: { 'Content-Type': 'text/html' },
      body: imageManifest(image.config, [image.layer], { annotations: { page } }).bytes,
    });
    expect(unsaid.status).toBe(400);
  });

  test.each([
    `/oauth/authorize?client_id=${encodeURIComponent(script)}`,
    `/oauth/authorize?client_id=openshift-browser-client&response_type=token&redirect_uri=${encodeURIComponent(script)}`,
    `/oauth/authorize?client_id=openshift-browser-client&response_type=token&state=${encodeURIComponent(script)}`,
    `/oauth/authorize?client_id=openshift-browser-client&response_type=token&state=${script.replaceAll(/[ <>"]/g, encodeURIComponent)}&x='><script>`,
    `/oauth/token/implicit?error=${encodeURIComponent(script)}`,
    '/oauth/token/request?problem=<script>',
  ])(`${name}: the page at %s has no script in it, and could run none`, async (path) => {
    const response = await registry.fetch(path, { as: 'nobody', redirect: 'manual' });
    const text = await response.text();
    expect(text).not.toMatch(/<script|<img/i);
    expect(response.headers.get('Content-Security-Policy')).toMatch(/^default-src 'none';.*frame-ancestors 'none'/);
    expect(response.headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect(response.headers.get('X-Frame-Options')).toBe('DENY');
  });

  test(`${name}: neither has the form that is shown again`, async () => {
    const form = await registry.fetch('/oauth/token/request', { as: 'nobody' });
    const cookie = form.headers.get('Set-Cookie')!.split(';')[0]!;
    const csrf = cookie.slice(cookie.indexOf('=') + 1);
    const again = await registry.fetch('/oauth/login', {
      method: 'POST',
      as: 'nobody',
      headers: { Cookie: cookie },
      body: new URLSearchParams({ csrf, username: script, password: script, request: '' }),
    });
    expect(again.status).toBe(403);
    expect(await again.text()).not.toMatch(/<script|<img/i);
  });

  test(`${name}: what an error repeats is JSON, and is called that`, async () => {
    const paths = [
      `/v2/red/${encodeURIComponent(script)}/tags/list`,
      `/v2/_catalog?n=${encodeURIComponent(script)}`,
      `/api/v1/namespaces/red/secrets?limit=${encodeURIComponent(script)}`,
      `${pathOf({ group: '', version: 'v1', plural: 'secrets' }, 'red')}/a"><script>`,
    ];
    for (const path of paths) {
      const response = await registry.fetch(path, { as: path.startsWith('/api') ? { token: adminToken } : admin });
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.headers.get('Content-Type')).toMatch(/^(application\/json|text\/plain)/);
    }
  });
});
