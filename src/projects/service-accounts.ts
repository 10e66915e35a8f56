import { z } from 'zod';
import type { ServiceAccountTokens } from '../auth/service-account-tokens.js';
import { conflict, invalid, notFound, type StatusCause } from '../kube/errors.js';
import { invalidValue, timestamp } from '../kube/object-meta.js';
import { allVerbs, type Call, type Resource, type Subresource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { secretKey, secretsResource } from './secret-object.js';
import type { ServiceAccount, ServiceAccountSecrets } from './service-account-secrets.js';

/** What service accounts are made of. */
export interface ServiceAccountOptions {
  readonly store: ObjectStore;
  readonly secrets: ServiceAccountSecrets;
  readonly tokens: Pick<ServiceAccountTokens, 'issue'>;
  /** The longest life of a token that is asked for; a year when left out. */
  readonly maxTokenSeconds?: number;
}

const names: StoredNames = { group: '', plural: 'serviceaccounts', kind: 'ServiceAccount', isNamespaced: true };
const usualTokenSeconds = 3600;
const minTokenSeconds = 600;
const yearSeconds = 365 * 24 * 3600;

const text = z.string().optional();

/** core/v1 ServiceAccount, with its subresource `token`. */
export function serviceAccountResource(options: ServiceAccountOptions): Resource {
  const { store, secrets } = options;
  const stored = new StoredResource(store, names, {
    prepareCreate: (_call, object) => secrets.withPullSecret(object),
    alongside: (_call, created) => secrets.secretWrites(created),
  });
  return {
    ...names,
    version: 'v1',
    singular: 'serviceaccount',
    shortNames: ['sa'],
    verbs: allVerbs,
    description: 'ServiceAccount is a name for programs to log in by, with tokens in the place of a password.',
    schema: z.object({
      secrets: z
        .array(
          z.object({
            kind: text,
            namespace: text,
            name: text,
            uid: text,
            apiVersion: text,
            resourceVersion: text,
            fieldPath: text,
          }),
        )
        .optional(),
      imagePullSecrets: z.array(z.object({ name: text })).optional(),
      automountServiceAccountToken: z.boolean().optional(),
    }),
    columns: [
      {
        name: 'Secrets',
        type: 'integer',
        description: 'How many secrets it names.',
        cell: (account) => (account as ServiceAccount).secrets?.length ?? 0,
      },
      ageColumn,
    ],
    // imagePullSecrets has no merge key: a strategic merge patch replaces it, as on the real server.
    mergeStrategies: { secrets: { kind: 'merge', key: 'name' } },
    storage: {
      get: stored.get,
      list: stored.list,
      create: stored.create,
      update: stored.update,
      watch: stored.watch,
      remove: async (call, name, wanted) => {
        const removed = await stored.remove(call, name, wanted);
        const isGone = !wanted.dryRun && removed.metadata.deletionTimestamp === undefined;
        if (isGone) await secrets.removeSecretsOf(removed);
        return removed;
      },
    },
    subresources: [tokenSubresource(options)],
  };
}

/** authentication.k8s.io/v1 TokenRequestSpec. */
interface TokenRequestSpec {
  readonly audiences?: readonly string[];
  readonly expirationSeconds?: number;
  readonly boundObjectRef?: {
    readonly kind?: string;
    readonly apiVersion?: string;
    readonly name?: string;
    readonly uid?: string;
  };
}

/** authentication.k8s.io/v1 TokenRequest: a token of the service account, as long-lived as was asked for. */
function tokenSubresource({ store, tokens, maxTokenSeconds = yearSeconds }: ServiceAccountOptions): Subresource {
  return {
    name: 'token',
    kind: 'TokenRequest',
    group: 'authentication.k8s.io',
    version: 'v1',
    verbs: ['create'],
    schema: z.object({
      spec: z
        .object({
          audiences: z.array(z.string()).optional(),
          expirationSeconds: z.int().optional(),
          boundObjectRef: z.object({ kind: text, apiVersion: text, name: text, uid: text }).optional(),
        })
        .optional(),
      status: z.object({ token: text, expirationTimestamp: text }).optional(),
    }),
    create: async (call, name, object, { dryRun }) => {
      const { namespace, now } = call;
      const account = await store.find({ resource: names.plural, namespace, name });
      if (account === undefined) throw notFound(names, name);
      const { spec = {} } = object as ApiObject & { readonly spec?: TokenRequestSpec };
      const causes = tokenRequestCauses(spec);
      if (causes.length > 0) throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, name, causes);
      const secret = await boundSecret(store, call, spec);
      const asked = spec.expirationSeconds ?? Math.min(usualTokenSeconds, maxTokenSeconds);
      const lifetimeSeconds = Math.min(asked, maxTokenSeconds);
      if (lifetimeSeconds < asked) {
        call.warn(`requested expiration of ${asked} seconds shortened to ${lifetimeSeconds} seconds`);
      }
      const { audiences = [] } = spec;
      const issued = dryRun
        ? { token: '', expiresAt: new Date(now.getTime() + lifetimeSeconds * 1000) }
        : await tokens.issue({
            namespace,
            name,
            uid: account.metadata.uid,
            audiences,
            lifetimeSeconds,
            ...(secret !== undefined && { secret }),
          });
      return {
        metadata: { name, namespace, creationTimestamp: timestamp(now) } as ApiObject['metadata'],
        spec: { ...spec, audiences, expirationSeconds: lifetimeSeconds },
        status: { token: issued.token, expirationTimestamp: timestamp(issued.expiresAt) },
      };
    },
  };
}

/** Kubernetes, ValidateTokenRequest. */
function tokenRequestCauses({ expirationSeconds, boundObjectRef }: TokenRequestSpec): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  if (expirationSeconds !== undefined && expirationSeconds < minTokenSeconds) {
    const rule = 'may not specify a duration less than 10 minutes';
    causes.push(invalidValue('spec.expirationSeconds', expirationSeconds, rule));
  }
  if (boundObjectRef !== undefined && (boundObjectRef.kind !== 'Secret' || boundObjectRef.apiVersion !== 'v1')) {
    causes.push({
      reason: 'FieldValueNotSupported',
      field: 'spec.boundObjectRef.kind',
      message: `Unsupported value: ${JSON.stringify(boundObjectRef.kind ?? '')}: supported values: "Secret" of "v1"`,
    });
  }
  return causes;
}

/** @throws {StatusError} NotFound, or Conflict when it is another one by now */
async function boundSecret(
  store: ObjectStore,
  { namespace }: Call,
  { boundObjectRef }: TokenRequestSpec,
): Promise<{ readonly name: string; readonly uid: string } | undefined> {
  if (boundObjectRef === undefined) return undefined;
  const { name = '', uid: wanted = '' } = boundObjectRef;
  const resource = { group: '', plural: secretsResource };
  const secret = await store.find(secretKey(namespace, name));
  if (secret === undefined) throw notFound(resource, name);
  const { uid } = secret.metadata;
  if (wanted !== '' && wanted !== uid) {
    const why = `the UID in the bound object reference (${wanted}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw conflict(resource, name, why);
  }
  return { name, uid };
}
