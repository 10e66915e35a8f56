import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadConfig } from '../../src/config.js';
import { startRegistry as serve } from '../../src/serve.js';
import { pushImage, sha256, types } from '../support/images.js';
import { authorizationOf, type Identity, type TestRegistry } from '../support/registry.js';
import { ann, eve, pathOf, startTenants, startTimeout } from './tenants.js';

let registry: TestRegistry;

beforeAll(async () => {
  registry = await startTenants();
  await pushImage(registry, 'blue/app', 'v1');
  await registry.apiToken(ann);
}, startTimeout);
afterAll(() => registry.stop());
afterEach(() => {
  vi.restoreAllMocks();
});

/** All of an answer but what is different each time, and what differs between the two things that were asked for. */
async function shownOf(response: Response, names: readonly string[]): Promise<object> {
  const neutral = (text: string) => names.reduce((rest, name) => rest.replaceAll(name, '(name)'), text);
  const changing = ['date', 'x-request-id', 'set-cookie', 'content-length'];
  const headers = [...response.headers].filter(([name]) => !changing.includes(name));
  const text = neutral(await response.text()).replaceAll(/name="csrf" value="[^"]*"/g, '');
  return { status: response.status, headers: headers.map(([name, value]) => [name, neutral(value)]), text };
}

describe('CVE-2019-19030 Harbor: what one may not see is not told from what is not there', () => {
  const id = 'CVE-2019-19030 Harbor';
  const digest = sha256('something');
  const people: readonly (readonly [string, Identity])[] = [
    ['nobody', 'nobody'],
    ['a stranger', eve],
    ['the administrator of another project', ann],
  ];

  /** Repositories that are there and may not be seen, beside ones that are not there. */
  const repositories = [
    ['a repository that is not in the project', 'blue/app', 'blue/nil'],
    ['a repository in no project', 'blue/app', 'nope/app'],
    ['a project that is not there', 'blue/new', 'nope/new'],
  ] as const;
  const requests: readonly (readonly [string, (repository: string) => string])[] = [
    ['GET', (repository) => `/v2/${repository}/manifests/v1`],
    ['HEAD', (repository) => `/v2/${repository}/manifests/v1`],
    ['GET', (repository) => `/v2/${repository}/manifests/${digest}`],
    ['GET', (repository) => `/v2/${repository}/blobs/${digest}`],
    ['GET', (repository) => `/v2/${repository}/tags/list`],
    ['GET', (repository) => `/v2/${repository}/referrers/${digest}`],
    ['POST', (repository) => `/v2/${repository}/blobs/uploads/`],
    ['GET', (repository) => `/v2/${repository}/blobs/uploads/${'0'.repeat(40)}`],
    ['PUT', (repository) => `/v2/${repository}/manifests/v1`],
    ['DELETE', (repository) => `/v2/${repository}/manifests/v1`],
    ['DELETE', (repository) => `/v2/${repository}/blobs/${digest}`],
  ];

  for (const [who, as] of people) {
    test.each(repositories)(`${id}: ${who} cannot tell %s`, async (_what, there, absent) => {
      for (const [method, pathFor] of requests) {
        const send = (repository: string) =>
          registry.fetch(pathFor(repository), {
            method,
            as,
            headers: { 'Content-Type': types.manifest },
            ...(method === 'PUT' && { body: '{}' }),
          });
        const forbidden = await send(there);
        expect([401, 403]).toContain(forbidden.status);
        const answers = [
          await shownOf(forbidden, [there, 'blue']),
          await shownOf(await send(absent), [absent, 'nope']),
        ];
        expect({ method, ...answers[0] }).toEqual({ method, ...answers[1] });
      }
    });

    test(`${id}: a token of ${who} says the same of both`, async () => {
      const accessOf = async (name: string) => {
        const credentials = typeof as === 'object' && 'password' in as ? as : 'nobody';
        const token = await registry.token([`repository:${name}:pull,push,delete`], credentials);
        return (JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { access: unknown }).access;
      };
      for (const name of ['blue/app', 'blue/nil', 'nope/app']) expect(await accessOf(name)).toEqual([]);
    });

    test(`${id}: ${who} cannot tell by a mount`, async () => {
      const send = async (from: string) => {
        const response = await registry.fetch(`/v2/red/app/blobs/uploads/?mount=${digest}&from=${from}`, {
          method: 'POST',
          as,
        });
        const session = (response.headers.get('Location') ?? '').replace(/[0-9a-f]{40}$/, '');
        return { status: response.status, session, challenge: response.headers.get('WWW-Authenticate') };
      };
      expect(await send('blue/app')).toEqual(await send('nope/app'));
    });
  }

  test(`${id}: no object, and no namespace of one, is told by the API`, async () => {
    for (const [who, as] of people.slice(0, 2)) {
      for (const resource of registry.running.app.resources) {
        // Those that are hidden are always empty.
        if (resource.storage.get === undefined || resource.isHidden === true) continue;
        const places = resource.isNamespaced
          ? [
              [pathOf(resource, 'blue', 'default'), ['default', 'blue']],
              [pathOf(resource, 'blue', 'nothing'), ['nothing', 'blue']],
              [pathOf(resource, 'nope', 'nothing'), ['nothing', 'nope']],
            ]
          : [
              [pathOf(resource, '', 'blue'), ['blue']],
              [pathOf(resource, '', 'bob'), ['bob']],
              [pathOf(resource, '', 'nothing'), ['nothing']],
            ];
        // Roles are there for everybody to read.
        if (resource.plural === 'clusterroles') continue;
        const answers: object[] = [];
        for (const [path, names] of places as [string, string[]][]) {
          answers.push({ who, plural: resource.plural, ...(await shownOf(await registry.api(path, { as }), names)) });
        }
        expect(answers[1]).toEqual(answers[0]);
        expect(answers[2]).toEqual(answers[0]);
      }
    }
  });

  test.each(['PUT', 'PATCH', 'DELETE'])(`${id}: nor by a %s`, async (method) => {
    for (const [there, absent] of [
      ['/apis/project.openshift.io/v1/projects/blue', '/apis/project.openshift.io/v1/projects/nope'],
      ['/api/v1/namespaces/blue', '/api/v1/namespaces/nope'],
      ['/api/v1/namespaces/blue/secrets/x', '/api/v1/namespaces/nope/secrets/x'],
      ['/apis/user.openshift.io/v1/users/bob', '/apis/user.openshift.io/v1/users/zzz'],
      [
        '/apis/oauth.openshift.io/v1/useroauthaccesstokens/sha256~x',
        '/apis/oauth.openshift.io/v1/useroauthaccesstokens/sha256~y',
      ],
    ] as const) {
      const send = async (path: string) => {
        const response = await registry.api(path, {
          method,
          as: eve,
          headers: { 'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' },
          ...(method !== 'DELETE' && { body: {} }),
        });
        return shownOf(response, ['blue', 'nope', 'bob', 'zzz', 'sha256~x', 'sha256~y']);
      };
      expect(await send(there)).toEqual(await send(absent));
    }
  });

  test(`${id}: nor by acting as somebody`, async () => {
    const send = async (name: string) =>
      shownOf(
        await registry.api('/apis/user.openshift.io/v1/users/~', { as: eve, headers: { 'Impersonate-User': name } }),
        [name, ...name.split(':').slice(3)],
      );
    expect(await send('bob')).toEqual(await send('zzz'));
    expect(await send('system:serviceaccount:blue:default')).toEqual(await send('system:serviceaccount:blue:nothing'));
  });

  /** Ways to log in with a password; each answers with what is to be compared. */
  const logins: Readonly<Record<string, (name: string, password: string) => Promise<Response>>> = {
    'the registry': (name, password) => registry.fetch('/v2/', { as: { name, password } }),
    'the token endpoint': (name, password) => registry.fetch('/auth/token', { as: { name, password } }),
    'the token endpoint, by a form': (username, password) =>
      registry.fetch('/auth/token', {
        method: 'POST',
        as: 'nobody',
        body: new URLSearchParams({ grant_type: 'password', username, password }),
      }),
    'oc login': (name, password) =>
      registry.fetch('/oauth/authorize?client_id=openshift-challenging-client&response_type=token', {
        as: { name, password },
        headers: { 'X-CSRF-Token': '1' },
        redirect: 'manual',
      }),
    'the page': async (username, password) => {
      const form = await registry.fetch('/oauth/token/request', { as: 'nobody' });
      const cookie = form.headers.get('Set-Cookie')!.split(';')[0]!;
      return registry.fetch('/oauth/login', {
        method: 'POST',
        as: 'nobody',
        headers: { Cookie: cookie },
        body: new URLSearchParams({ csrf: cookie.slice(cookie.indexOf('=') + 1), request: '', username, password }),
      });
    },
  };

  test.each(Object.keys(logins))(
    `${id}: %s answers a wrong password and an unknown user alike, and has compared one hash for each`,
    async (way) => {
      const compare = vi.spyOn(bcrypt, 'compare');
      const wrong = await logins[way]!('bob', 'not the password');
      expect(compare).toHaveBeenCalledTimes(1);
      const unknown = await logins[way]!('zzz', 'not the password');
      expect(compare).toHaveBeenCalledTimes(2);
      expect([401, 403]).toContain(wrong.status);
      expect(await shownOf(unknown, ['zzz'])).toEqual(await shownOf(wrong, ['bob']));
    },
  );

  test(`${id}: guesses are counted against names that are not there as well`, async () => {
    const answers = async (name: string) => {
      const statuses: number[] = [];
      for (let guess = 0; guess < 12; guess += 1) {
        statuses.push((await registry.fetch('/v2/', { as: { name, password: `guess ${guess}` } })).status);
      }
      return statuses;
    };
    const unknown = await answers('guessed-nobody');
    expect(unknown.at(-1)).toBe(429);
    expect(await answers('user')).toEqual(unknown);
  });
});

