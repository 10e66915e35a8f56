import { describe, expect, test } from 'vitest';
import { encodeProtobuf } from '../support/protobuf.js';
import { namesIn, startProjectApi, type ApiClient } from './project-api.js';

const requests = '/apis/project.openshift.io/v1/projectrequests';
const projects = '/apis/project.openshift.io/v1/projects';
const namespaces = '/api/v1/namespaces';
const table = { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
const merge = { 'Content-Type': 'application/merge-patch+json' };

async function withProjects(...owned: readonly (readonly [owner: string, name: string])[]): Promise<ApiClient> {
  const api = await startProjectApi();
  for (const [owner, name] of owned) {
    const answer = await api.send(owner, 'POST', requests, { metadata: { name }, displayName: `The ${name}` });
    expect(answer.status).toBe(201);
  }
  return api;
}

describe('a namespace and its project', () => {
  test('are one thing, whichever of them is made', async () => {
    const { send } = await startProjectApi();
    const sent = encodeProtobuf('Namespace', 'v1', { metadata: { name: 'n' }, spec: {}, status: {} });
    const made = await send('root', 'POST', `${namespaces}?fieldManager=kubectl-create`, sent);
    expect(made).toMatchObject({
      status: 201,
      body: {
        kind: 'Namespace',
        apiVersion: 'v1',
        metadata: { name: 'n', labels: { 'kubernetes.io/metadata.name': 'n' } },
        spec: { finalizers: ['kubernetes'] },
        status: { phase: 'Active' },
      },
    });
    const { metadata } = made.body;
    expect(await send('root', 'GET', `${projects}/n`)).toMatchObject({
      status: 200,
      body: { kind: 'Project', apiVersion: 'project.openshift.io/v1', metadata, status: { phase: 'Active' } },
    });
    await send('root', 'POST', projects, { metadata: { name: 'p' } });
    expect(await send('root', 'GET', `${namespaces}/p`)).toMatchObject({ status: 200, body: { kind: 'Namespace' } });
    expect(await send('root', 'POST', projects, { metadata: { name: 'n' } })).toMatchObject({
      status: 409,
      body: { message: 'projects.project.openshift.io "n" already exists' },
    });
  });

  test('have the default bindings from the first moment', async () => {
    const { send, parts } = await startProjectApi();
    await send('root', 'POST', namespaces, { metadata: { name: 'n' } });
    const resource = 'rolebindings.rbac.authorization.k8s.io';
    const { objects } = await parts.store.list({ resource, namespace: 'n', limit: 10 });
    expect(objects.map(({ metadata }) => metadata.name)).toEqual([
      'system:deployers',
      'system:image-builders',
      'system:image-pullers',
    ]);
  });

  test('are made only by those who may', async () => {
    const { send } = await startProjectApi();
    for (const path of [projects, namespaces]) {
      expect((await send('dev', 'POST', path, { metadata: { name: 'n' } })).status).toBe(403);
    }
  });

  test.each(['a.b', 'A', '-a', 'a'.repeat(64), ''])('cannot be called %j', async (name) => {
    const { send } = await startProjectApi();
    const answer = await send('root', 'POST', namespaces, { metadata: { name } });
    expect(answer).toMatchObject({ status: 422, body: { details: { causes: [{ field: 'metadata.name' }] } } });
  });

  test('are told apart from what is missing by the name that was asked for', async () => {
    const { send } = await startProjectApi();
    expect(await send('root', 'GET', `${projects}/nope`)).toMatchObject({
      status: 404,
      body: { message: 'projects.project.openshift.io "nope" not found' },
    });
    expect(await send('root', 'GET', `${namespaces}/nope`)).toMatchObject({
      status: 404,
      body: { message: 'namespaces "nope" not found' },
    });
  });

  test('keep spec, status and their own label, whatever an update says', async () => {
    const { send } = await withProjects(['dev', 'np']);
    const patch = {
      metadata: { labels: { team: 'x', 'kubernetes.io/metadata.name': 'other' }, finalizers: ['a/b'] },
      spec: { finalizers: [] },
      status: { phase: 'Terminating' },
    };
    const { body } = await send('root', 'PATCH', `${namespaces}/np`, patch, merge);
    expect(body).toMatchObject({
      metadata: { labels: { team: 'x', 'kubernetes.io/metadata.name': 'np' } },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
    expect(body['metadata']).not.toHaveProperty('finalizers');
  });

  test('let the administrator of a project change its display name and description only', async () => {
    const { send } = await withProjects(['dev', 'np']);
    const annotations = { 'openshift.io/display-name': 'New', 'openshift.io/description': 'Newer' };
    const changed = await send('dev', 'PATCH', `${projects}/np`, { metadata: { annotations } }, merge);
    expect(changed).toMatchObject({ status: 200, body: { metadata: { annotations } } });
    for (const metadata of [{ labels: { a: 'b' } }, { annotations: { 'openshift.io/requester': 'eve' } }]) {
      expect(await send('dev', 'PATCH', `${projects}/np`, { metadata }, merge)).toMatchObject({
        status: 422,
        body: { message: expect.stringContaining('field is immutable, try updating the namespace') as string },
      });
    }
    expect((await send('eve', 'PATCH', `${projects}/np`, { metadata: { annotations } }, merge)).status).toBe(403);
  });
});

describe('the list of projects', () => {
  test('has what the caller may see, by name, and nothing is forbidden', async () => {
    const { send } = await withProjects(['dev', 'np'], ['dev', 'demo'], ['eve', 'hers']);
    expect(namesIn(await send('dev', 'GET', projects))).toEqual(['demo', 'np']);
    expect(namesIn(await send('eve', 'GET', projects))).toEqual(['hers']);
    expect(namesIn(await send('bob', 'GET', projects))).toEqual([]);
    expect(namesIn(await send('root', 'GET', projects))).toEqual(['demo', 'hers', 'library', 'np', 'openshift']);
    expect((await send('dev', 'GET', namespaces)).status).toBe(403);
    expect((await send('dev', 'GET', `${projects}/hers`)).status).toBe(403);
  });

  test('can be read in pages, selected from, and printed', async () => {
    const { send } = await withProjects(['dev', 'a'], ['dev', 'b'], ['dev', 'c'], ['eve', 'd']);
    const first = await send('dev', 'GET', `${projects}?limit=2`);
    expect(namesIn(first)).toEqual(['a', 'b']);
    const { continue: position } = first.body['metadata'] as { continue: string };
    const last = await send('dev', 'GET', `${projects}?limit=2&continue=${position}`);
    expect(namesIn(last)).toEqual(['c']);
    expect(last.body['metadata']).not.toHaveProperty('continue');
    expect(namesIn(await send('dev', 'GET', `${projects}?fieldSelector=metadata.name%3Db`))).toEqual(['b']);
    expect(namesIn(await send('dev', 'GET', `${projects}?fieldSelector=metadata.name%3Dd`))).toEqual([]);
    expect((await send('dev', 'GET', `${projects}?limit=1`, undefined, table)).body).toMatchObject({
      kind: 'Table',
      columnDefinitions: [{ name: 'Name' }, { name: 'Display Name' }, { name: 'Status' }],
      rows: [{ cells: ['a', 'The a', 'Active'] }],
    });
  });

  test('is followed by a watch that tells members of the end', async () => {
    const { send, url, parts } = await withProjects(['dev', 'np'], ['eve', 'hers']);
    const follow = async (as: string) => {
      const { resourceVersion } = (await send(as, 'GET', projects)).body['metadata'] as { resourceVersion: string };
      const path = `${projects}?watch=true&timeoutSeconds=3&resourceVersion=${resourceVersion}`;
      const response = await fetch(url + path, { headers: { Authorization: `Bearer ${as}` } });
      return response.text();
    };
    const watches = Promise.all([follow('dev'), follow('eve')]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await send('dev', 'DELETE', `${projects}/np`)).status).toBe(200);
    await parts.removal.run(new AbortController().signal);
    const [dev, eve] = await watches;
    const events = dev
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; object: { metadata: { name: string } } });
    expect(events.map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ['MODIFIED', 'np'],
      ['DELETED', 'np'],
    ]);
    expect(eve).toBe('');
  });
});

