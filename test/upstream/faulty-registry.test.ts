import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { parseDigest } from '../../src/oci/digest.js';
import { parseReference } from '../../src/oci/reference.js';
import { RegistryClient } from '../../src/upstream/registry-client.js';
import type { UpstreamRegistry } from '../../src/upstream/upstream-settings.js';
import {
  UpstreamError,
  type Credential,
  type UpstreamAccess,
  type UpstreamProblem,
} from '../../src/upstream/upstream.js';
import {
  basic,
  startFaultyRegistry,
  type Fault,
  type FaultyAuth,
  type FaultyImage,
  type FaultyRegistry,
  type FaultyRegistryOptions,
} from '../support/faulty-registry.js';
import { content, descriptor, manifestOf, referrer, types } from '../support/images.js';

const now = new Date('2026-03-01T12:00:00Z');
const good: Credential = { username: 'puller', password: 'pull-secret', origin: 'secret shop/pull' };
const shownGood = basic(good);
const named = { username: good.username, password: good.password };

type Question =
  'head' | 'read' | 'read by digest' | 'head by digest' | 'blob' | 'head blob' | 'tags' | 'repositories' | 'referrers';

/** The registry that is asked, and another host that it may try to lead us to. */
interface Hosts {
  readonly registry: FaultyRegistry;
  readonly other: FaultyRegistry;
  readonly image: FaultyImage;
}

interface Failure {
  readonly problem: UpstreamProblem;
  readonly message?: RegExp;
  readonly status?: number;
  readonly answer?: RegExp;
  readonly credential?: string;
  readonly retryAfterMs?: number;
}

interface Row {
  readonly name: string;
  readonly ask: Question;
  readonly registry?: FaultyRegistryOptions;
  readonly other?: FaultyRegistryOptions;
  readonly faults?: readonly Fault[] | ((hosts: Hosts) => readonly Fault[]);
  readonly auth?: (other: FaultyRegistry) => FaultyAuth;
  readonly settings?: Partial<UpstreamRegistry>;
  readonly trusts?: false;
  readonly isInsecure?: true;
  /** Long when left out: a busy machine is not what is tested. */
  readonly timeoutMs?: number;
  readonly credential?: Credential;
  readonly prepare?: (hosts: Hosts) => void;
  /** `right`: what was asked for. */
  readonly gives: 'right' | readonly string[] | Failure;
  /** Requests to the registry beside those for tokens. */
  readonly requests?: number;
  readonly waits?: readonly number[];
  /** What the registry was shown in all, tokens aside; nothing when left out. */
  readonly shown?: readonly string[];
  readonly otherRequests?: number;
  /** What the other host was shown; nothing when left out. */
  readonly otherShown?: readonly string[];
}

const manifests = /\/manifests\//;
const blobs = /\/blobs\//;
const tags = /\/tags\/list/;
const token = /^\/token/;

function json(value: unknown): string {
  return JSON.stringify(value);
}

const limits: readonly Row[] = [
  { name: 'nothing is wrong', ask: 'read', gives: 'right', requests: 1 },
  {
    name: '429 once, Retry-After in seconds',
    ask: 'read',
    faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': 2 }, times: 1 }],
    gives: 'right',
    waits: [2000],
  },
  {
    name: '429 once, Retry-After as a date',
    ask: 'read',
    faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': 'Sun, 01 Mar 2026 12:00:03 GMT' }, times: 1 }],
    gives: 'right',
    waits: [3000],
  },
  {
    name: '429, Retry-After longer than anyone waits',
    ask: 'read',
    faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': 3600 } }],
    gives: { problem: 'rate-limited', status: 429, retryAfterMs: 3_600_000 },
    requests: 1,
    waits: [],
  },
  {
    name: '429 for good',
    ask: 'read',
    faults: [
      { kind: 'answer', status: 429, body: json({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] }) },
    ],
    gives: { problem: 'rate-limited', status: 429, answer: /^TOOMANYREQUESTS: slow down$/ },
    requests: 3,
    waits: [500, 1000],
  },
  {
    name: '429 with a Retry-After that is none',
    ask: 'read',
    faults: [{ kind: 'answer', status: 429, headers: { 'Retry-After': '-5' }, times: 1 }],
    gives: 'right',
    waits: [500],
  },
  { name: '503 once', ask: 'read', faults: [{ kind: 'answer', status: 503, times: 1 }], gives: 'right', waits: [500] },
  {
    name: '503 for good, with a page for people',
    ask: 'read',
    faults: [{ kind: 'answer', status: 503, body: '<html>down</html>' }],
    gives: { problem: 'unavailable', status: 503 },
    requests: 3,
  },
  {
    name: '503 that asks for a long wait',
    ask: 'read',
    faults: [{ kind: 'answer', status: 503, headers: { 'Retry-After': 60 } }],
    gives: { problem: 'unavailable', status: 503, retryAfterMs: 60_000 },
    requests: 1,
  },
  {
    name: 'an error text with control characters, and long',
    ask: 'read',
    faults: [
      {
        kind: 'answer',
        status: 403,
        body: json({ errors: [{ message: `a\r\n\u001b[31mb\u202e${'c'.repeat(5000)}` }] }),
      },
    ],
    gives: { problem: 'denied', answer: /^a \[31mb c{200,299}$/ },
    requests: 1,
  },
  {
    name: 'an error body without an end',
    ask: 'read',
    faults: [
      { kind: 'body', body: 'x'.repeat(1_000_000), path: /none/ },
      { kind: 'answer', status: 400, body: 'x'.repeat(1_000_000) },
    ],
    gives: { problem: 'invalid-answer', status: 400 },
    requests: 1,
  },
];

