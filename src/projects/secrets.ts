import { z } from 'zod';
import { invalid } from '../kube/errors.js';
import { allVerbs, type Call, type Resource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import type { SecretBox } from './secret-box.js';
import {
  accountAnnotations,
  openSecret,
  sealSecret,
  secretKey,
  secretsResource,
  secretTraits,
  secretTypes,
  type Secret,
} from './secret-object.js';
import { secretCauses } from './secret-rules.js';
import type { ServiceAccountSecrets } from './service-account-secrets.js';

/** What secrets are made of. */
export interface SecretOptions {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly accounts: ServiceAccountSecrets;
}

const names: StoredNames = { group: '', plural: 'secrets', kind: 'Secret', isNamespaced: true };

const texts = z.record(z.string(), z.string());

/** What the server puts into a token secret, and keeps there. */
const tokenKeys: readonly string[] = ['token', 'namespace'];

/** core/v1 Secret. The data is encrypted where it is stored. */
export function secretResource({ store, box, accounts }: SecretOptions): Resource {
  const stored = new StoredResource(store, names, {
    prepareCreate: async (call, object) => {
      const secret = withData(object);
      return secret.type === secretTypes.serviceAccountToken ? withToken(accounts, call, secret) : secret;
    },
    prepareUpdate: (_call, object, old) => {
      const secret = withData(object);
      return secret.type === secretTypes.serviceAccountToken ? keepToken(secret, old as Secret) : secret;
    },
    validate: secretCauses,
    traits: secretTraits,
    seal: (object) => sealSecret(box, object),
    open: (object) => openSecret(box, object),
  });
  return {
    ...names,
    version: 'v1',
    singular: 'secret',
    verbs: allVerbs,
    description: 'Secret holds data that only those who may read secrets are to see.',
    schema: z.object({
      type: z.string().optional(),
      data: texts.optional(),
      stringData: texts.optional(),
      immutable: z.boolean().optional(),
    }),
    columns: [
      {
        name: 'Type',
        type: 'string',
        description: 'What kind of data it holds.',
        cell: (object) => (object as Secret).type,
      },
      {
        name: 'Data',
        type: 'integer',
        description: 'How many entries it has.',
        cell: (object) => Object.keys((object as Secret).data ?? {}).length,
      },
      ageColumn,
    ],
    fieldSelectors: ['type'],
    storage: stored,
  };
}

/** Reads secrets for the server's own needs: whether their user may is for the caller to know. */
export class SecretReader {
  readonly #store: ObjectStore;
  readonly #box: SecretBox;

  constructor(store: ObjectStore, box: SecretBox) {
    this.#store = store;
    this.#box = box;
  }

  async find(namespace: string, name: string): Promise<Secret | undefined> {
    const object = await this.#store.find(secretKey(namespace, name));
    return object && openSecret(this.#box, object);
  }

  /** All of a namespace, by name. */
  async *list(namespace: string): AsyncGenerator<Secret> {
    for (let after: { readonly namespace: string; readonly name: string } | undefined; ;) {
      const page = await this.#store.list({
        resource: secretsResource,
        namespace,
        limit: 100,
        ...(after !== undefined && { after }),
      });
      for (const object of page.objects) yield openSecret(this.#box, object);
      const last = page.objects.at(-1);
      if (page.isLast || last === undefined) return;
      after = { namespace, name: last.metadata.name };
    }
  }
}

/** With a type, and with what was given as text among the data. */
function withData({ metadata, ...fields }: ApiObject): Secret {
  const { type, data, stringData, immutable } = fields as {
    readonly type?: string;
    readonly data?: Secret['data'];
    readonly stringData?: Readonly<Record<string, string>>;
    readonly immutable?: boolean;
  };
  const added = Object.entries(stringData ?? {}).map(
    ([key, value]) => [key, Buffer.from(value).toString('base64')] as const,
  );
  const all = Object.fromEntries([...Object.entries(data ?? {}), ...added]);
  return {
    metadata,
    type: type === undefined || type === '' ? secretTypes.opaque : type,
    ...(Object.keys(all).length > 0 && { data: all }),
    ...(immutable !== undefined && { immutable }),
  };
}

/** @throws {StatusError} Invalid when there is no such service account */
async function withToken(accounts: ServiceAccountSecrets, { namespace }: Call, secret: Secret): Promise<Secret> {
  // Without the annotation there is nothing to look for, and validation says so.
  const filled = await accounts.withToken(namespace, secret);
  if (typeof filled !== 'string') return filled;
  throw invalid(names, secret.metadata.name, [
    {
      reason: 'FieldValueNotFound',
      field: filled,
      message: `Not found: the service account is not there or has another uid`,
    },
  ]);
}

/** The token is of the service account it was issued for, whatever else is changed. */
function keepToken(secret: Secret, old: Secret): Secret {
  const kept = Object.entries(old.data ?? {}).filter(([key]) => tokenKeys.includes(key));
  const { name, uid } = accountAnnotations;
  const annotations = { ...secret.metadata.annotations };
  for (const key of [name, uid]) {
    const value = old.metadata.annotations?.[key];
    if (value !== undefined) annotations[key] = value;
  }
  return {
    ...secret,
    metadata: { ...secret.metadata, annotations },
    data: { ...secret.data, ...Object.fromEntries(kept) },
  };
}
