import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { parseDuration } from './oci/duration.js';
import { missingSecretKeys } from './secret-keys.js';

/** A configuration that cannot be used; `problems` has one line for each wrong value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`configuration is not valid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

const seconds = z.int().min(1);
/** Node's timers hold no more than 2^31 milliseconds, and fire at once when asked for more. */
const timerSeconds = seconds.max(2_000_000);
const flag = z.boolean();

const duration = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, 'expected a number with s, m, h or d, such as 14d');

/** In milliseconds, of a duration such as `14d`. */
export function durationMs(text: string): number {
  return parseDuration(text) ?? 0;
}

const listen = z.string().transform((text, context) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match && port <= 65535) return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : match[2]!), port };
  context.addIssue({ code: 'custom', message: 'expected host:port, such as 127.0.0.1:5000 or [::1]:5000' });
  return z.NEVER;
});

const publicUrl = z
  .string()
  .refine((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    return (
      url !== undefined &&
      /^https?:$/.test(url.protocol) &&
      url.pathname === '/' &&
      url.search === '' &&
      url.username === ''
    );
  }, 'expected http(s)://host[:port] without a path')
  .transform((text) => new URL(text).origin);

const httpUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'expected an http(s) URL');

const addressRange = z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], {
  error: 'expected an address or a range of addresses, such as 10.0.0.0/8',
});

const registryRule = 'expected host or host:port, such as quay.io, *.example.org or r.example.org:5000';
const registryName = z.string().regex(/^[A-Za-z0-9.*?-]{1,253}(:[0-9*?]{1,5})?$/, registryRule);
const allowedRegistry = z.union(
  [
    registryName.transform((domainName) => ({ domainName, insecure: false })),
    z.strictObject({ domainName: registryName, insecure: flag.default(false) }),
  ],
  { error: `${registryRule}, or domainName with that and insecure` },
);

const upstreamPlace = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?(\/[a-z0-9._/-]{1,255})?$/,
    'expected host[:port] or host[:port]/path, such as docker.io or r.example.org:5000/team',
  );
const upstreamRegistry = z
  .strictObject({
    registry: upstreamPlace,
    username: z.string().min(1).optional(),
    password: z.string().min(1).optional(),
    passwordFile: z.string().min(1).optional(),
    projects: z.array(z.string().regex(/^[a-z0-9*?-]{1,63}$/, 'expected names of projects, with * and ?')).optional(),
    caFile: z.string().min(1).optional(),
    insecure: flag.optional(),
    tokenHosts: z.array(z.string().regex(/^[A-Za-z0-9.-]{1,253}$/, 'expected a host name')).optional(),
    requests: z.int().min(1).optional(),
    windowSeconds: seconds.optional(),
    mirrors: z.array(upstreamPlace).optional(),
    mirrorsFor: z.enum(['all', 'digests', 'tags']).optional(),
    neverSource: flag.optional(),
    blocked: flag.optional(),
  })
  .refine((each) => each.username === undefined || (each.password ?? each.passwordFile) !== undefined, {
    error: 'a username needs password or passwordFile',
  });
const hostPattern = z
  .string()
  .regex(
    /^(\[[0-9A-Fa-f:.*?]{2,45}\]|[A-Za-z0-9.*?-]{1,253})(:[0-9*?]{1,5})?$/,
    'expected host or host:port, such as registry.internal, *.corp.example or 10.0.0.7:5000',
  );