const connections: readonly Row[] = [
  {
    name: 'a reset once',
    ask: 'read',
    faults: [{ kind: 'reset', times: 1 }],
    gives: 'right',
    requests: 2,
    waits: [500],
  },
  { name: 'resets for good', ask: 'read', faults: [{ kind: 'reset' }], gives: { problem: 'unavailable' }, requests: 3 },
  { name: 'no headers once', ask: 'head', faults: [{ kind: 'stall', times: 1 }], timeoutMs: 500, gives: 'right' },
  {
    name: 'never any headers',
    ask: 'head',
    faults: [{ kind: 'stall' }],
    timeoutMs: 100,
    gives: { problem: 'unavailable' },
    requests: 3,
  },
  {
    name: 'a manifest that stops once',
    ask: 'read',
    faults: [{ kind: 'stall-body', after: 10, times: 1 }],
    timeoutMs: 500,
    gives: 'right',
  },
  {
    name: 'a manifest that always stops',
    ask: 'read',
    faults: [{ kind: 'stall-body', after: 10 }],
    timeoutMs: 100,
    gives: { problem: 'unavailable' },
    requests: 3,
  },
  { name: 'a manifest cut off once', ask: 'read', faults: [{ kind: 'truncate', after: 10, times: 1 }], gives: 'right' },
  {
    name: 'a manifest always cut off',
    ask: 'read',
    faults: [{ kind: 'truncate', after: 10 }],
    gives: { problem: 'unavailable' },
    requests: 3,
  },
  {
    name: 'headers larger than any',
    ask: 'read',
    faults: [{ kind: 'headers', headers: { 'X-Large': 'x'.repeat(100_000) } }],
    gives: { problem: 'invalid-answer' },
    requests: 1,
  },
  {
    name: 'a certificate that nobody vouches for',
    ask: 'read',
    trusts: false,
    gives: { problem: 'certificate' },
    requests: 0,
  },
  { name: 'the same, when the registry may be insecure', ask: 'read', trusts: false, isInsecure: true, gives: 'right' },
  {
    name: 'the same, when it is configured to be insecure',
    ask: 'read',
    trusts: false,
    settings: { insecure: true },
    gives: 'right',
  },
  { name: 'plain HTTP only', ask: 'read', registry: { tls: false }, gives: { problem: 'http-only' }, requests: 0 },
  {
    name: 'plain HTTP only, of an insecure registry',
    ask: 'read',
    registry: { tls: false },
    isInsecure: true,
    gives: 'right',
    requests: 1,
  },
];

