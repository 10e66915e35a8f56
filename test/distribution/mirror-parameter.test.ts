import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ociErrors } from '../../src/distribution/error-middleware.js';
import { mirrorParameter } from '../../src/distribution/mirror-middleware.js';
import { plainPaths } from '../../src/distribution/routes.js';

const digest = `sha256:${'0'.repeat(64)}`;

let server: Server;
let url: string;
beforeAll(async () => {
  const koa = new Koa();
  koa.use(ociErrors);
  koa.use(plainPaths);
  koa.use(
    mirrorParameter({
      findRepository: (registry, path) =>
        Promise.resolve(registry === 'docker.io' ? `dockerhub/${path.replace(/^library\//, '')}` : undefined),
      ownHost: 'weir.example',
    }),
  );
  koa.use((ctx) => {
    ctx.body = ctx.path;
  });
  const handle = koa.callback();
  server = createServer((request, response) => void handle(request, response)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

describe('the path', () => {
  test.each([
    { path: '/v2/library/alpine/manifests/3?ns=docker.io', to: '/v2/dockerhub/alpine/manifests/3' },
    { path: '/v2/a/b/c/manifests/3?ns=docker.io', to: '/v2/dockerhub/a/b/c/manifests/3' },
    { path: `/v2/library/alpine/blobs/${digest}?ns=docker.io`, to: `/v2/dockerhub/alpine/blobs/${digest}` },
    { path: '/v2/library/alpine/tags/list?n=5&ns=DOCKER.IO', to: '/v2/dockerhub/alpine/tags/list' },
    { path: `/v2/library/alpine/referrers/${digest}?ns=docker.io`, to: `/v2/dockerhub/alpine/referrers/${digest}` },
    { path: '/v2/library/alpine/blobs/uploads/?ns=docker.io', to: '/v2/dockerhub/alpine/blobs/uploads/' },
    { path: '/v2/a/tags/b/manifests/3?ns=docker.io', to: '/v2/dockerhub/a/tags/b/manifests/3' },
    { path: '/v2/team/app/manifests/3', to: '/v2/team/app/manifests/3' },
    { path: '/v2/team/app/manifests/3?ns=', to: '/v2/team/app/manifests/3' },
    { path: '/v2/team/app/manifests/3?ns=weir.example', to: '/v2/team/app/manifests/3' },
    { path: '/v2/team/app/manifests/3?dns=docker.io', to: '/v2/team/app/manifests/3' },
    { path: '/v2/?ns=docker.io', to: '/v2/' },
    { path: '/v2/_catalog?ns=docker.io', to: '/v2/_catalog' },
    { path: '/auth/token?ns=docker.io', to: '/auth/token' },
    { path: '/apis/weir.dev/v1/manifests/x?ns=docker.io', to: '/apis/weir.dev/v1/manifests/x' },
  ])('$path is $to', async ({ path, to }) => {
    const response = await fetch(url + path);
    expect({ status: response.status, path: await response.text() }).toEqual({ status: 200, path: to });
  });

  test('is as without when the host is the one that was called', async () => {
    const host = new URL(url).host;
    expect(await (await fetch(`${url}/v2/team/app/manifests/3?ns=${host}`)).text()).toBe('/v2/team/app/manifests/3');
  });
});

test.each([
  { name: 'a registry that is not mirrored', query: 'ns=quay.io', status: 404, code: 'NAME_UNKNOWN' },
  { name: 'a registry with another port', query: 'ns=docker.io:5000', status: 404, code: 'NAME_UNKNOWN' },
  { name: 'two registries', query: 'ns=docker.io&ns=quay.io', status: 400, code: 'UNSUPPORTED' },
  { name: 'a path', query: 'ns=docker.io/library', status: 400, code: 'NAME_INVALID' },
  { name: 'a way up', query: 'ns=../../admin', status: 400, code: 'NAME_INVALID' },
  { name: 'a line break', query: 'ns=docker.io%0d%0aX: y', status: 400, code: 'NAME_INVALID' },
  { name: 'a NUL', query: 'ns=docker.io%00', status: 400, code: 'NAME_INVALID' },
  { name: 'a user', query: 'ns=user@docker.io', status: 400, code: 'NAME_INVALID' },
  { name: 'a text without end', query: `ns=${'a'.repeat(5000)}`, status: 400, code: 'NAME_INVALID' },
])('$name is answered with $status $code', async ({ query, status, code }) => {
  const response = await fetch(`${url}/v2/library/alpine/manifests/3?${query}`);
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ errors: [{ code }] });
});

test('a long path takes no longer than in proportion to it', async () => {
  const began = performance.now();
  const response = await fetch(`${url}/v2/${'blobs/a/'.repeat(1500)}x?ns=quay.io`);
  expect(response.status).toBe(404);
  expect(performance.now() - began).toBeLessThan(500);
});
