import { z } from 'zod';
import { accessTokensResource, type AccessTokenObject } from '../auth/access-tokens.js';
import { notFound, type StatusCause } from '../kube/errors.js';
import { invalidValue, timestamp } from '../kube/object-meta.js';
import {
  allVerbs,
  type Call,
  type Column,
  type ListQuery,
  type RemoveOptions,
  type Resource,
  type ResourceStorage,
} from '../kube/resource.js';
import { checkPreconditions, listPaged, StoredResource } from '../kube/stored-resource.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import {
  hashClientSecret,
  isClientSecret,
  minSecretLength,
  wrongRedirectUri,
  type OAuthClientObject,
} from './oauth-clients.js';

const group = 'oauth.openshift.io';
const tokenNames = { group, plural: 'oauthaccesstokens', kind: 'OAuthAccessToken', isNamespaced: false } as const;
const ownTokenNames = {
  group,
  plural: 'useroauthaccesstokens',
  kind: 'UserOAuthAccessToken',
  isNamespaced: false,
} as const;
const clientNames = { group, plural: 'oauthclients', kind: 'OAuthClient', isNamespaced: false } as const;

const tokenSchema = z.object({
  clientName: z.string().optional().describe('The OAuthClient the token was given to.'),
  expiresIn: z.number().optional().describe('Seconds from its creation after which the token is worth nothing.'),
  redirectURI: z.string().optional().describe('Where the client had the token sent.'),
  scopes: z.array(z.string()).optional().describe('What the token is narrowed to.'),
  userName: z.string().optional().describe('The User who acts with the token.'),
  userUID: z.string().optional().describe('The uid of that user.'),
});

function tokenColumn(name: string, description: string, cell: (token: AccessTokenObject) => string): Column {
  return { name, type: 'string', description, cell: (object) => cell(object as AccessTokenObject) };
}

const userNameColumn = tokenColumn('User Name', 'The User who acts with the token.', ({ userName }) => userName);
const tokenColumns: readonly Column[] = [
  tokenColumn('Client Name', 'The OAuthClient the token was given to.', ({ clientName }) => clientName),
  tokenColumn('Created', 'When the token was made.', ({ metadata }) => metadata.creationTimestamp),
  tokenColumn('Expires', 'When the token will be worth nothing.', ({ metadata, expiresIn }) =>
    timestamp(new Date(Date.parse(metadata.creationTimestamp) + expiresIn * 1000)),
  ),
  tokenColumn('Redirect URI', 'Where the client had the token sent.', ({ redirectURI }) => redirectURI ?? ''),
  tokenColumn('Scopes', 'What the token is narrowed to.', ({ scopes }) => scopes.join(',')),
];

/** The resource of everybody's tokens. They are made by logging in only; who owns one may delete it by its name. */
export function accessTokenResource(store: ObjectStore): Resource {
  const stored = new StoredResource(store, tokenNames, { lookup: ({ fields }) => fields['userName'] });
  return {
    ...tokenNames,
    version: 'v1',
    singular: 'oauthaccesstoken',
    verbs: ['delete', 'get', 'list', 'watch'],
    description: 'OAuthAccessToken is a token somebody was given; its name is made from a hash of the secret.',
    schema: tokenSchema,
    columns: [userNameColumn, ...tokenColumns],
    fieldSelectors: ['userName', 'clientName', 'userUID'],
    selfFiltered: ['delete'],
    storage: {
      get: stored.get,
      list: stored.list,
      watch: stored.watch,
      remove: async (call, name, options) => {
        const token = (await store.find(tokenKey(name))) as AccessTokenObject | undefined;
        const isOwn = token?.userName === call.principal.name;
        // Whoever may not know hears the same of a token that is there and of one that is not.
        if (!isOwn && !(await call.may({ verb: 'delete', group, resource: tokenNames.plural, name }))) {
          throw notFound(tokenNames, name);
        }
        return stored.remove(call, name, options);
      },
    },
  };
}

/** The resource of the caller's own tokens: the same objects, seen by their owner. */
export function ownAccessTokenResource(store: ObjectStore): Resource {
  const find = async ({ principal }: Call, name: string): Promise<AccessTokenObject> => {
    const token = (await store.find(tokenKey(name))) as AccessTokenObject | undefined;
    if (token?.userName !== principal.name) throw notFound(ownTokenNames, name);
    return token;
  };
  return {
    ...ownTokenNames,
    version: 'v1',
    singular: 'useroauthaccesstoken',
    verbs: ['delete', 'get', 'list', 'watch'],
    description: 'UserOAuthAccessToken is a token of the one who asks.',
    schema: tokenSchema,
    columns: tokenColumns,
    fieldSelectors: ['clientName'],
    storage: {
      get: find,
      list: (call, query) => listOwn(store, call, query),
      remove: async (call, name, options) => removeOwn(store, await find(call, name), options),
      watch: {
        resource: accessTokensResource,
        view: (stored) => stored,
        visible:
          ({ principal }) =>
          (object) =>
            Promise.resolve((object as AccessTokenObject).userName === principal.name),
      },
    },
  };
}

function listOwn(store: ObjectStore, { principal }: Call, query: ListQuery) {
  const isWanted = (object: ApiObject) =>
    (object as AccessTokenObject).userName === principal.name && query.matches(object);
  return listPaged({ ...query, matches: isWanted }, (after, limit) =>
    store.list({
      resource: accessTokensResource,
      lookup: principal.name,
      limit,
      ...(after !== undefined && { after }),
    }),
  );
}