const schema = z.strictObject({
  listen: listen.prefault('127.0.0.1:5000').describe('host:port of the one listener'),
  dataDir: z
    .string()
    .min(1)
    .default('./weir-data')
    .transform((path) => resolve(path))
    .describe('SQLite file, blobs, keys, CA, first password'),
  publicUrl: publicUrl.optional().describe('what clients call it, behind a proxy (from the request)'),
  defaultProject: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'expected a DNS label: up to 63 characters a-z, 0-9 and -')
    .default('library')
    .describe('the project of a repository name without one: app is library/app'),
  workers: z.int().min(1).max(256).default(1).describe('processes sharing the listener'),
  logLevel: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('fatal, error, warn, info, debug, trace or silent'),
  shutdownGraceSeconds: timerSeconds.default(30).describe('how long running requests may take after SIGTERM'),
  admin: z
    .strictObject({
      password: z
        .string()
        .min(1)
        .refine((text) => Buffer.byteLength(text) <= 72, 'expected at most 72 bytes: bcrypt looks at no more')
        .optional()
        .describe('of user admin, first start only (generated)'),
    })
    .prefault({}),
  anonymous: z.strictObject({ pull: flag.default(false).describe('whether projects may be made public') }).prefault({}),
  projects: z
    .strictObject({
      createOnPush: z
        .enum(['admins', 'never', 'self-provisioners'])
        .default('admins')
        .describe('whose push may make a project that is not there: admins, never, or self-provisioners'),
      selfProvisioning: flag.default(true).describe('whether people may make projects for themselves'),
      requestMessage: z
        .string()
        .default('You may not request a new project via this API.')
        .describe('what those are told who may not'),
    })
    .prefault({}),
  secrets: z
    .strictObject({
      keys: z
        .array(z.string().refine((text) => Buffer.from(text, 'base64').length === 32, 'expected 32 bytes in base64'))
        .default([])
        .describe('by which secrets are encrypted, the first, or were: 32 bytes in base64 each (made in dataDir/keys)'),
    })
    .prefault({}),
  auth: z
    .strictObject({
      htpasswd: z.string().min(1).optional().describe('a file of users (htpasswd -B), read again when it changes'),
    })
    .prefault({}),
  oauth: z
    .strictObject({
      accessTokenSeconds: seconds.default(86_400).describe('how long an API token is good for'),
    })
    .prefault({}),
  oidc: z
    .strictObject({
      name: z
        .string()
        .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'expected a DNS label')
        .default('oidc')
        .describe('of the identity provider, as people read it'),
      issuer: z
        .string()
        .refine((text) => URL.canParse(text), 'expected a URL')
        .optional()
        .describe('URL of an OpenID Connect provider that people sign in with'),
      clientId: z.string().min(1).optional().describe('of Weir at the provider'),
      clientSecret: z.string().min(1).optional().describe('of Weir at the provider'),
      scopes: z.array(z.string()).default(['openid', 'profile', 'groups']).describe('asked for at sign-in'),
      usernameClaim: z.string().default('preferred_username').describe('the claim that becomes the user name'),
      groupsClaim: z.string().default('groups').describe('the claim that becomes the groups'),
      groupsPrefix: z.string().default('').describe('put before the names of groups from the provider'),
      caFile: z.string().min(1).optional().describe('PEM certificates by which the provider is known'),
    })
    .prefault({})
    .refine((oidc) => oidc.issuer === undefined || oidc.clientId !== undefined, {
      error: 'an issuer needs oidc.clientId',
    }),
  audit: z
    .strictObject({
      file: z
        .string()
        .min(1)
        .optional()
        .describe('audit records as JSON lines, beside the database; "-": standard output'),
      retentionDays: z.int().min(1).max(36_500).default(90).describe('how long audit records are kept'),
    })
    .prefault({}),
  tls: z
    .strictObject({
      mode: z.enum(['auto', 'off', 'files']).default('auto').describe('auto (own CA), off, or files'),
      cert: z.string().min(1).optional().describe('PEM certificate chain, with mode files'),
      key: z.string().min(1).optional().describe('PEM private key, with mode files'),
    })
    .prefault({})
    .refine((tls) => tls.mode !== 'files' || (tls.cert !== undefined && tls.key !== undefined), {
      error: 'mode "files" needs tls.cert and tls.key',
    }),
  database: z
    .strictObject({
      url: z
        .string()
        .refine(
          (text) => text === 'sqlite' || /^postgres(ql)?:\/\/[^/]/.test(text),
          'expected "sqlite" or postgres://user:password@host:port/name',
        )
        .default('sqlite')
        .describe('"sqlite" (a file in dataDir), or postgres://user:password@host:port/name for replicas'),
      poolSize: z.int().min(2).max(1000).default(10).describe('connections of each process to PostgreSQL at most'),
      connectTimeoutSeconds: timerSeconds
        .default(10)
        .describe('how long requests wait for PostgreSQL while it cannot be reached'),
      statementTimeoutSeconds: timerSeconds.default(30).describe('after this long PostgreSQL gives a statement up'),
    })
    .prefault({}),
  blobstore: z
    .strictObject({
      kind: z.enum(['disk', 's3']).default('disk').describe('where new bytes go: disk (dataDir), or s3'),
      s3: z
        .strictObject({
          bucket: z
            .string()
            .min(3)
            .optional()
            .describe('bucket of an S3 store; bytes in it are read whatever the kind'),
          endpoint: httpUrl.optional().describe('URL of a store that is not of AWS, such as http://minio:9000'),
          region: z
            .string()
            .min(1)
            .optional()
            .describe('region of the bucket (from the environment as with every AWS tool; us-east-1 with an endpoint)'),
          prefix: z
            .string()
            .regex(/^([\w.-]+(\/[\w.-]+)*)?$/, 'expected names with / between them')
            .default('')
            .describe('put before the name of every object'),
          pathStyle: flag
            .optional()
            .describe('bucket in the path instead of the host name (true with an endpoint, false without)'),
          accessKeyId: z
            .string()
            .min(1)
            .optional()
            .describe('of the account (from the environment, files or metadata service as with every AWS tool)'),
          secretAccessKey: z.string().min(1).optional().describe('of the account'),
          caFile: z.string().min(1).optional().describe('PEM certificates by which the endpoint is known'),
          encryption: z
            .enum(['AES256', 'aws:kms', 'aws:kms:dsse'])
            .optional()
            .describe('encryption asked of the store: AES256, aws:kms or aws:kms:dsse (that of the bucket)'),
          kmsKeyId: z.string().min(1).optional().describe('key of aws:kms (that of the account)'),
          bufferBytes: z
            .int()
            .min(0)
            .default(128 * 1024 * 1024)
            .describe('memory for uploads of a process; more only when there are so many that 5 MiB for each is more'),
          redirect: flag.default(false).describe('whether blobs are read at the store itself, by a URL that expires'),
          redirectExpireSeconds: z.int().min(1).max(604_800).default(1200).describe('how long such a URL is good for'),
          redirectExclude: z
            .array(addressRange)
            .default([])
            .describe('addresses of clients that are never sent there, such as 10.0.0.0/8'),
        })
        .prefault({})
        .refine((s3) => (s3.accessKeyId === undefined) === (s3.secretAccessKey === undefined), {
          error: 'accessKeyId and secretAccessKey go together',
        })
        .refine((s3) => s3.kmsKeyId === undefined || s3.encryption?.startsWith('aws:kms') === true, {
          error: 'kmsKeyId needs encryption aws:kms',
        }),
    })
    .prefault({})
    .refine((blobstore) => blobstore.kind !== 's3' || blobstore.s3.bucket !== undefined, {
      error: 'kind "s3" needs blobstore.s3.bucket',
    }),
  policy: z
    .strictObject({
      sparse: z
        .array(z.enum(['images', 'indexes']))
        .default([])
        .describe('manifests that may be pushed before what they refer to: images, indexes'),
    })
    .prefault({}),
  imports: z
    .strictObject({
      allowedRegistries: z
        .array(allowedRegistry)
        .optional()
        .describe('registries that images may be imported from, as host or host:port with * and ? (all)'),
      automatic: flag
        .default(true)
        .describe('whether this process imports tags that are newly wanted or scheduled; false: only when asked'),
      intervalSeconds: seconds.default(900).describe('how often tags that follow another registry are looked for'),
      minIntervalSeconds: seconds.default(60).describe('how often a project or a tag may have them looked for at most'),
      maxTagsPerRepository: z
        .int()
        .min(-1)
        .default(50)
        .describe('tags imported at most when a whole repository is imported; -1: all'),
    })
    .prefault({}),
  upstreams: z
    .strictObject({
      allowPrivate: z
        .array(hostPattern)
        .default([])
        .describe('registries at private addresses that may be spoken to: host or host:port, with * and ?'),
      timeoutSeconds: timerSeconds.default(30).describe('after this long without a byte a registry is given up'),
      httpProxy: z.string().optional().describe('URL of the proxy for http (from http_proxy)'),
      httpsProxy: z.string().optional().describe('URL of the proxy for https (from https_proxy)'),
      noProxy: z.string().optional().describe('hosts that are spoken to without a proxy (from no_proxy)'),
      registries: z
        .array(upstreamRegistry)
        .default([])
        .describe(
          'what is known of other registries: credentials, authorities, mirrors, budgets; see docs/upstreams.md',
        ),
    })
    .prefault({}),
  pullThrough: z
    .strictObject({
      keep: flag.default(true).describe('whether what tags with referencePolicy Local pull from elsewhere is kept'),
      keepSource: flag.default(false).describe('whether what all other tags pull from elsewhere is kept too'),
    })
    .prefault({}),
  uploads: z
    .strictObject({
      expireSeconds: seconds.default(86_400).describe('after this long without a byte an upload is given up'),
      idleTimeoutSeconds: timerSeconds.default(60).describe('after this long without a byte a request body is cut off'),
      minimumBytesPerSecond: z
        .int()
        .min(0)
        .default(1024)
        .describe('a body slower than this over the idle time is cut off; 0: never'),
    })
    .prefault({}),
  collection: z
    .strictObject({
      graceSeconds: z.int().min(0).default(86_400).describe('how long a blob that nothing refers to is kept'),
      intervalSeconds: timerSeconds.default(60).describe('how often such blobs are looked for'),
    })
    .prefault({}),
  maintenance: z
    .strictObject({
      readOnly: flag.default(false).describe('whether the registry refuses pushes and deletions; pulls go on'),
    })
    .prefault({}),
  history: z
    .strictObject({
      shownEvents: z
        .int()
        .min(1)
        .max(10_000)
        .default(100)
        .describe('entries of the history of each tag that an image stream shows; the rest is paged'),
      deletedTagRetention: duration
        .default('14d')
        .describe('how long the history of a deleted tag is kept, so that it can be brought back'),
    })
    .prefault({}),
  tokens: z
    .strictObject({
      lifetimeSeconds: z.int().min(60).max(3600).default(300).describe('of a registry token'),
      refreshLifetimeSeconds: seconds
        .default(30 * 86_400)
        .describe('of a refresh token (docker keeps one after login)'),
    })
    .prefault({}),
});