const contents: readonly Row[] = [
  {
    name: 'another manifest for a digest',
    ask: 'read by digest',
    faults: [{ kind: 'body', body: '{"schemaVersion":2,"config":{},"layers":[]}' }],
    gives: { problem: 'integrity', message: /^content integrity error: / },
    requests: 1,
  },
  {
    name: 'a Docker-Content-Digest that is another',
    ask: 'read',
    faults: [{ kind: 'headers', headers: { 'Docker-Content-Digest': `sha256:${'0'.repeat(64)}` } }],
    gives: { problem: 'integrity' },
    requests: 1,
  },
  {
    name: 'another digest in the head of a digest',
    ask: 'head by digest',
    faults: [{ kind: 'headers', headers: { 'Docker-Content-Digest': `sha256:${'0'.repeat(64)}` } }],
    gives: { problem: 'integrity' },
  },
  {
    name: 'a Docker-Content-Digest that is no digest',
    ask: 'read',
    faults: [{ kind: 'headers', headers: { 'Docker-Content-Digest': 'sha256:../../etc' } }],
    gives: 'right',
  },
  {
    name: 'a head without a digest',
    ask: 'head',
    faults: [{ kind: 'headers', method: 'HEAD', headers: { 'Docker-Content-Digest': null } }],
    gives: 'right',
    requests: 2,
  },
  {
    name: 'no HEAD',
    ask: 'head',
    faults: [{ kind: 'answer', method: 'HEAD', status: 405 }],
    gives: 'right',
    requests: 2,
  },
  {
    name: 'HEAD says 404 of what is there',
    ask: 'head',
    faults: [{ kind: 'answer', method: 'HEAD', status: 404 }],
    gives: 'right',
    requests: 2,
  },
  {
    name: 'no such tag',
    ask: 'head',
    prepare: ({ registry }) => {
      registry.removeTag('team/app', 'v1');
    },
    gives: { problem: 'not-found', status: 404, answer: /^MANIFEST_UNKNOWN/ },
  },
  {
    name: 'a page for people in place of a manifest',
    ask: 'read',
    faults: [{ kind: 'answer', status: 200, body: '<html>', headers: { 'Content-Type': 'text/html' } }],
    gives: { problem: 'invalid-answer' },
    requests: 1,
  },
  {
    name: 'a manifest of an unknown type',
    ask: 'read',
    faults: [{ kind: 'answer', status: 200, body: '{"schemaVersion":2,"mediaType":"text/x"}' }],
    gives: { problem: 'invalid-answer', message: /unknown type/ },
  },
  {
    name: 'a manifest of 5 MiB',
    ask: 'read',
    faults: [{ kind: 'body', body: ' '.repeat(5 * 1024 * 1024) }],
    gives: { problem: 'invalid-answer' },
    requests: 1,
  },
  {
    name: 'a manifest without an end',
    ask: 'read',
    faults: [{ kind: 'endless', headers: { 'Content-Type': types.manifest } }],
    gives: { problem: 'invalid-answer' },
    requests: 1,
  },
  {
    name: 'a manifest that unpacks to a hundred times its size',
    ask: 'read',
    faults: [
      {
        kind: 'answer',
        status: 200,
        body: gzipSync(Buffer.alloc(50_000_000, ' ')),
        headers: { 'Content-Type': types.manifest, 'Content-Encoding': 'gzip' },
      },
    ],
    gives: { problem: 'invalid-answer', message: /encoded/ },
    requests: 1,
  },
  {
    name: 'schema 1',
    ask: 'read',
    faults: [
      {
        kind: 'answer',
        status: 200,
        body: '{"schemaVersion":1}',
        headers: { 'Content-Type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' },
      },
    ],
    gives: { problem: 'invalid-answer', message: /schema 1/ },
    requests: 1,
  },
  {
    name: 'schema 1 by another type',
    ask: 'read',
    faults: [{ kind: 'body', body: '{"schemaVersion":1}' }],
    gives: { problem: 'invalid-answer', message: /schema 1/ },
  },
  {
    name: 'no registry at all',
    ask: 'tags',
    faults: [{ kind: 'answer', status: 404, body: '<html>', headers: { 'Content-Type': 'text/html' } }],
    gives: { problem: 'not-v2', message: /does not support the v2 Registry API/ },
  },
  {
    name: 'a refusal',
    ask: 'read',
    faults: [{ kind: 'answer', status: 403 }],
    gives: { problem: 'denied' },
    requests: 1,
  },
];