describe('CVE-2026-4404 Harbor: there is no password that everybody knows', () => {
  const id = 'CVE-2026-4404 Harbor';

  async function firstStart<T>(look: (url: string, passwordPath: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
    try {
      const config = loadConfig(
        { path: join(folder, 'weir.yaml'), required: false },
        { WEIR_LISTEN: '127.0.0.1:0', WEIR_DATA_DIR: folder, WEIR_TLS_MODE: 'off', WEIR_SHUTDOWN_GRACE_SECONDS: '1' },
      );
      const registry = await serve(config, pino({ level: 'silent' }));
      try {
        return await look(registry.url, registry.passwordPath!);
      } finally {
        await registry.stop();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const logIn = async (url: string, name: string, password: string) =>
    (await fetch(`${url}/v2/`, { headers: { Authorization: authorizationOf({ name, password })! } })).status;

  test(
    `${id}: the first start makes one up, for its owner's eyes`,
    async () => {
      const passwords: string[] = [];
      for (let start = 0; start < 2; start += 1) {
        await firstStart(async (url, path) => {
          const password = (await readFile(path, 'utf8')).trim();
          passwords.push(password);
          expect((await stat(path)).mode & 0o777).toBe(0o600);
          expect(await logIn(url, 'admin', password)).toBe(200);
        });
      }
      expect(passwords[0]).toMatch(/^[A-Za-z2-9]{24}$/);
      expect(passwords[1]).not.toBe(passwords[0]);
    },
    startTimeout,
  );

  test(
    `${id}: what others begin with opens nothing`,
    async () => {
      await firstStart(async (url) => {
        const guesses = ['Harbor12345', 'admin', 'password', '', 'weir', 'changeme', 'admin-password', 'redhat'];
        for (const guess of guesses)
          expect({ guess, status: await logIn(url, 'admin', guess) }).toEqual({ guess, status: 401 });
        for (const name of ['root', 'kubeadmin', 'weir', 'system:admin', '']) {
          expect({ name, status: await logIn(url, name, name) }).toEqual({ name, status: 401 });
        }
      });
    },
    startTimeout,
  );

  test(`${id}: an empty password cannot be configured`, () => {
    expect(() =>
      loadConfig({ path: 'nowhere.yaml', required: false }, { WEIR_DATA_DIR: '/nowhere', WEIR_ADMIN_PASSWORD: '' }),
    ).toThrow(/admin\.password/);
  });
});