/** Everything an operator can decide, checked; the names are those of `weir.yaml`. */
export type Config = z.output<typeof schema>;

/** One value an operator can set. */
export interface ConfigEntry {
  /** In `weir.yaml`, as in `tls.mode`. */
  readonly path: string;
  /** In the environment, as in `WEIR_TLS_MODE`. */
  readonly variable: string;
  readonly default: unknown;
  readonly meaning: string;
  /** A list is written with commas in the environment, or as JSON, numbers and flags in their usual spelling. */
  readonly type: 'text' | 'number' | 'flag' | 'list';
}

/** All entries in the order of the schema, for documentation and for reading the environment. */
export const configEntries: readonly ConfigEntry[] = collectEntries(
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema,
  [],
);

interface JsonSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly description?: string;
}

function collectEntries(node: JsonSchema, path: readonly string[]): ConfigEntry[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([name, child]) => collectEntries(child, [...path, name]));
  }
  const type = node.type ?? typeof node.const;
  return [
    {
      path: path.join('.'),
      variable: `WEIR_${path.map((name) => name.replace(/([A-Z])/g, '_$1').toUpperCase()).join('_')}`,
      default: node.default,
      meaning: node.description ?? '',
      type:
        type === 'integer' || type === 'number'
          ? 'number'
          : type === 'boolean'
            ? 'flag'
            : type === 'array'
              ? 'list'
              : 'text',
    },
  ];
}