const blobRows: readonly Row[] = [
  { name: 'a blob', ask: 'blob', gives: 'right', requests: 1 },
  { name: 'the head of a blob', ask: 'head blob', gives: 'right', requests: 1 },
  {
    name: 'no HEAD for blobs',
    ask: 'head blob',
    faults: [{ kind: 'answer', method: 'HEAD', status: 405 }],
    gives: 'right',
    requests: 2,
  },
  {
    name: 'a blob cut off three times',
    ask: 'blob',
    faults: [{ kind: 'truncate', path: blobs, after: 20_000, times: 3 }],
    gives: 'right',
    requests: 4,
  },
  {
    name: 'a blob cut off again and again',
    ask: 'blob',
    faults: [{ kind: 'truncate', path: blobs, after: 10 }],
    gives: { problem: 'unavailable', message: /broke after 40 of 100000 bytes/ },
    requests: 4,
  },
  {
    name: 'a blob cut off by a registry that cannot go on',
    ask: 'blob',
    registry: { hasRanges: false },
    faults: [{ kind: 'truncate', path: blobs, after: 20_000, times: 1 }],
    gives: { problem: 'unavailable', message: /broke after 20000 of 100000 bytes/ },
    requests: 2,
  },
  {
    name: 'a blob that stops once',
    ask: 'blob',
    faults: [{ kind: 'stall-body', path: blobs, after: 20_000, times: 1 }],
    timeoutMs: 500,
    gives: 'right',
  },
  {
    name: 'another blob of the same size',
    ask: 'blob',
    faults: [{ kind: 'body', path: blobs, body: 'x'.repeat(100_000) }],
    gives: { problem: 'integrity' },
    requests: 1,
  },
  {
    name: 'a smaller blob',
    ask: 'blob',
    faults: [{ kind: 'body', path: blobs, body: 'x' }],
    gives: { problem: 'integrity' },
  },
  {
    name: 'a blob in chunks',
    ask: 'blob',
    faults: ({ image }) => [{ kind: 'body', method: 'GET', path: blobs, body: image.layer.bytes, isChunked: true }],
    gives: 'right',
    requests: 2,
  },
  {
    name: 'a blob in chunks that is larger than its head says',
    ask: 'blob',
    faults: ({ image }) => [
      {
        kind: 'body',
        method: 'GET',
        path: blobs,
        body: Buffer.concat([image.layer.bytes, Buffer.from('more')]),
        isChunked: true,
      },
    ],
    gives: { problem: 'integrity', message: /more than the 100000 bytes/ },
  },
  {
    name: 'a blob whose size nobody says',
    ask: 'blob',
    faults: [{ kind: 'headers', path: blobs, headers: { 'Content-Length': null } }],
    gives: { problem: 'invalid-answer', message: /how large/ },
  },
  {
    name: 'a blob in another store, for who shows a credential',
    ask: 'blob',
    auth: () => ({ kind: 'bearer', ...named }),
    credential: good,
    other: { images: ['team/app:v1'] },
    faults: ({ other, image }) => [
      { kind: 'redirect', path: blobs, to: `${other.url}/v2/team/app/blobs/${image.layer.digest}?signature=x` },
    ],
    gives: 'right',
    shown: [shownGood],
    otherRequests: 1,
    otherShown: [],
  },
];

const redirects: readonly Row[] = [
  {
    name: 'a redirect from https to http',
    ask: 'read',
    other: { tls: false },
    faults: ({ other }) => [{ kind: 'redirect', path: manifests, to: `${other.url}/v2/team/app/manifests/v1` }],
    gives: { problem: 'invalid-answer', message: /from https to http/ },
    otherRequests: 0,
  },
  {
    name: 'redirects in a circle',
    ask: 'read',
    faults: [{ kind: 'redirect', to: '/v2/team/app/manifests/v1' }],
    gives: { problem: 'invalid-answer', message: /more than 5 times/ },
    requests: 6,
  },
  {
    name: 'a redirect to a file',
    ask: 'read',
    faults: [{ kind: 'redirect', to: 'file:///etc/passwd' }],
    gives: { problem: 'invalid-answer' },
    requests: 1,
  },
  {
    name: 'a redirect to the metadata service of a cloud',
    ask: 'read',
    faults: [{ kind: 'redirect', to: 'https://169.254.169.254/latest/meta-data' }],
    gives: { problem: 'forbidden-address', message: /169\.254\.169\.254.*allowPrivate/ },
    requests: 1,
  },
  {
    name: 'the same as IPv6, from plain HTTP',
    ask: 'read',
    registry: { tls: false },
    isInsecure: true,
    faults: [{ kind: 'redirect', to: 'http://[::ffff:169.254.169.254]/latest/meta-data' }],
    gives: { problem: 'forbidden-address' },
    requests: 1,
  },
  {
    name: 'a redirect to an address with a password',
    ask: 'read',
    faults: ({ other }) => [{ kind: 'redirect', to: other.url.replace('//', '//a:b@') }],
    gives: { problem: 'invalid-answer' },
    otherRequests: 0,
  },
  {
    name: 'a redirect to nowhere',
    ask: 'read',
    faults: [{ kind: 'redirect', to: 'https://[' }],
    gives: { problem: 'invalid-answer' },
  },
];