describe('deleting a project', () => {
  test('answers at once with a project that is going, and takes everything in it along', async () => {
    const { send, parts } = await withProjects(['dev', 'np']);
    await send('dev', 'POST', '/api/v1/namespaces/np/configmaps', { metadata: { name: 'c' }, data: { a: '1' } });
    const { body: project } = await send('dev', 'GET', `${projects}/np`);
    const { uid } = project['metadata'] as { uid: string };
    const answer = await send('dev', 'DELETE', `${projects}/np`, { propagationPolicy: 'Background' });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        kind: 'Project',
        metadata: { uid, deletionTimestamp: expect.any(String) as string },
        status: { phase: 'Terminating' },
      },
    });
    await expect.poll(async () => (await send('root', 'GET', `${projects}/np`)).status, { timeout: 5000 }).toBe(404);
    expect((await parts.store.list({ resource: 'configmaps', limit: 10 })).objects).toEqual([]);
    expect((await send('eve', 'POST', requests, { metadata: { name: 'np' } })).status).toBe(201);
    expect(namesIn(await send('dev', 'GET', projects))).not.toContain('np');
  });

  test('is refused for what the server needs, and for another uid', async () => {
    const { send } = await withProjects(['dev', 'np']);
    for (const name of ['library', 'openshift']) {
      for (const path of [projects, namespaces]) {
        expect(await send('root', 'DELETE', `${path}/${name}`)).toMatchObject({
          status: 403,
          body: { message: expect.stringContaining('this namespace may not be deleted') as string },
        });
      }
    }
    expect((await send('eve', 'DELETE', `${projects}/np`)).status).toBe(403);
    expect((await send('dev', 'DELETE', `${projects}/np`, { preconditions: { uid: 'x' } })).status).toBe(409);
    expect((await send('root', 'DELETE', `${projects}/nope`)).status).toBe(404);
    expect((await send('dev', 'DELETE', `${projects}/np`, { dryRun: ['All'] })).status).toBe(200);
    expect(await send('dev', 'GET', `${projects}/np`)).toMatchObject({ body: { status: { phase: 'Active' } } });
  });
});