async function removeOwn(
  store: ObjectStore,
  token: AccessTokenObject,
  { dryRun, ...preconditions }: RemoveOptions,
): Promise<ApiObject> {
  checkPreconditions(ownTokenNames, token, preconditions);
  if (dryRun) return token;
  const { name, uid } = token.metadata;
  const result = await store.commit([{ kind: 'remove', ...tokenKey(name), uid }]);
  if (result.kind === 'refused') throw notFound(ownTokenNames, name);
  return result.objects[0]!;
}

function tokenKey(name: string) {
  return { resource: accessTokensResource, namespace: '', name };
}

const clientSchema = z.object({
  secret: z
    .string()
    .optional()
    .describe(
      `What the client proves with that it is the client; at least ${minSecretLength} characters. It is never shown.`,
    ),
  respondWithChallenges: z
    .boolean()
    .optional()
    .describe('Whether the client is asked for a password with a Basic challenge, and not with a page.'),
  redirectURIs: z.array(z.string()).optional().describe('Where the client may have people sent back to, exactly.'),
  grantMethod: z
    .enum(['auto', 'prompt'])
    .optional()
    .describe('Whether people are told that the client will act for them.'),
  accessTokenMaxAgeSeconds: z
    .int()
    .min(60)
    .max(10 * 365 * 86_400)
    .optional()
    .describe('How long tokens of this client live.'),
  scopeRestrictions: z
    .array(z.object({ literals: z.array(z.string()).optional() }))
    .optional()
    .describe('The scopes this client may ask for.'),
});

function clientColumn(name: string, description: string, cell: (client: OAuthClientObject) => string): Column {
  return { name, type: 'string', description, cell: (object) => cell(object) };
}

/** The resource of OAuth clients. Secrets go in and never come out. */
export function oauthClientResource(store: ObjectStore): Resource {
  return {
    ...clientNames,
    version: 'v1',
    singular: 'oauthclient',
    verbs: allVerbs,
    description: 'OAuthClient is a program that people let act for them by logging in.',
    schema: clientSchema,
    columns: [
      clientColumn('WWW-Challenge', 'Whether it gets a Basic challenge.', ({ respondWithChallenges }) =>
        respondWithChallenges === true ? 'true' : 'false',
      ),
      clientColumn('Token-Max-Age', 'How long its tokens live.', ({ accessTokenMaxAgeSeconds: seconds }) =>
        seconds === undefined ? 'default' : `${seconds}s`,
      ),
      clientColumn('Redirect URIs', 'Where people are sent back to.', ({ redirectURIs }) =>
        (redirectURIs ?? []).join(','),
      ),
    ],
    mergeStrategies: { redirectURIs: { kind: 'set' } },
    storage: clientStorage(store),
  };
}

/** A client as it is sent: with its secret, of which only the hash is stored. */
type SentClient = OAuthClientObject & { readonly secret?: string };

function clientStorage(store: ObjectStore): ResourceStorage {
  const stored = new StoredResource(store, clientNames, {
    nameRule: 'path-segment',
    prepareCreate: (_call, object) => withHashedSecret(object, undefined),
    prepareUpdate: (_call, object, old) => withHashedSecret(object, old),
    validate: (object) => clientCauses(object),
  });
  return {
    get: async (call, name) => withoutSecret(await stored.get(call, name)),
    list: async (call, query) => {
      const list = await stored.list(call, query);
      return { ...list, items: list.items.map(withoutSecret) };
    },
    create: async (call, object, options) => withoutSecret(await stored.create(call, object, options)),
    update: async (call, name, change, options) => {
      // A patch sees what its sender sees.
      const changed = await stored.update(call, name, (old) => change(old && withoutSecret(old)), options);
      return { ...changed, object: withoutSecret(changed.object) };
    },
    remove: async (call, name, options) => withoutSecret(await stored.remove(call, name, options)),
    watch: { resource: stored.watch.resource, view: withoutSecret },
  };
}

const hidden = ['secret', 'secretHash'];

function withoutSecret({ metadata, ...client }: ApiObject): ApiObject {
  return { metadata, ...Object.fromEntries(Object.entries(client).filter(([field]) => !hidden.includes(field))) };
}

/** Without a secret in it the client keeps the one it has; an empty one takes it away. */
function withHashedSecret(sent: SentClient, old: OAuthClientObject | undefined): SentClient {
  const { secret } = sent;
  const client: OAuthClientObject = withoutSecret(sent);
  const kept = old?.secretHash;
  if (secret === undefined) return { ...client, ...(kept !== undefined && { secretHash: kept }) };
  if (secret === '') return client;
  if (secret.length < minSecretLength) return { ...client, secret };
  const isSame = kept !== undefined && isClientSecret({ metadata: client.metadata, secretHash: kept }, secret);
  return { ...client, secretHash: isSame ? kept : hashClientSecret(secret) };
}

function clientCauses({ metadata, secret, redirectURIs = [] }: SentClient): readonly StatusCause[] {
  const causes: StatusCause[] = [];
  if (metadata.name.includes(':')) causes.push(invalidValue('metadata.name', metadata.name, 'may not contain ":"'));
  // The value is not told: it may be the beginning of a secret.
  if (secret !== undefined) {
    causes.push({
      reason: 'FieldValueInvalid',
      field: 'secret',
      message: `Invalid value: must have at least ${minSecretLength} characters`,
    });
  }
  for (const [index, uri] of redirectURIs.entries()) {
    const wrong = wrongRedirectUri(uri);
    if (wrong !== undefined) causes.push(invalidValue(`redirectURIs[${index}]`, uri, wrong));
  }
  return causes;
}

/** The resources of what the OAuth server gives out (group oauth.openshift.io). */
export function oauthResources(store: ObjectStore): readonly Resource[] {
  return [accessTokenResource(store), oauthClientResource(store), ownAccessTokenResource(store)];
}