const credentials: readonly Row[] = [
  {
    name: 'a token for a credential',
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named }),
    credential: good,
    gives: 'right',
    requests: 2,
    shown: [shownGood],
  },
  { name: 'a token for nobody', ask: 'read', auth: () => ({ kind: 'bearer' }), gives: 'right', requests: 2 },
  {
    name: 'a token realm on another host',
    ask: 'read',
    auth: (other) => ({ kind: 'bearer', ...named, realm: `${other.url}/token` }),
    credential: good,
    gives: { problem: 'unauthorized', message: /localhost.*tokenHosts/, credential: 'none' },
    otherRequests: 0,
  },
  {
    name: 'the same, configured to be right',
    ask: 'read',
    auth: (other) => ({ kind: 'bearer', ...named, realm: `${other.url}/token` }),
    other: { auth: { kind: 'bearer', ...named } },
    prepare: ({ registry, other }) => {
      registry.trustTokensOf(other);
    },
    credential: good,
    settings: { tokenHosts: ['localhost'] },
    gives: 'right',
    otherRequests: 1,
    otherShown: [shownGood],
  },
  {
    name: 'a token realm on another host, for nobody',
    ask: 'read',
    auth: (other) => ({ kind: 'bearer', realm: `${other.url}/token` }),
    prepare: ({ registry, other }) => {
      registry.trustTokensOf(other);
    },
    gives: 'right',
    otherRequests: 1,
  },
  {
    name: 'a token realm by http after https',
    ask: 'read',
    other: { tls: false },
    auth: (other) => ({ kind: 'bearer', ...named, realm: `${other.url}/token` }),
    settings: { tokenHosts: ['localhost'] },
    credential: good,
    gives: { problem: 'unauthorized', message: /plain HTTP/, credential: 'none' },
    otherRequests: 0,
  },
  {
    name: 'the same, for nobody',
    ask: 'read',
    other: { tls: false },
    auth: (other) => ({ kind: 'bearer', realm: `${other.url}/token` }),
    gives: { problem: 'unauthorized', message: /plain HTTP/ },
    otherRequests: 0,
  },
  {
    name: 'a token realm that only we can reach',
    ask: 'read',
    auth: () => ({ kind: 'bearer', realm: 'https://10.0.0.1/token' }),
    gives: { problem: 'forbidden-address' },
  },
  ...['', 'no address', 'file:///etc/passwd', 'https://a:b@127.0.0.1/token'].map((realm): Row => ({
    name: `a token realm that is ${JSON.stringify(realm)}`,
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named, realm }),
    credential: good,
    gives: { problem: 'invalid-answer', credential: 'none' },
    requests: 1,
  })),
  {
    name: 'a token endpoint that takes forms only',
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named, isPostOnly: true }),
    credential: good,
    gives: 'right',
    shown: [shownGood],
  },
  {
    name: 'an identity token',
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named, identityToken: 'identity' }),
    credential: { ...good, password: 'wrong', identityToken: 'identity' },
    gives: 'right',
  },
  {
    name: 'a credential that the token endpoint does not take',
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named }),
    credential: { ...good, password: 'wrong' },
    gives: {
      problem: 'unauthorized',
      message: /username or password of secret shop\/pull/,
      answer: /^incorrect username or password$/,
      credential: 'secret shop/pull',
      status: 401,
    },
    requests: 1,
    shown: [basic({ ...named, password: 'wrong' })],
  },
  {
    name: 'a scope of another kind',
    ask: 'read',
    auth: () => ({ kind: 'bearer', scope: 'aws' }),
    gives: 'right',
  },
  {
    name: 'a token endpoint that is down once',
    ask: 'read',
    auth: () => ({ kind: 'bearer' }),
    faults: [{ kind: 'answer', path: token, status: 503, times: 1 }],
    gives: 'right',
  },
  {
    name: 'a token endpoint that has a page for people',
    ask: 'read',
    auth: () => ({ kind: 'bearer' }),
    faults: [{ kind: 'answer', path: token, status: 200, body: '<html>' }],
    gives: { problem: 'invalid-answer', message: /no JSON/ },
  },
  {
    name: 'a token with a line break',
    ask: 'read',
    auth: () => ({ kind: 'bearer' }),
    faults: [{ kind: 'answer', path: token, status: 200, body: json({ token: 'a\r\nX-Evil: 1' }) }],
    gives: { problem: 'invalid-answer', message: /no token/ },
  },
  {
    name: 'a token without an end',
    ask: 'read',
    auth: () => ({ kind: 'bearer' }),
    faults: [{ kind: 'endless', path: token }],
    gives: { problem: 'invalid-answer' },
  },
  {
    name: 'a token endpoint that sends elsewhere',
    ask: 'read',
    auth: () => ({ kind: 'bearer', ...named }),
    credential: good,
    faults: ({ other }) => [{ kind: 'redirect', path: token, to: `${other.url}/token` }],
    gives: { problem: 'unauthorized' },
    shown: [shownGood],
    otherRequests: 1,
    otherShown: [],
  },
  ...['Negotiate', '', ',,,"', 'Bearer', 'Bearer service="x"', `Bearer ${'a="b",'.repeat(1500)}`].map(
    (challenge): Row => ({
      name: `401 for good, with ${JSON.stringify(challenge.slice(0, 30))}`,
      ask: 'read',
      faults: [{ kind: 'answer', status: 401, headers: { 'WWW-Authenticate': challenge } }],
      credential: good,
      gives: { problem: 'unauthorized', credential: 'none', message: /secret shop\/pull is not for it/ },
      requests: 1,
    }),
  ),
  {
    name: '401 for good, whatever the token',
    ask: 'read',
    auth: () => ({ kind: 'bearer' }),
    faults: ({ registry }) => [
      {
        kind: 'answer',
        path: manifests,
        status: 401,
        headers: { 'WWW-Authenticate': `Bearer realm="${registry.url}/token"` },
      },
    ],
    gives: { problem: 'unauthorized' },
    requests: 2,
  },
  {
    name: 'Basic',
    ask: 'read',
    auth: () => ({ kind: 'basic', ...named }),
    credential: good,
    gives: 'right',
    requests: 2,
    shown: [shownGood],
  },
  {
    name: 'Basic, and a credential that is not taken',
    ask: 'read',
    auth: () => ({ kind: 'basic', ...named }),
    credential: { ...good, password: 'wrong' },
    gives: { problem: 'unauthorized', credential: 'secret shop/pull', message: /username or password/ },
    requests: 2,
    shown: [basic({ ...named, password: 'wrong' })],
  },
  {
    name: 'Basic for nobody',
    ask: 'read',
    auth: () => ({ kind: 'basic', ...named }),
    gives: { problem: 'unauthorized', credential: 'none', message: /there is none/ },
    requests: 1,
  },
  {
    name: 'a redirect after Basic',
    ask: 'blob',
    auth: () => ({ kind: 'basic', ...named }),
    credential: good,
    other: { images: ['team/app:v1'] },
    faults: ({ registry, other, image }) => [
      { kind: 'answer', path: blobs, status: 401, headers: { 'WWW-Authenticate': 'Basic' }, times: 1 },
      {
        kind: 'redirect',
        path: blobs,
        to: `${other.url}/v2/team/app/blobs/${image.layer.digest}?from=${registry.host}`,
      },
    ],
    gives: 'right',
    shown: [shownGood],
    otherShown: [],
    otherRequests: 1,
  },
  {
    name: 'a host behind a redirect that wants to be shown something',
    ask: 'read',
    credential: good,
    other: { auth: { kind: 'basic', ...named } },
    faults: ({ other }) => [{ kind: 'redirect', path: manifests, to: `${other.url}/v2/team/app/manifests/v1` }],
    gives: { problem: 'unauthorized', credential: 'none' },
    otherRequests: 1,
    otherShown: [],
  },
];