/** What other programs are told by variables of these names, in lower or upper case. */
const usualVariables = [
  [['upstreams', 'httpProxy'], 'http_proxy'],
  [['upstreams', 'httpsProxy'], 'https_proxy'],
  [['upstreams', 'noProxy'], 'no_proxy'],
] as const;

/** A configuration file to read: one that was asked for must exist, the usual one may be absent. */
export interface ConfigFile {
  readonly path: string;
  readonly required: boolean;
}

/**
 * Reads the configuration file, lays the environment over it, and checks the whole.
 *
 * @throws {ConfigError} naming the path, the value and what was expected of everything that is wrong
 */
export function loadConfig(file: ConfigFile, environment: Readonly<Record<string, string | undefined>>): Config {
  const input = readConfigFile(file);
  const problems: string[] = [];
  const known = new Map(configEntries.map((entry) => [entry.variable, entry]));
  for (const [variable, text] of Object.entries(environment)) {
    // Tests of the project have variables of their own under WEIR_TEST_, and so has the client.
    if (!variable.startsWith('WEIR_') || /^WEIR_(TEST_|SERVER$|TOKEN$)/.test(variable) || text === undefined) continue;
    const entry = known.get(variable);
    if (entry === undefined) problems.push(`${variable}: unknown variable; see "weir config list"`);
    else setPath(input, entry.path.split('.'), fromText(entry, text));
  }
  for (const [path, usual] of usualVariables) {
    const text = environment[usual] ?? environment[usual.toUpperCase()];
    if (text !== undefined && getPath(input, path) === undefined) setPath(input, path, text);
  }
  const result = schema.safeParse(input);
  if (!result.success)
    problems.push(...firstOfEachPath(result.error.issues).flatMap((issue) => describeIssue(issue, input)));
  const missing = result.success ? missingSecretKeys(result.data) : undefined;
  if (missing !== undefined) problems.push(missing);
  if (problems.length > 0 || !result.success) throw new ConfigError(problems);
  return Object.freeze(result.data);
}

