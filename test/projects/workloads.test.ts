import { describe, expect, test } from 'vitest';
import { startProjectApi } from './project-api.js';

describe('workloads', () => {
  test.each([
    ['/api/v1/pods', 'PodList', 'v1'],
    ['/api/v1/namespaces/library/pods', 'PodList', 'v1'],
    ['/api/v1/replicationcontrollers', 'ReplicationControllerList', 'v1'],
    ['/api/v1/namespaces/library/services', 'ServiceList', 'v1'],
    ['/api/v1/namespaces/library/persistentvolumeclaims', 'PersistentVolumeClaimList', 'v1'],
    ['/apis/apps/v1/statefulsets', 'StatefulSetList', 'apps/v1'],
    ['/apis/apps/v1/daemonsets', 'DaemonSetList', 'apps/v1'],
    ['/apis/apps/v1/deployments', 'DeploymentList', 'apps/v1'],
    ['/apis/apps/v1/replicasets', 'ReplicaSetList', 'apps/v1'],
    ['/apis/batch/v1/jobs', 'JobList', 'batch/v1'],
    ['/apis/batch/v1/cronjobs', 'CronJobList', 'batch/v1'],
    ['/apis/build.openshift.io/v1/buildconfigs', 'BuildConfigList', 'build.openshift.io/v1'],
    ['/apis/build.openshift.io/v1/builds', 'BuildList', 'build.openshift.io/v1'],
    ['/apis/apps.openshift.io/v1/deploymentconfigs', 'DeploymentConfigList', 'apps.openshift.io/v1'],
    ['/apis/autoscaling/v1/horizontalpodautoscalers', 'HorizontalPodAutoscalerList', 'autoscaling/v1'],
    ['/apis/route.openshift.io/v1/routes', 'RouteList', 'route.openshift.io/v1'],
  ])('at %s are an empty %s', async (path, kind, apiVersion) => {
    const { send } = await startProjectApi();
    const { status, body } = await send('root', 'GET', path);
    expect(status).toBe(200);
    expect(body).toEqual({
      kind,
      apiVersion,
      metadata: { resourceVersion: expect.stringMatching(/^\d+$/) as string },
      items: [],
    });
  });

  test('are not found one by one, cannot be made, and are not in discovery', async () => {
    const { send } = await startProjectApi();
    const pods = '/api/v1/namespaces/library/pods';
    expect(await send('root', 'GET', `${pods}/p`)).toMatchObject({
      status: 404,
      body: { message: 'pods "p" not found' },
    });
    expect((await send('root', 'POST', pods, { metadata: { name: 'p' } })).status).toBe(405);
    expect((await send('eve', 'GET', pods)).status).toBe(403);
    const { body } = await send('root', 'GET', '/api/v1');
    const names = (body['resources'] as readonly { readonly name: string }[]).map(({ name }) => name);
    expect(names).toContain('secrets');
    expect(names).not.toContain('pods');
  });
});