const lists: readonly Row[] = [
  { name: 'tags', ask: 'tags', gives: ['v1'], requests: 1 },
  {
    name: 'tags in pages',
    ask: 'tags',
    faults: [
      { kind: 'headers', path: /n=1000/, headers: { Link: '</v2/team/app/tags/list?n=1&last=v0>; rel="next"' } },
    ],
    gives: ['v1', 'v1'],
    requests: 2,
  },
  { name: 'repositories', ask: 'repositories', gives: ['team/app'], requests: 1 },
  {
    name: 'a page for people in place of tags',
    ask: 'tags',
    faults: [{ kind: 'answer', status: 200, body: '<html>' }],
    gives: { problem: 'invalid-answer', message: /no JSON/ },
    requests: 1,
  },
  {
    name: 'null in place of tags',
    ask: 'tags',
    faults: [{ kind: 'body', path: tags, body: '{"tags":null}' }],
    gives: [],
  },
  {
    name: 'tags that are none',
    ask: 'tags',
    faults: [{ kind: 'body', path: tags, body: json({ tags: ['', 7, '../x', 'a b', 'v2', null, 'x'.repeat(129)] }) }],
    gives: ['latest', 'v2'],
  },
  {
    name: 'a list that goes round in a circle',
    ask: 'tags',
    faults: [{ kind: 'headers', path: tags, headers: { Link: '</v2/team/app/tags/list?n=1>; rel="next"' } }],
    gives: { problem: 'invalid-answer', message: /circle/ },
    requests: 2,
  },
  {
    name: 'a list without an end',
    ask: 'tags',
    faults: [{ kind: 'endless-pages', path: tags }],
    gives: { problem: 'invalid-answer', message: /more than 1000 pages/ },
    requests: 1000,
  },
  {
    name: 'a page without an end',
    ask: 'tags',
    faults: [{ kind: 'endless', path: tags }],
    gives: { problem: 'invalid-answer', message: /more than \d+ bytes/ },
    requests: 1,
  },
  {
    name: 'a list that goes on elsewhere',
    ask: 'tags',
    auth: () => ({ kind: 'bearer', ...named }),
    credential: good,
    faults: ({ other }) => [
      { kind: 'headers', path: tags, headers: { Link: `<${other.url}/v2/team/app/tags/list>; rel="next"` } },
    ],
    gives: { problem: 'invalid-answer', message: /elsewhere/ },
    shown: [shownGood],
    otherRequests: 0,
  },
  {
    name: 'a list that goes on outside of the API',
    ask: 'tags',
    faults: [{ kind: 'headers', path: tags, headers: { Link: '</admin>; rel=next' } }],
    gives: { problem: 'invalid-answer', message: /elsewhere/ },
    requests: 1,
  },
];