function readConfigFile(file: ConfigFile): Record<string, unknown> {
  if (!existsSync(file.path)) {
    if (file.required) throw new ConfigError([`${file.path}: no such file`]);
    return {};
  }
  let document: unknown;
  try {
    document = parseYaml(readFileSync(file.path, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw new ConfigError([`${file.path}: ${error.message}`]);
    if (error instanceof YAMLParseError) throw new ConfigError([`${file.path}: ${error.message.split('\n')[0]}`]);
    throw error;
  }
  if (document === null || document === undefined) return {};
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new ConfigError([`${file.path}: expected a mapping of names to values`]);
  }
  return document as Record<string, unknown>;
}

function fromText(entry: ConfigEntry, text: string): unknown {
  switch (entry.type) {
    case 'list':
      if (text.trim().startsWith('[')) return parseJson(text);
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'number':
      return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
    case 'flag':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'text':
      return text;
  }
}

/** A list of more than words is written as JSON; what is none is refused with its value. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function setPath(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path;
  if (rest.length === 0) target[name!] = value;
  else {
    const child = target[name!];
    const next = typeof child === 'object' && child !== null ? (child as Record<string, unknown>) : {};
    target[name!] = next;
    setPath(next, rest, value);
  }
}

function getPath(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((node, name) => (node as Record<PropertyKey, unknown> | undefined)?.[name], input);
}

/** A value that breaks two rules is told of one of them: mended, it will hardly break the other. */
function firstOfEachPath(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const paths = issues.map((issue) => issue.path.join('.'));
  return issues.filter((_issue, index) => paths.indexOf(paths[index]!) === index);
}

function describeIssue(issue: z.core.$ZodIssue, input: unknown): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${[...issue.path, key].join('.')}: unknown name; see "weir config list"`);
  }
  const path = issue.path.join('.');
  const value = getPath(input, issue.path);
  const shown = isSecret(path, value) ? '(hidden)' : withoutCredentials(JSON.stringify(value));
  return [`${path}: ${shown} is not valid: ${issue.message}`];
}

/** Values that nobody should read in a log. */
function isSecret(path: string, value: unknown): boolean {
  if (['admin', 'secrets'].includes(path.split('.')[0]!)) return true;
  if (['oidc.clientSecret', 'database.url', 'blobstore.s3', 'blobstore.s3.secretAccessKey'].includes(path)) return true;
  if (/^upstreams\.https?Proxy$/.test(path)) return true;
  if (!path.startsWith('upstreams.registries')) return false;
  return typeof value === 'object' || path === 'upstreams.registries' || path.endsWith('.password');
}

/** A URL may hold a password, whether it should be there or not. */
function withoutCredentials(text: string | undefined): string {
  return (text ?? 'nothing').replaceAll(/\/\/[^/\s"]*@/g, '//(hidden)@');
}
