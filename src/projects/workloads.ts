import { z } from 'zod';
import { notFound } from '../kube/errors.js';
import type { Resource } from '../kube/resource.js';
import type { ObjectStore } from '../metadata/object-store.js';

/** What clients list though nothing runs here: group/version, then kind by plural. */
const kinds: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '/v1': {
    persistentvolumeclaims: 'PersistentVolumeClaim',
    pods: 'Pod',
    replicationcontrollers: 'ReplicationController',
    services: 'Service',
  },
  'apps/v1': {
    daemonsets: 'DaemonSet',
    deployments: 'Deployment',
    replicasets: 'ReplicaSet',
    statefulsets: 'StatefulSet',
  },
  'apps.openshift.io/v1': { deploymentconfigs: 'DeploymentConfig' },
  'autoscaling/v1': { horizontalpodautoscalers: 'HorizontalPodAutoscaler' },
  'batch/v1': { cronjobs: 'CronJob', jobs: 'Job' },
  'build.openshift.io/v1': { buildconfigs: 'BuildConfig', builds: 'Build' },
  'route.openshift.io/v1': { routes: 'Route' },
};

/**
 * Resources of workloads, always empty and not in discovery: `oc adm prune images`, `oc adm top images` and `oc status`
 * list them at fixed paths, and take a 404 for a failure.
 */
export function workloadResources(store: ObjectStore): readonly Resource[] {
  return Object.entries(kinds).flatMap(([groupVersion, plurals]) => {
    const [group = '', version = ''] = groupVersion.split('/');
    return Object.entries(plurals).map(([plural, kind]): Resource => ({
      group,
      version,
      kind,
      plural,
      singular: kind.toLowerCase(),
      isNamespaced: true,
      isHidden: true,
      verbs: ['list'],
      description: `No ${kind} ever runs here.`,
      schema: z.object({}),
      storage: {
        get: (_call, name) => Promise.reject(notFound({ group, plural }, name)),
        list: async () => ({ items: [], resourceVersion: String(await store.currentVersion()) }),
      },
    }));
  });
}