const referrerRows: readonly Row[] = [
  { name: 'no referrers', ask: 'referrers', registry: { hasReferrersApi: true }, gives: [], requests: 1 },
  {
    name: 'referrers by the API',
    ask: 'referrers',
    registry: { hasReferrersApi: true },
    prepare: ({ registry, image }) => {
      registry.setReferrers('team/app', image.digest, referrersOf(image));
    },
    gives: ['application/vnd.example.sbom'],
    requests: 1,
  },
  {
    name: 'referrers by the tag schema',
    ask: 'referrers',
    prepare: ({ registry, image }) => {
      registry.addManifest('team/app', referrersOf(image), image.digest.replace(':', '-'));
    },
    gives: ['application/vnd.example.sbom'],
  },
  { name: 'neither', ask: 'referrers', gives: [] },
  {
    name: 'a page for people in place of referrers',
    ask: 'referrers',
    faults: [{ kind: 'answer', path: /referrers/, status: 200, body: '<html>' }],
    gives: [],
  },
  {
    name: 'referrers that are none',
    ask: 'referrers',
    faults: [{ kind: 'answer', path: /referrers/, status: 200, body: '{"manifests":[1,{"digest":"x"},null]}' }],
    gives: [],
  },
];

function referrersOf(image: FaultyImage) {
  const sbom = referrer(image, 'application/vnd.example.sbom');
  return manifestOf(
    {
      schemaVersion: 2,
      mediaType: types.index,
      manifests: [{ ...descriptor(sbom.mediaType, sbom), artifactType: 'application/vnd.example.sbom' }],
    },
    types.index,
  );
}

const rows = [
  ...limits,
  ...connections,
  ...contents,
  ...blobRows,
  ...redirects,
  ...credentials,
  ...lists,
  ...referrerRows,
];

