import { describe, expect, test } from 'vitest';
import { reservedName } from '../../src/projects/project-requests.js';
import { namesIn, startProjectApi } from './project-api.js';

const requests = '/apis/project.openshift.io/v1/projectrequests';
const projects = '/apis/project.openshift.io/v1/projects';
const body = (name: string, fields: object = {}) => ({
  kind: 'ProjectRequest',
  apiVersion: 'project.openshift.io/v1',
  metadata: { name },
  ...fields,
});

describe('a project request', () => {
  test('is welcome: the list answers Success', async () => {
    const { send } = await startProjectApi();
    expect(await send('dev', 'GET', requests)).toMatchObject({
      status: 200,
      body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' },
    });
  });

  test('is answered with the Project, whose requester is its administrator', async () => {
    const { send } = await startProjectApi();
    const answer = await send('dev', 'POST', requests, body('np', { displayName: 'D', description: 'T' }));
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      kind: 'Project',
      apiVersion: 'project.openshift.io/v1',
      metadata: {
        name: 'np',
        uid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        resourceVersion: expect.stringMatching(/^\d+$/) as string,
        creationTimestamp: expect.stringMatching(/Z$/) as string,
        labels: { 'kubernetes.io/metadata.name': 'np' },
        annotations: {
          'openshift.io/display-name': 'D',
          'openshift.io/description': 'T',
          'openshift.io/requester': 'dev',
        },
      },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
    expect((await send('dev', 'POST', '/api/v1/namespaces/np/secrets', { metadata: { name: 's' } })).status).toBe(201);
    expect((await send('eve', 'GET', '/api/v1/namespaces/np/secrets')).status).toBe(403);
    expect(namesIn(await send('dev', 'GET', '/api/v1/namespaces/np/serviceaccounts'))).toEqual([
      'builder',
      'default',
      'deployer',
    ]);
  });

  test('for a name that exists is refused for resource project, whoever has it', async () => {
    const { send } = await startProjectApi();
    await send('dev', 'POST', requests, body('np'));
    expect(await send('eve', 'POST', requests, body('np'))).toMatchObject({
      status: 409,
      body: {
        reason: 'AlreadyExists',
        message: 'project.project.openshift.io "np" already exists',
        details: { name: 'np', group: 'project.openshift.io', kind: 'project' },
      },
    });
  });

  test('for a reserved name is forbidden, and one for no DNS label is invalid', async () => {
    const { send } = await startProjectApi();
    expect(await send('root', 'POST', requests, body('openshift-x'))).toMatchObject({
      status: 403,
      body: {
        reason: 'Forbidden',
        message:
          'project.project.openshift.io "openshift-x" is forbidden: cannot request a project starting with "openshift-"',
      },
    });
    expect(await send('dev', 'POST', requests, body('A_b'))).toMatchObject({
      status: 422,
      body: { details: { kind: 'Project', causes: [{ field: 'metadata.name' }] } },
    });
    expect(await send('dev', 'POST', requests, body('np', { displayName: 'a\nb' }))).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field: 'metadata.annotations[openshift.io/display-name]' }] } },
    });
  });

  test('makes nothing in a dry run', async () => {
    const { send } = await startProjectApi();
    expect(await send('dev', 'POST', `${requests}?dryRun=All`, body('np'))).toMatchObject({ status: 201 });
    expect((await send('root', 'GET', `${projects}/np`)).status).toBe(404);
  });

  test('is refused with the configured message where users may not have projects, but not to cluster admins', async () => {
    const { send } = await startProjectApi({ selfProvisioning: false, message: 'Ask the platform team.' });
    for (const [method, sent] of [
      ['GET', undefined],
      ['POST', body('np')],
    ] as const) {
      expect(await send('dev', method, requests, sent)).toMatchObject({
        status: 403,
        body: { reason: 'Forbidden', message: 'Ask the platform team.' },
      });
    }
    expect(await send('root', 'GET', requests)).toMatchObject({ body: { status: 'Success' } });
    expect(await send('root', 'POST', requests, body('np'))).toMatchObject({ status: 201, body: { kind: 'Project' } });
  });

  test('has a message of its own when none is configured', async () => {
    const { send } = await startProjectApi({ selfProvisioning: false });
    expect(await send('dev', 'GET', requests)).toMatchObject({
      body: { message: 'You may not request a new project via this API.' },
    });
  });
});

test.each([
  ['openshift', 'cannot request a project with the name "openshift"'],
  ['kubernetes', 'cannot request a project with the name "kubernetes"'],
  ['kube', 'cannot request a project with the name "kube"'],
  ['openshift-infra', 'cannot request a project starting with "openshift-"'],
  ['kubernetes-x', 'cannot request a project starting with "kubernetes-"'],
  ['kube-system', 'cannot request a project starting with "kube-"'],
  ['openshifty', undefined],
  ['my-openshift', undefined],
  ['kubeflow', undefined],
])('the name %s is reserved: %s', (name, why) => {
  expect(reservedName(name)).toBe(why);
});