describe('a registry that does wrong', () => {
  const opened: { close(): Promise<void> }[] = [];

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
  });

  test('is wrong in many ways', () => {
    expect(rows.length).toBeGreaterThanOrEqual(40);
    expect(new Set(rows.map(({ name }) => name)).size).toBe(rows.length);
  });

  test.each(rows)('$ask: $name', async (row) => {
    const hosts = await startHosts(row);
    const { registry, other } = hosts;
    opened.push(registry, other);
    const waits: number[] = [];
    const client = new RegistryClient({
      registries: [
        { registry: registry.host, ...(row.trusts !== false && { ca: other.ca || registry.ca }), ...row.settings },
      ],
      allowPrivate: ['127.0.0.1:*', 'localhost:*'],
      timeoutMs: row.timeoutMs ?? 10_000,
      userAgent: 'weir-test',
      now: () => now,
      random: () => 0.5,
      sleep: (ms) => {
        waits.push(ms);
        return Promise.resolve();
      },
    });
    opened.push(client);
    const access: UpstreamAccess = { credentials: () => row.credential, isInsecure: row.isInsecure === true };

    const result = await answerOf(row.ask, client, hosts, access);

    if (typeof row.gives === 'object' && 'problem' in row.gives) {
      expect(result).toBeInstanceOf(UpstreamError);
      expectFailure(result as UpstreamError, row.gives);
      expect((result as UpstreamError).reference).toContain(registry.host);
      const told = `${(result as UpstreamError).message} ${(result as UpstreamError).answer ?? ''}`;
      for (const secret of ['pull-secret', shownGood, 'token-']) expect(told).not.toContain(secret);
    } else expect(result).toEqual(row.gives === 'right' ? rightAnswer(row.ask, hosts) : row.gives);
    if (row.requests !== undefined) {
      expect(registry.seen.filter((path) => !path.includes(' /token'))).toHaveLength(row.requests);
    }
    if (row.waits !== undefined) expect(waits).toEqual(row.waits);
    expect(registry.shown.filter((shown) => !shown.startsWith('Bearer token-'))).toEqual(row.shown ?? []);
    if (row.otherRequests !== undefined) expect(other.requests).toHaveLength(row.otherRequests);
    expect(other.shown).toEqual(row.otherShown ?? []);
    for (const { headers } of [...registry.requests, ...other.requests]) {
      expect(headers['accept-encoding']).toBe('identity');
      expect(headers['x-evil']).toBeUndefined();
    }
  });
});

async function startHosts(row: Row): Promise<Hosts> {
  const other = await startFaultyRegistry({ tls: true, host: 'localhost', ...row.other });
  const auth = row.auth?.(other);
  const registry = await startFaultyRegistry({ tls: true, ...row.registry, ...(auth !== undefined && { auth }) });
  const image = registry.addImage('team/app', 'v1');
  const hosts = { registry, other, image };
  row.prepare?.(hosts);
  const faults = typeof row.faults === 'function' ? row.faults(hosts) : (row.faults ?? []);
  for (const fault of faults) registry.addFault(fault);
  return hosts;
}

async function answerOf(
  question: Question,
  client: RegistryClient,
  { registry, image }: Hosts,
  access: UpstreamAccess,
): Promise<unknown> {
  const repository = { registry: registry.host, path: 'team/app' };
  const digest = parseDigest(image.digest);
  const layerDigest = parseDigest(image.layer.digest);
  const tag = parseReference('v1');
  try {
    switch (question) {
      case 'head':
        return (await client.headManifest(repository, tag, access)).digest;
      case 'head by digest':
        return (await client.headManifest(repository, { kind: 'digest', digest }, access)).digest;
      case 'read':
        return (await client.readManifest(repository, tag, access)).digest;
      case 'read by digest':
        return (await client.readManifest(repository, { kind: 'digest', digest }, access)).digest;
      case 'head blob':
        return await client.headBlob(repository, layerDigest, access);
      case 'blob': {
        const chunks: Buffer[] = [];
        const blob = await client.openBlob(repository, layerDigest, access);
        for await (const chunk of blob.body) chunks.push(chunk);
        return content(Buffer.concat(chunks)).digest;
      }
      case 'tags':
        return await all(client.listTags(repository, access));
      case 'repositories':
        return await all(client.listRepositories(registry.host, access));
      case 'referrers':
        return (await client.listReferrers(repository, digest, access)).map(({ artifactType }) => artifactType);
    }
  } catch (error) {
    return error;
  }
}

async function all(list: AsyncIterable<string>): Promise<string[]> {
  const entries: string[] = [];
  for await (const entry of list) entries.push(entry);
  return entries;
}

function rightAnswer(question: Question, { image }: Hosts): unknown {
  if (question === 'blob') return image.layer.digest;
  if (question === 'head blob') return image.layer.bytes.length;
  return image.digest;
}

function expectFailure(error: UpstreamError, expected: Failure): void {
  const { problem, message, status, answer, credential, retryAfterMs } = expected;
  expect(`${error.problem}: ${error.message}`).toMatch(new RegExp(`^${problem}: `));
  if (message !== undefined) expect(error.message).toMatch(message);
  if (status !== undefined) expect(error.status).toBe(status);
  if (answer !== undefined) expect(error.answer).toMatch(answer);
  if (credential !== undefined) expect(error.credential).toBe(credential);
  if (retryAfterMs !== undefined) expect(error.retryAfterMs).toBe(retryAfterMs);
}
