import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  content,
  descriptor,
  emptyJson,
  imageIndex,
  imageManifest,
  manifestOf,
  pushBlob,
  pushImage,
  putManifest,
  sha256,
  sha512,
  startUpload,
  types,
  type Content,
  type PushedImage,
} from '../support/images.js';
import { expectFailure, expectOciError, type SpecErrorCode } from '../support/oci-errors.js';
import {
  chunkedBody,
  exchange,
  openSocket,
  rawBytes,
  readResponse,
  type RawRequest,
  type RawResponse,
} from '../support/raw-http.js';
import { admin, authorizationOf, startRegistry, user, type Identity, type TestRegistry } from '../support/registry.js';
import { bytesArrive, bytesRecorded } from '../support/upload-progress.js';

/** What there is before the first bad request: repository `app` with an image and two blobs. */
interface World {
  readonly image: PushedImage;
  /** Ten bytes. */
  readonly blob: Content;
  /** No bytes. */
  readonly emptyBlob: Content;
  /** An upload of the admin into `app` that has four bytes, `abcd`. */
  readonly session: string;
  /** The last part of `session`. */
  readonly id: string;
}

/** A request and the failure that must be its answer. */
interface Row {
  readonly name: string;
  readonly method?: string;
  readonly target: string | ((world: World) => string);
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** The admin when left out. */
  readonly as?: Identity;
  readonly status: number;
  readonly code: SpecErrorCode;
  /** Headers the answer must have. */
  readonly answers?: Readonly<Record<string, string | RegExp>>;
}

let registry: TestRegistry;
let image: PushedImage;
let blob: Content;
let emptyBlob: Content;

beforeAll(async () => {
  registry = await startRegistry();
  image = await pushImage(registry, 'app', 'v1');
  blob = await pushBlob(registry, 'app', 'ten bytes!');
  emptyBlob = await pushBlob(registry, 'app', '');
});

afterAll(() => registry.stop());

const zeros = `sha256:${'0'.repeat(64)}`;
const unknownSession = `/v2/app/blobs/uploads/${'0'.repeat(40)}`;
/** Of every session under test, before the request. */
const fourBytes = 'abcd';

async function makeWorld(): Promise<World> {
  const session = await startUpload(registry, 'app');
  await registry.fetch(session, { method: 'PATCH', body: fourBytes });
  return { image, blob, emptyBlob, session, id: session.slice(session.lastIndexOf('/') + 1) };
}

function rawRequest(row: Row, world: World): RawRequest {
  const { method = 'GET', target, body = '', as = admin } = row;
  const headers: Record<string, string> = { Host: new URL(registry.url).host, Connection: 'close', ...row.headers };
  const authorization = authorizationOf(as);
  if (authorization !== undefined) headers['Authorization'] ??= authorization;
  if (body.length > 0 && headers['Transfer-Encoding'] === undefined) {
    headers['Content-Length'] ??= String(Buffer.byteLength(body));
  }
  return {
    method,
    target: typeof target === 'string' ? target : target(world),
    headers: Object.entries(headers),
    body,
  };
}

/** A request with a body, as the admin. */
function patchOf(target: string, headers: Readonly<Record<string, string>>, body: string | Buffer): RawRequest {
  return rawRequest(
    { name: '', method: 'PATCH', target, headers, body, status: 202, code: 'UNSUPPORTED' },
    {} as World,
  );
}

function expectRefusal(response: RawResponse, row: Pick<Row, 'status' | 'code' | 'answers'>): void {
  const text = response.body.toString('utf8');
  expectOciError(
    { status: response.status, contentType: response.headers['content-type'], text },
    row.status,
    row.code,
  );
  for (const [name, value] of Object.entries(row.answers ?? {})) {
    expect(response.headers[name.toLowerCase()]).toMatch(value);
  }
}

function refuses(rows: readonly Row[]): void {
  for (const row of rows) {
    test(`${row.name}: ${row.status} ${row.code}`, async () => {
      const world = typeof row.target === 'function' ? await makeWorld() : ({} as World);
      expectRefusal(await exchange(registry.url, rawBytes(rawRequest(row, world))), row);
    });
  }
}

const mebibyte = 1024 * 1024;
/** Bytes that are not the same wherever one looks. */
const large = Buffer.alloc(
  3 * mebibyte,
  Array.from({ length: 251 }, (_, index) => String.fromCharCode(index)).join(''),
);

describe('repository names', () => {
  const names: readonly (readonly [string, string])[] = [
    ['upper case', 'App'],
    ['upper case after the project', 'library/aPP'],
    ['leading dash', '-app'],
    ['leading dot', '.app'],
    ['leading underscore', '_app'],
    ['trailing dash', 'app-'],
    ['trailing dot', 'app.'],
    ['trailing underscore', 'app_'],
    ['trailing separator inside', 'library/app-/x'],
    ['two dots', 'a..b'],
    ['three underscores', 'a___b'],
    ['dot and underscore', 'a._b'],
    ['dash and dot', 'a-.b'],
    ['empty component', 'library//app'],
    ['leading slash', '/app'],
    ['trailing slash', 'app/'],
    ['dot component', 'library/./app'],
    ['dot-dot component', 'library/../app'],
    ['dot-dot to the root', '../../etc/passwd'],
    ['encoded dot-dot', 'library/%2e%2e/app'],
    ['half encoded dot-dot', 'library/%2E./app'],
    ['twice encoded dot-dot', 'library/%252e%252e/app'],
    ['encoded slash', 'library%2Fapp'],
    ['encoded backslash', 'library%5capp'],
    ['backslash', 'library\\app'],
    ['encoded NUL', 'app%00'],
    ['encoded newline', 'app%0A'],
    ['encoded space', 'my%20app'],
    ['percent sign alone', 'app%'],
    ['percent sign and no hex', 'app%zz'],
    ['encoded byte that is no UTF-8', 'app%ff'],
    ['overlong UTF-8', '%c0%ae%c0%ae/app'],
    ['encoded surrogate', 'app%ED%A0%80'],
    ['letter that is no ASCII', '%C3%A9t%C3%A9'],
    ['full-width letters', '%EF%BD%81pp'],
    ['plus', 'a+b'],
    ['colon', 'localhost:5000/app'],
    ['at sign', 'app@1'],
    ['tilde', '~app'],
    ['project with a dot', 'my.project/app'],
    ['project with an underscore', 'my_project/app'],
    ['project of 64 characters', `${'p'.repeat(64)}/app`],
    ['254 characters below the project', `library/${'a'.repeat(254)}`],
    ['254 characters below the project, with / counted as __', `library/${'a'.repeat(125)}/${'b'.repeat(127)}`],
    ['513 characters', 'a'.repeat(513)],
    ['many separators', `a${'-'.repeat(400)}!`],
  ];
  refuses(
    names.map(([name, text]) => ({
      name,
      target: `/v2/${text}/tags/list`,
      status: 400,
      code: 'NAME_INVALID' as const,
    })),
  );
  refuses([
    { name: 'upload to', method: 'POST', target: '/v2/App/blobs/uploads/', status: 400, code: 'NAME_INVALID' },
    { name: 'blob of', target: `/v2/App/blobs/${zeros}`, status: 400, code: 'NAME_INVALID' },
    { name: 'manifest of', target: '/v2/App/manifests/v1', status: 400, code: 'NAME_INVALID' },
    { name: 'deletion in', method: 'DELETE', target: '/v2/App/manifests/v1', status: 400, code: 'NAME_INVALID' },
    { name: 'push to', method: 'PUT', target: '/v2/A/manifests/v1', body: '{}', status: 400, code: 'NAME_INVALID' },
    { name: 'referrers of', target: `/v2/App/referrers/${zeros}`, status: 400, code: 'NAME_INVALID' },
    { name: 'session of', target: `/v2/App/blobs/uploads/${'0'.repeat(40)}`, status: 400, code: 'NAME_INVALID' },
  ]);
});

describe('digests', () => {
  const digests: readonly (readonly [string, string])[] = [
    ['one digit short', zeros.slice(0, -1)],
    ['one digit long', `${zeros}0`],
    ['sha512 of the length of sha256', `sha512:${'0'.repeat(64)}`],
    ['upper-case hex', `sha256:${'A'.repeat(64)}`],
    ['upper-case algorithm', `SHA256:${'0'.repeat(64)}`],
    ['no hex', `sha256:${'g'.repeat(64)}`],
    ['empty hex', 'sha256:'],
    ['empty algorithm', `:${'0'.repeat(64)}`],
    ['missing colon', 'sha256'.padEnd(70, '0')],
    ['md5', `md5:${'0'.repeat(32)}`],
    ['sha1', `sha1:${'0'.repeat(40)}`],
    ['unknown algorithm', `sha999:${'0'.repeat(64)}`],
    ['algorithm named like a property of every object', `constructor:${'0'.repeat(64)}`],
    ['two colons', `sha256:${'0'.repeat(63)}:`],
    ['trailing newline', `${zeros}%0A`],
    ['leading space', `%20${zeros}`],
    ['a tag', 'latest'],
  ];
  refuses(
    digests.map(([name, digest]) => ({
      name,
      target: `/v2/app/blobs/${digest}`,
      status: 400,
      code: 'DIGEST_INVALID' as const,
    })),
  );
  refuses([
    {
      name: 'blob to delete',
      method: 'DELETE',
      target: '/v2/app/blobs/sha256:x',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    { name: 'manifest', target: '/v2/app/manifests/sha256:0', status: 400, code: 'DIGEST_INVALID' },
    {
      name: 'manifest to push',
      method: 'PUT',
      target: '/v2/app/manifests/sha256:0',
      body: '{}',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'manifest to delete',
      method: 'DELETE',
      target: '/v2/app/manifests/md5:0',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    { name: 'subject of referrers', target: '/v2/app/referrers/latest', status: 400, code: 'DIGEST_INVALID' },
    { name: 'unknown blob', target: `/v2/app/blobs/${zeros}`, status: 404, code: 'BLOB_UNKNOWN' },
    {
      name: 'unknown blob to delete',
      method: 'DELETE',
      target: `/v2/app/blobs/${zeros}`,
      status: 404,
      code: 'BLOB_UNKNOWN',
    },
    {
      name: 'blob of another repository',
      target: (world) => `/v2/other/blobs/${world.blob.digest}`,
      status: 404,
      code: 'BLOB_UNKNOWN',
    },
    { name: 'unknown manifest', target: `/v2/app/manifests/${zeros}`, status: 404, code: 'MANIFEST_UNKNOWN' },
    {
      name: 'manifest of another repository',
      target: (world) => `/v2/other/manifests/${world.image.digest}`,
      status: 404,
      code: 'NAME_UNKNOWN',
    },
    {
      name: 'blob asked for as a manifest',
      target: (world) => `/v2/app/manifests/${world.blob.digest}`,
      status: 404,
      code: 'MANIFEST_UNKNOWN',
    },
    {
      name: 'manifest asked for as a blob',
      target: (world) => `/v2/app/blobs/${world.image.digest}`,
      status: 404,
      code: 'BLOB_UNKNOWN',
    },
  ]);
});

describe('tags', () => {
  const tags: readonly (readonly [string, string])[] = [
    ['129 characters', 'a'.repeat(129)],
    ['10,000 characters', 'a'.repeat(10_000)],
    ['leading dot', '.v1'],
    ['leading dash', '-v1'],
    ['space', 'v%201'],
    ['plus', 'v1+build'],
    ['tilde', 'v1~rc'],
    ['at sign', 'v1@x'],
    ['asterisk', 'v*'],
    ['newline', 'v1%0A'],
    ['tab', 'v1%09'],
    ['letter that is no ASCII', 'v%C3%A9'],
    ['quote', "v'1"],
    ['statement', "v1';drop%20table%20tag;--"],
  ];
  refuses(
    tags.map(([name, tag]) => ({
      name,
      target: `/v2/app/manifests/${tag}`,
      status: 400,
      code: 'MANIFEST_INVALID' as const,
    })),
  );
  refuses([
    { name: 'encoded slash', target: '/v2/app/manifests/v%2F1', status: 400, code: 'NAME_INVALID' },
    { name: 'NUL', target: '/v2/app/manifests/v%00', status: 400, code: 'NAME_INVALID' },
    { name: 'dot-dot', target: '/v2/app/manifests/..', status: 400, code: 'NAME_INVALID' },
    { name: 'slash', target: '/v2/app/manifests/v/1', status: 404, code: 'UNSUPPORTED' },
    { name: 'no tag', target: '/v2/app/manifests/', status: 404, code: 'UNSUPPORTED' },
    { name: 'colon', target: '/v2/app/manifests/v1:2', status: 400, code: 'DIGEST_INVALID' },
    {
      name: 'leading dot in a push',
      method: 'PUT',
      target: '/v2/app/manifests/.v1',
      body: '{}',
      status: 400,
      code: 'MANIFEST_INVALID',
    },
    {
      name: 'leading dash in a deletion',
      method: 'DELETE',
      target: '/v2/app/manifests/-v1',
      status: 400,
      code: 'MANIFEST_INVALID',
    },
    { name: 'unknown tag', target: '/v2/app/manifests/v2', status: 404, code: 'MANIFEST_UNKNOWN' },
    {
      name: 'unknown tag to delete',
      method: 'DELETE',
      target: '/v2/app/manifests/v2',
      status: 404,
      code: 'MANIFEST_UNKNOWN',
    },
    { name: 'tag in upper case', target: '/v2/app/manifests/V1', status: 404, code: 'MANIFEST_UNKNOWN' },
    { name: 'tag of an unknown repository', target: '/v2/none/manifests/v1', status: 404, code: 'NAME_UNKNOWN' },
    {
      name: 'tag to delete in an unknown repository',
      method: 'DELETE',
      target: '/v2/none/manifests/v1',
      status: 404,
      code: 'NAME_UNKNOWN',
    },
  ]);
});

describe('ranges of a blob', () => {
  const blobTarget = (world: World) => `/v2/app/blobs/${world.blob.digest}`;
  refuses(
    [
      ['first byte after the last', 'bytes=10-'],
      ['both ends after the last byte', 'bytes=10-20'],
      ['no last bytes', 'bytes=-0'],
      ['several, all after the last byte', 'bytes=20-30,40-50'],
      ['end before the beginning', 'bytes=5-2'],
      ['first byte beyond all numbers', `bytes=${'9'.repeat(30)}-`],
    ].map(([name, range]) => ({
      name: name!,
      target: blobTarget,
      headers: { Range: range! },
      status: 416,
      code: 'SIZE_INVALID' as const,
      answers: { 'Content-Range': /^bytes \*\/10$/ },
    })),
  );
  refuses([
    {
      name: 'first byte of an empty blob',
      target: (world) => `/v2/app/blobs/${world.emptyBlob.digest}`,
      headers: { Range: 'bytes=0-0' },
      status: 416,
      code: 'SIZE_INVALID',
      answers: { 'Content-Range': /^bytes \*\/0$/ },
    },
  ]);

  test.each([
    ['another unit', 'lines=0-3'],
    ['no range at all', 'bytes=a-b'],
    ['no set', 'bytes'],
    ['empty set', 'bytes='],
    ['dash alone', 'bytes=-'],
    ['empty element', 'bytes=0-1,,2-3'],
    ['negative first byte', 'bytes=--5'],
    ['hex', 'bytes=0x0-0x3'],
    ['more ranges than anybody needs', `bytes=${Array.from({ length: 17 }, () => '0-0').join(',')}`],
  ])('%s is ignored and answered with the whole blob', async (_name, range) => {
    const response = await registry.fetch(`/v2/app/blobs/${blob.digest}`, { headers: { Range: range } });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('ten bytes!');
  });
});

describe('chunks of an upload', () => {
  const session = (world: World) => world.session;
  const finish = (world: World) => `${world.session}?digest=${sha256('abcdefgh')}`;
  /** Where the session stands, for the client to go on from. */
  const standing = { Range: /^0-3$/, Location: /^\/v2\/app\/blobs\/uploads\/[0-9a-f]{40}$/ };

  refuses(
    [
      ['a word', 'x'],
      ['one number', '4'],
      ['no end', '4-'],
      ['no beginning', '-7'],
      ['three numbers', '4-7-9'],
      ['hex', '0x4-0x7'],
      ['fractions', '4.0-7.0'],
      ['negative', '-4--7'],
      ['spaces', '4 - 7'],
      ['reversed', '7-4'],
      ['beyond all numbers', `4-${'9'.repeat(30)}`],
      ['unit of another kind', 'lines 4-7/8'],
      ['a gap before it', '5-8'],
      ['overlap with what is there', '3-6'],
      ['what is there already', '0-3'],
    ].map(([name, range]) => ({
      name: `Content-Range, ${name!}`,
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': range! },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID' as const,
      answers: standing,
    })),
  );
  refuses([
    {
      name: 'two Content-Range headers',
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': '4-7', 'content-range': '4-7' },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
    },
    {
      name: 'last chunk with a gap before it',
      method: 'PUT',
      target: finish,
      headers: { 'Content-Range': '5-8' },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
      answers: standing,
    },
    {
      name: 'last chunk with a malformed Content-Range',
      method: 'PUT',
      target: finish,
      headers: { 'Content-Range': 'x' },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
      answers: standing,
    },
    {
      name: 'Content-Length greater than the range',
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': '4-6' },
      body: 'efgh',
      status: 400,
      code: 'SIZE_INVALID',
    },
    {
      name: 'Content-Length smaller than the range',
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': '4-9' },
      body: 'efgh',
      status: 400,
      code: 'SIZE_INVALID',
    },
    {
      name: 'body longer than the range',
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': '4-5', 'Transfer-Encoding': 'chunked' },
      body: chunkedBody('efgh'),
      status: 400,
      code: 'SIZE_INVALID',
    },
    {
      name: 'body shorter than the range',
      method: 'PATCH',
      target: session,
      headers: { 'Content-Range': '4-9', 'Transfer-Encoding': 'chunked' },
      body: chunkedBody('efgh'),
      status: 400,
      code: 'SIZE_INVALID',
    },
    {
      name: 'last chunk longer than its range',
      method: 'PUT',
      target: finish,
      headers: { 'Content-Range': '4-5', 'Transfer-Encoding': 'chunked' },
      body: chunkedBody('efgh'),
      status: 400,
      code: 'SIZE_INVALID',
    },
    {
      name: 'last chunk shorter than its range',
      method: 'PUT',
      target: finish,
      headers: { 'Content-Range': '4-9', 'Transfer-Encoding': 'chunked' },
      body: chunkedBody('efgh'),
      status: 400,
      code: 'SIZE_INVALID',
    },
  ]);
});

describe('upload sessions', () => {
  const ids: readonly (readonly [string, string])[] = [
    ['unknown', '0'.repeat(40)],
    ['a word', 'nope'],
    ['upper-case hex', 'A'.repeat(40)],
    ['a UUID', '123e4567-e89b-12d3-a456-426614174000'],
    ['one digit short', '0'.repeat(39)],
    ['one digit long', '0'.repeat(41)],
    ['1,000 digits', '0'.repeat(1000)],
    ['the name of the check file', '%5fcheck'],
  ];
  refuses(
    ids.map(([name, id]) => ({
      name: `id, ${name}`,
      target: `/v2/app/blobs/uploads/${id}`,
      status: 404,
      code: 'BLOB_UPLOAD_UNKNOWN' as const,
    })),
  );
  const strangers: readonly (readonly [string, Pick<Row, 'target' | 'as'>])[] = [
    ['an unknown session', { target: unknownSession }],
    ['a session of another repository', { target: ({ id }) => `/v2/other/blobs/uploads/${id}` }],
    ['a session of another user', { target: ({ session }) => session, as: user }],
  ];
  const methods: readonly (readonly [string, Pick<Row, 'method' | 'body'>, string])[] = [
    ['status', { method: 'GET' }, ''],
    ['chunk', { method: 'PATCH', body: 'x' }, ''],
    ['end', { method: 'PUT', body: 'x' }, `?digest=${sha256('x')}`],
    ['cancellation', { method: 'DELETE' }, ''],
  ];
  refuses(
    strangers.flatMap(([of, { target, ...rest }]) =>
      methods.map(([what, request, query]) => ({
        name: `${what} of ${of}`,
        ...rest,
        ...request,
        target: typeof target === 'string' ? target + query : (world: World) => target(world) + query,
        status: 404,
        code: 'BLOB_UPLOAD_UNKNOWN' as const,
      })),
    ),
  );
  refuses([
    { name: 'id with a dot-dot', target: '/v2/app/blobs/uploads/..', status: 400, code: 'NAME_INVALID' },
    { name: 'id with an encoded slash', target: '/v2/app/blobs/uploads/a%2fb', status: 400, code: 'NAME_INVALID' },
    { name: 'id with a NUL', target: '/v2/app/blobs/uploads/a%00', status: 400, code: 'NAME_INVALID' },
  ]);
});

describe('the end of an upload', () => {
  const put = (query: string) => (world: World) => `${world.session}${query}`;
  const ends: readonly (readonly [string, string])[] = [
    ['no digest', ''],
    ['an empty digest', '?digest='],
    ['a digest of md5', `?digest=md5:${'0'.repeat(32)}`],
    ['a digest of upper-case hex', `?digest=${sha256(fourBytes).toUpperCase()}`],
    ['a digest of other bytes', `?digest=${zeros}`],
    ['a digest of sha512 of other bytes', `?digest=sha512:${'0'.repeat(128)}`],
    ['the digest of only the last chunk', `?digest=${sha256('efgh')}`],
    ['two digests, the wrong one first', `?digest=${zeros}&digest=${sha256('abcdefgh')}`],
    ['two digests, the wrong one last', `?digest=${sha256('abcdefgh')}&digest=${zeros}`],
  ];
  refuses(
    ends.map(([name, query]) => ({
      name,
      method: 'PUT',
      target: put(query),
      body: 'efgh',
      status: 400,
      code: 'DIGEST_INVALID' as const,
    })),
  );
  refuses([
    {
      name: 'single POST of other bytes than the digest names',
      method: 'POST',
      target: `/v2/app/blobs/uploads/?digest=${zeros}`,
      body: 'efgh',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'single POST with a malformed digest',
      method: 'POST',
      target: '/v2/app/blobs/uploads/?digest=sha256:0',
      body: 'efgh',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'single POST with a range that does not begin at 0',
      method: 'POST',
      target: `/v2/app/blobs/uploads/?digest=${sha256('efgh')}`,
      headers: { 'Content-Range': '1-4' },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
    },
    {
      name: 'single POST with a malformed range',
      method: 'POST',
      target: `/v2/app/blobs/uploads/?digest=${sha256('efgh')}`,
      headers: { 'Content-Range': 'x' },
      body: 'efgh',
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
    },
    {
      name: 'unknown digest algorithm',
      method: 'POST',
      target: '/v2/app/blobs/uploads/?digest-algorithm=md5',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'digest algorithm in upper case',
      method: 'POST',
      target: '/v2/app/blobs/uploads/?digest-algorithm=SHA512',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'mount of a malformed digest',
      method: 'POST',
      target: '/v2/other/blobs/uploads/?mount=sha256:0&from=app',
      status: 400,
      code: 'DIGEST_INVALID',
    },
    {
      name: 'mount from a malformed name',
      method: 'POST',
      target: `/v2/other/blobs/uploads/?mount=${zeros}&from=App`,
      status: 400,
      code: 'NAME_INVALID',
    },
    {
      name: 'mount from a name with a dot-dot',
      method: 'POST',
      target: `/v2/other/blobs/uploads/?mount=${zeros}&from=../app`,
      status: 400,
      code: 'NAME_INVALID',
    },
    {
      name: 'mount into a malformed name',
      method: 'POST',
      target: `/v2/Other/blobs/uploads/?mount=${zeros}&from=app`,
      status: 400,
      code: 'NAME_INVALID',
    },
  ]);
});

describe('manifests', () => {
  interface ManifestRow {
    readonly name: string;
    /** An object is sent as JSON. */
    readonly body: string | Buffer | Readonly<Record<string, unknown>> | readonly unknown[];
    readonly contentType?: string;
    readonly status?: number;
    readonly code?: SpecErrorCode;
  }

  const config = { mediaType: types.config, digest: emptyJson.digest, size: 2 };
  const valid = { schemaVersion: 2, mediaType: types.manifest, config, layers: [] };
  const layer = (fields: object) => ({ ...valid, layers: [{ ...config, mediaType: types.layer, ...fields }] });
  const index = (fields: object) => ({
    schemaVersion: 2,
    mediaType: types.index,
    manifests: [{ mediaType: types.manifest, digest: zeros, size: 2, ...fields }],
  });
  const schema1 = { schemaVersion: 1, name: 'app', tag: 'v1', fsLayers: [], history: [] };
  const invalid = (contentType: string) => ({ contentType });
  const embedded = (data: string) => ({ ...valid, config: { ...descriptor(types.config, content('hello')), data } });

  const rows: readonly ManifestRow[] = [
    { name: 'an empty body', body: '' },
    { name: 'no JSON', body: 'this is not JSON' },
    { name: 'half a JSON', body: JSON.stringify(valid).slice(0, -1) },
    { name: 'two JSON', body: JSON.stringify(valid).repeat(2) },
    { name: 'a comma after the last field', body: JSON.stringify(valid).replace(/}$/, ',}') },
    { name: 'invalid UTF-8', body: Buffer.from(JSON.stringify({ ...valid, note: '\xff' }), 'latin1') },
    { name: 'UTF-16', body: Buffer.from(JSON.stringify(valid), 'utf16le') },
    { name: 'a byte order mark, which other parsers refuse', body: `\ufeff${JSON.stringify(valid)}` },
    { name: 'an array', body: [valid] },
    { name: 'null', body: 'null' },
    { name: 'a string', body: '"manifest"' },
    { name: 'a number', body: '2' },
    { name: 'an empty object', body: {} },
    { name: '100,000 arrays in one another', body: '['.repeat(100_000) + ']'.repeat(100_000) },
    { name: '4 MiB of opened arrays', body: '['.repeat(4 * 1024 * 1024) },
    { name: 'deep nesting where a string belongs', body: `{"schemaVersion":${'['.repeat(9999)}${']'.repeat(9999)}}` },
    { name: 'no schemaVersion', body: { ...valid, schemaVersion: undefined } },
    { name: 'schemaVersion as a string', body: { ...valid, schemaVersion: '2' } },
    { name: 'schemaVersion 3', body: { ...valid, schemaVersion: 3 } },
    { name: 'mediaType as a number', body: { ...valid, mediaType: 7 } },
    { name: 'an unknown mediaType', body: { ...valid, mediaType: 'application/vnd.example+json' } },
    { name: 'an empty mediaType', body: { ...valid, mediaType: '' } },
    { name: 'an unknown Content-Type', body: { ...valid, mediaType: undefined }, ...invalid('text/plain') },
    { name: 'the retired artifact manifest', body: {}, ...invalid('application/vnd.oci.artifact.manifest.v1+json') },
    { name: 'a Content-Type that is none', body: valid, ...invalid('///') },
    { name: 'another mediaType than Content-Type', body: valid, ...invalid(types.dockerManifest) },
    { name: 'an image sent as an index', body: valid, ...invalid(types.index) },
    { name: 'an index sent as an image', body: { ...index({}), mediaType: undefined }, ...invalid(types.manifest) },
    {
      name: 'an image that calls itself an index',
      body: { ...valid, mediaType: types.index },
      ...invalid(types.index),
    },
    { name: 'schema 1', body: schema1, ...invalid('application/vnd.docker.distribution.manifest.v1+json') },
    {
      name: 'signed schema 1',
      body: { ...schema1, signatures: [] },
      ...invalid('application/vnd.docker.distribution.manifest.v1+prettyjws'),
    },
    { name: 'schema 1 without a Content-Type', body: schema1, ...invalid('') },
    { name: 'config and manifests both, as an image', body: { ...valid, manifests: [] } },
    { name: 'config and manifests both, as an index', body: { ...index({}), config }, ...invalid(types.index) },
    { name: 'layers in an index', body: { ...index({}), layers: [] }, ...invalid(types.index) },
    { name: 'no config', body: { ...valid, config: undefined } },
    { name: 'config null', body: { ...valid, config: null } },
    { name: 'config as a string', body: { ...valid, config: emptyJson.digest } },
    { name: 'config as an array', body: { ...valid, config: [config] } },
    { name: 'layers as an object', body: { ...valid, layers: {} } },
    { name: 'a layer of null', body: { ...valid, layers: [null] } },
    { name: 'an index without manifests', body: { ...valid, ...index({}), manifests: undefined, config: undefined } },
    { name: 'manifests as a string', body: { ...index({}), manifests: 'x' }, ...invalid(types.index) },
    { name: 'a descriptor without digest', body: layer({ digest: undefined }) },
    { name: 'a descriptor without size', body: layer({ size: undefined }) },
    { name: 'a descriptor without mediaType', body: layer({ mediaType: undefined }) },
    { name: 'a descriptor with an empty mediaType', body: layer({ mediaType: '' }) },
    { name: 'a descriptor with a short digest', body: layer({ digest: 'sha256:00' }) },
    { name: 'a descriptor with an upper-case digest', body: layer({ digest: `sha256:${'A'.repeat(64)}` }) },
    { name: 'a descriptor of md5', body: layer({ digest: `md5:${'0'.repeat(32)}` }) },
    { name: 'a negative size', body: layer({ size: -1 }) },
    { name: 'a size with a fraction', body: layer({ size: 1.5 }) },
    { name: 'a size as a string', body: layer({ size: '2' }) },
    {
      name: 'a size over 2^53',
      body: JSON.stringify(layer({ size: 1 })).replace('"size":1', '"size":9007199254740993'),
    },
    { name: 'a size beyond all numbers', body: JSON.stringify(layer({ size: 1 })).replace('"size":1', '"size":1e999') },
    { name: 'an index entry with a bad digest', body: index({ digest: 'latest' }), ...invalid(types.index) },
    { name: 'data of other bytes', body: embedded(Buffer.from('world').toString('base64')) },
    { name: 'data longer than size', body: embedded(Buffer.from('hello!').toString('base64')) },
    { name: 'data that is no base64', body: embedded('****') },
    { name: 'data in base64 with junk between', body: embedded('aGV*sbG8=') },
    { name: 'data in base64 without its padding', body: embedded('aGVsbG8') },
    { name: 'data as a number', body: layer({ data: 7 }) },
    { name: 'subject as a string', body: { ...valid, subject: zeros } },
    { name: 'subject without a digest', body: { ...valid, subject: { mediaType: types.manifest, size: 2 } } },
    { name: 'subject with a bad digest', body: { ...valid, subject: { ...config, digest: 'sha256:00' } } },
    { name: 'subject with a negative size', body: { ...valid, subject: { ...config, size: -2 } } },
    { name: 'annotations as an array', body: { ...valid, annotations: ['x'] } },
    { name: 'annotations with a number', body: { ...valid, annotations: { x: 1 } } },
    { name: 'artifactType as an object', body: { ...valid, artifactType: {} } },
    { name: 'a missing config', body: { ...valid, config: { ...config, digest: zeros } }, ...missing() },
    { name: 'a missing layer', body: layer({ digest: zeros }), ...missing() },
    { name: 'a missing child', body: index({}), ...invalid(types.index), ...missing() },
    {
      name: 'a child that is a blob',
      body: index({ digest: sha256('ten bytes!'), size: 10 }),
      ...invalid(types.index),
      ...missing(),
    },
  ];

  function missing(): { readonly status: number; readonly code: SpecErrorCode } {
    return { status: 404, code: 'MANIFEST_BLOB_UNKNOWN' };
  }

  beforeAll(async () => {
    await pushBlob(registry, 'app', emptyJson.bytes);
    await pushBlob(registry, 'app', 'hello');
  });

  for (const [number, row] of rows.entries()) {
    const { name, body, contentType = types.manifest, status = 400, code = 'MANIFEST_INVALID' } = row;
    test(`${name}: ${status} ${code}`, async () => {
      const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      const target = `/v2/app/manifests/bad-${number}`;
      const headers: Record<string, string> = contentType === '' ? {} : { 'Content-Type': contentType };
      const request = rawRequest({ name, method: 'PUT', target, headers, body: bytes, status, code }, {} as World);
      expectRefusal(await exchange(registry.url, rawBytes(request)), { status, code });
      expect((await registry.fetch(target)).status).toBe(404);
    });
  }

  test('the refusal of schema 1 says so', async () => {
    const response = await registry.fetch('/v2/app/manifests/bad', {
      method: 'PUT',
      headers: { 'Content-Type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' },
      body: JSON.stringify(schema1),
    });
    expect(await response.text()).toMatch(/schema 1 is not supported/);
  });

  const put = (tag: string, body: string) =>
    registry.fetch(`/v2/app/manifests/${tag}`, { method: 'PUT', headers: { 'Content-Type': types.manifest }, body });

  test('the valid manifest that the rows above were made from is taken', async () => {
    const response = await put('good', JSON.stringify(valid));
    expect(response.status).toBe(201);
    expect((await put('embedded', JSON.stringify(embedded('aGVsbG8=')))).status).toBe(201);
  });

  const good = manifestOf({ schemaVersion: 2, mediaType: types.manifest, config, layers: [] });
  const manyTags = Array.from({ length: 101 }, (_, number) => `tag=t${number}`).join('&');
  refuses(
    [
      { name: 'pushed by a digest of other bytes', reference: zeros, status: 400, code: 'DIGEST_INVALID' as const },
      {
        name: 'pushed by a digest of sha512 of other bytes',
        reference: sha512('x'),
        status: 400,
        code: 'DIGEST_INVALID' as const,
      },
      {
        name: 'too many tag parameters',
        reference: `${good.digest}?${manyTags}`,
        status: 414,
        code: 'UNSUPPORTED' as const,
      },
      { name: 'tag parameter beside a tag', reference: 'v2?tag=v3', status: 400, code: 'UNSUPPORTED' as const },
      {
        name: 'invalid tag parameter',
        reference: `${good.digest}?tag=v1&tag=-x`,
        status: 400,
        code: 'MANIFEST_INVALID' as const,
      },
      {
        name: 'empty tag parameter',
        reference: `${good.digest}?tag=`,
        status: 400,
        code: 'MANIFEST_INVALID' as const,
      },
      {
        name: 'digest as a tag parameter',
        reference: `${good.digest}?tag=${zeros}`,
        status: 400,
        code: 'MANIFEST_INVALID' as const,
      },
    ].map(({ reference, ...row }) => ({
      ...row,
      method: 'PUT',
      target: `/v2/app/manifests/${reference}`,
      headers: { 'Content-Type': types.manifest },
      body: good.bytes,
    })),
  );

  test('of 4 MiB exactly is taken, and of one byte more is refused with 413', async () => {
    const text = JSON.stringify(valid);
    const padded = (size: number) => text + ' '.repeat(size - text.length);
    expect((await put('large', padded(4 * 1024 * 1024))).status).toBe(201);
    await expectFailure(await put('large', padded(4 * 1024 * 1024 + 1)), 413, 'SIZE_INVALID');
  });
});

describe('manifests over 4 MiB', () => {
  const put = (headers: Readonly<Record<string, string>>, body: string | Buffer = ''): Row => ({
    name: '',
    method: 'PUT',
    target: '/v2/app/manifests/large',
    headers: { 'Content-Type': types.manifest, Connection: 'keep-alive', ...headers },
    body,
    status: 413,
    code: 'SIZE_INVALID',
  });

  test('with a Content-Length are refused before any of them is sent', async () => {
    const row = put({ 'Content-Length': String(5 * 1024 * 1024) });
    expectRefusal(await exchange(registry.url, rawBytes(rawRequest(row, {} as World))), row);
  });

  test('without one are refused as soon as the limit is passed', async () => {
    const half = chunkedBody(Buffer.alloc(2 * 1024 * 1024, ' ')).subarray(0, -5);
    const row = put({ 'Transfer-Encoding': 'chunked' }, Buffer.concat([half, half, half]));
    expectRefusal(await exchange(registry.url, rawBytes(rawRequest(row, {} as World))), row);
  });

  test('are not read to their end', async () => {
    const size = 256 * 1024 * 1024;
    const socket = await openSocket(registry.url);
    socket.write(rawBytes(rawRequest(put({ 'Content-Length': String(size) }), {} as World)));
    expect((await readResponse(socket)).status).toBe(413);
    const piece = Buffer.alloc(1024 * 1024, ' ');
    let sent = 0;
    while (sent < size && !socket.destroyed) {
      await new Promise((resolve) => {
        socket.write(piece, resolve);
      });
      sent += piece.length;
    }
    socket.destroy();
    expect(sent).toBeLessThan(size);
  });
});

describe('lists', () => {
  const numbers: readonly (readonly [string, string])[] = [
    ['-1', '-1'],
    ['NaN', 'NaN'],
    ['1e3', '1e3'],
    ['2^60', '1152921504606846976'],
    ['empty', ''],
    ['a fraction', '1.5'],
    ['hex', '0x10'],
    ['a space', '%2010'],
    ['a plus sign', '%2B1'],
    ['digits that are no ASCII', '%D9%A1'],
    ['given twice', '1&n=2'],
  ];
  refuses(
    [
      ['tags', '/v2/app/tags/list'],
      ['the catalog', '/v2/_catalog'],
      ['referrers', `/v2/app/referrers/${zeros}`],
    ].flatMap(([list, path]) =>
      numbers.map(([name, n]) => ({
        name: `n of ${list!}, ${name}`,
        target: `${path!}?n=${n}`,
        status: 400,
        code: 'UNSUPPORTED' as const,
      })),
    ),
  );
  refuses([{ name: 'tags of an unknown repository', target: '/v2/none/tags/list', status: 404, code: 'NAME_UNKNOWN' }]);
});

describe('routes and methods', () => {
  const unknown: readonly (readonly [string, string])[] = [
    ['nothing known', '/v2/nothing'],
    ['a repository alone', '/v2/library/app'],
    ['tags without list', '/v2/app/tags'],
    ['a tag below tags', '/v2/app/tags/v1'],
    ['no blob', '/v2/app/blobs/'],
    ['no manifest', '/v2/app/manifests'],
    ['no subject', '/v2/app/referrers/'],
    ['no repository', '/v2/tags/list'],
    ['below the catalog', '/v2/_catalog/x'],
    ['below an upload', `${unknownSession}/x`],
    ['manifests in upper case', '/v2/app/MANIFESTS/v1'],
    ['blobs in upper case', `/v2/app/Blobs/${zeros}`],
    ['the catalog in upper case', '/v2/_CATALOG'],
  ];
  refuses(unknown.map(([name, target]) => ({ name, target, status: 404, code: 'UNSUPPORTED' as const })));

  const wrong: readonly (readonly [string, string, readonly string[]])[] = [
    ['POST', '/v2/', ['GET', 'HEAD']],
    ['OPTIONS', '/v2/', ['GET', 'HEAD']],
    ['PROPFIND', '/v2/', ['GET', 'HEAD']],
    ['DELETE', '/v2/_catalog', ['GET', 'HEAD']],
    ['POST', '/v2/app/tags/list', ['GET', 'HEAD']],
    ['PUT', `/v2/app/referrers/${zeros}`, ['GET', 'HEAD']],
    ['POST', '/v2/app/manifests/v1', ['DELETE', 'GET', 'HEAD', 'PUT']],
    ['PATCH', '/v2/app/manifests/v1', ['DELETE', 'GET', 'HEAD', 'PUT']],
    ['PUT', `/v2/app/blobs/${zeros}`, ['DELETE', 'GET', 'HEAD']],
    ['PATCH', `/v2/app/blobs/${zeros}`, ['DELETE', 'GET', 'HEAD']],
    ['GET', '/v2/app/blobs/uploads/', ['POST']],
    ['PUT', '/v2/app/blobs/uploads/', ['POST']],
    ['PATCH', '/v2/app/blobs/uploads/', ['POST']],
    ['DELETE', '/v2/app/blobs/uploads/', ['POST']],
    ['POST', unknownSession, ['DELETE', 'GET', 'HEAD', 'PATCH', 'PUT']],
  ];
  test.each(wrong)('%s %s: 405 UNSUPPORTED with Allow', async (method, target, allowed) => {
    const row = { name: '', method, target, status: 405, code: 'UNSUPPORTED' as const };
    const response = await exchange(registry.url, rawBytes(rawRequest(row, {} as World)));
    expectRefusal(response, row);
    expect(response.headers['allow']?.split(', ').sort()).toEqual(allowed);
  });
});

describe('credentials', () => {
  const basic = (text: string | Buffer) => `Basic ${Buffer.from(text).toString('base64')}`;
  const credentials: readonly (readonly [string, string])[] = [
    ['a wrong password', basic('admin:wrong')],
    ['an empty password', basic('admin:')],
    ['a password of 100 bytes', basic(`admin:${admin.password.padEnd(100, 'x')}`)],
    ['the password and a NUL', basic(`admin:${admin.password}\0`)],
    ['an unknown user', basic(`nobody:${admin.password}`)],
    ['the name in upper case', basic(`Admin:${admin.password}`)],
    ['no colon', basic('admin')],
    ['an empty name', basic(`:${admin.password}`)],
    ['the name of the anonymous', basic('system:anonymous')],
    ['bytes that are no UTF-8', basic(Buffer.from([0xff, 0x3a, 0xfe]))],
    ['no base64', 'Basic ****'],
    ['no credentials', 'Basic'],
    ['two credentials', `${basic('a:b')} ${basic('c:d')}`],
    ['an unknown scheme', 'Digest username="admin"'],
    ['a word', 'admin'],
    ['no token', 'Bearer'],
    ['a token of garbage', 'Bearer garbage'],
    ['a token of three dots', 'Bearer ...'],
    ['a token of two commas', 'Bearer a,b'],
    ['a token with no signature', `Bearer ${jwt({ alg: 'none' })}.`],
    ['a token signed with a secret', `Bearer ${jwt({ alg: 'HS256' })}.c2lnbmF0dXJl`],
    ['a token whose parts are no JSON', 'Bearer YQ.YQ.YQ'],
    ['a token of 20,000 letters', `Bearer ${'a'.repeat(20_000)}`],
  ];
  refuses(
    credentials.map(([name, authorization]) => ({
      name,
      target: '/v2/',
      headers: { Authorization: authorization },
      status: 401,
      code: 'UNAUTHORIZED' as const,
      answers: { 'WWW-Authenticate': /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/auth\/token",service="weir-registry"/ },
    })),
  );
  refuses([
    {
      name: 'no credentials at all',
      target: '/v2/app/tags/list',
      as: 'nobody',
      status: 401,
      code: 'UNAUTHORIZED',
      answers: { 'WWW-Authenticate': /,scope="repository:library\/app:pull"$/ },
    },
    {
      name: 'a user who may not delete',
      method: 'DELETE',
      target: '/v2/app/manifests/v1',
      as: user,
      status: 403,
      code: 'DENIED',
    },
    {
      name: 'a Host that would break out of the challenge',
      target: '/v2/',
      headers: { Host: 'x",evil="' },
      as: 'nobody',
      status: 401,
      code: 'UNAUTHORIZED',
      answers: { 'WWW-Authenticate': /^Bearer realm="http:\/\/localhost\/auth\/token",service="weir-registry"$/ },
    },
  ]);

  function jwt(header: object): string {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { iss: 'weir', aud: 'weir-registry', sub: 'admin', groups: ['system:masters'], access: [] };
    return `${encode({ typ: 'JWT', ...header })}.${encode({ ...claims, exp: 4_000_000_000 })}`;
  }
});

describe('what HTTP itself forbids', () => {
  /** Written as it stands; `\n` becomes a line end. */
  interface RawRow {
    readonly name: string;
    readonly head: string;
    readonly body?: string | Buffer;
    readonly status: number;
    readonly code: SpecErrorCode;
  }
  const patch = `PATCH ${unknownSession} HTTP/1.1\nHost: weir`;
  const rows: readonly RawRow[] = [
    { name: 'no request line', head: 'nonsense', status: 400, code: 'UNSUPPORTED' },
    { name: 'an unknown protocol', head: 'GET /v2/ HTPP/1.1\nHost: weir', status: 400, code: 'UNSUPPORTED' },
    { name: 'no Host', head: 'GET /v2/ HTTP/1.1', status: 400, code: 'UNSUPPORTED' },
    { name: 'NUL in the path', head: 'GET /v2/a\0/tags/list HTTP/1.1\nHost: weir', status: 400, code: 'UNSUPPORTED' },
    { name: 'space in the path', head: 'GET /v2/a b/tags/list HTTP/1.1\nHost: weir', status: 400, code: 'UNSUPPORTED' },
    { name: 'a header without a colon', head: 'GET /v2/ HTTP/1.1\nHost: weir\nx', status: 400, code: 'UNSUPPORTED' },
    { name: 'a byte that is no ASCII in the path', head: 'GET /v2/a\xff/tags/list HTTP/1.1\nHost: weir', ...bad() },
    { name: 'NUL in a header', head: 'GET /v2/ HTTP/1.1\nHost: weir\nX: a\0', status: 400, code: 'UNSUPPORTED' },
    { name: 'Content-Length twice', head: `${patch}\nContent-Length: 4\nContent-Length: 4`, body: 'efgh', ...bad() },
    {
      name: 'two values of Content-Length',
      head: `${patch}\nContent-Length: 4\nContent-Length: 5`,
      body: 'efgh',
      ...bad(),
    },
    { name: 'a list as Content-Length', head: `${patch}\nContent-Length: 4, 4`, body: 'efgh', ...bad() },
    { name: 'a negative Content-Length', head: `${patch}\nContent-Length: -4`, body: 'efgh', ...bad() },
    { name: 'a Content-Length with a sign', head: `${patch}\nContent-Length: +4`, body: 'efgh', ...bad() },
    { name: 'a Content-Length in hex', head: `${patch}\nContent-Length: 0x4`, body: 'efgh', ...bad() },
    { name: 'a Content-Length of words', head: `${patch}\nContent-Length: four`, body: 'efgh', ...bad() },
    { name: 'a Content-Length beyond all numbers', head: `${patch}\nContent-Length: ${'9'.repeat(30)}`, ...bad() },
    {
      name: 'Transfer-Encoding beside Content-Length',
      head: `${patch}\nTransfer-Encoding: chunked\nContent-Length: 4`,
      body: chunkedBody('efgh'),
      ...bad(),
    },
    {
      name: 'Transfer-Encoding that does not end in chunked',
      head: `${patch}\nTransfer-Encoding: chunked, gzip`,
      body: chunkedBody('efgh'),
      ...bad(),
    },
    {
      name: 'a header block over 32 KiB',
      head: `GET /v2/ HTTP/1.1\nHost: weir\nX-Large: ${'x'.repeat(40 * 1024)}`,
      status: 431,
      code: 'UNSUPPORTED',
    },
    {
      name: 'a path over 32 KiB',
      head: `GET /v2/${'a/'.repeat(20 * 1024)}tags/list HTTP/1.1\nHost: weir`,
      status: 431,
      code: 'UNSUPPORTED',
    },
  ];

  function bad(): { readonly status: number; readonly code: SpecErrorCode } {
    return { status: 400, code: 'UNSUPPORTED' };
  }

  const bytesOf = ({ head, body = '' }: RawRow) =>
    Buffer.concat([Buffer.from(`${head.replaceAll('\n', '\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);

  for (const row of rows) {
    test(`${row.name}: ${row.status} ${row.code}`, async () => {
      expectRefusal(await exchange(registry.url, bytesOf(row)), row);
    });
  }

  test('a malformed chunk in a body is refused, and the session has what came before it', async () => {
    const { session } = await makeWorld();
    const socket = await openSocket(registry.url);
    const begun = chunkedBody(large).subarray(0, -'0\r\n\r\n'.length);
    socket.write(rawBytes(patchOf(session, { 'Transfer-Encoding': 'chunked' }, begun)));
    await bytesArrive(registry, session, 2 * mebibyte);
    socket.write('zz\r\n');
    expectRefusal(await readResponse(socket), { status: 400, code: 'UNSUPPORTED' });
    socket.destroy();
    await bytesRecorded(registry, session, 2 * mebibyte);
  });

  test.each([
    ['absolute form', 'http://registry.example.org/v2/app/tags/list'],
    ['a query', '/v2/app/tags/list?x=y'],
    ['a trailing slash', '/v2/app/tags/list/'],
  ])('a target in %s is a good request', async (_name, target) => {
    const row: Row = { name: '', target, status: 200, code: 'UNSUPPORTED' };
    expect((await exchange(registry.url, rawBytes(rawRequest(row, {} as World)))).status).toBe(200);
  });
});

describe('bodies that break off', () => {
  /** The four bytes that every session begins with, and the rest. */
  const whole = Buffer.concat([Buffer.from(fourBytes), large]);
  const digest = sha256(whole);

  test('of a chunk: the session has what was received, and the client can go on from there', async () => {
    const { session } = await makeWorld();
    const socket = await openSocket(registry.url);
    socket.write(rawBytes(patchOf(session, { 'Content-Length': String(10 * mebibyte) }, large)));
    await bytesArrive(registry, session, 2 * mebibyte);
    socket.destroy();
    const received = await bytesRecorded(registry, session, 2 * mebibyte);
    expect(received).toBeLessThanOrEqual(whole.length);
    const longer = sha256(Buffer.concat([whole, Buffer.from('!')]));
    const end = await registry.fetch(`${session}?digest=${longer}`, {
      method: 'PUT',
      headers: { 'Content-Range': `${received}-${whole.length}` },
      body: Buffer.concat([whole.subarray(received), Buffer.from('!')]),
    });
    expect(end.status).toBe(201);
  });

  test('of a last chunk: no blob comes of it, and the session goes on', async () => {
    const { session } = await makeWorld();
    const socket = await openSocket(registry.url);
    const request = patchOf(`${session}?digest=${digest}`, { 'Content-Length': String(10 * mebibyte) }, large);
    socket.write(rawBytes({ ...request, method: 'PUT' }));
    await bytesArrive(registry, session, 2 * mebibyte);
    socket.destroy();
    const received = await bytesRecorded(registry, session, 2 * mebibyte);
    expect((await registry.fetch(`/v2/app/blobs/${digest}`)).status).toBe(404);
    const end = await registry.fetch(`${session}?digest=${digest}`, { method: 'PUT', body: whole.subarray(received) });
    expect(end.status).toBe(201);
    const pulled = await registry.fetch(`/v2/app/blobs/${digest}`);
    expect(sha256(Buffer.from(await pulled.arrayBuffer()))).toBe(digest);
  });

  test('of a manifest: nothing is stored', async () => {
    const manifest = imageManifest(image.config, [image.layer], { annotations: { only: 'here' } });
    const socket = await openSocket(registry.url);
    const headers = { 'Content-Type': types.manifest, 'Content-Length': String(manifest.bytes.length) };
    const request = patchOf('/v2/app/manifests/truncated', headers, manifest.bytes.subarray(0, -10));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume().end(rawBytes({ ...request, method: 'PUT' }));
    await closed;
    expect((await registry.fetch('/v2/app/manifests/truncated')).status).toBe(404);
    expect((await registry.fetch(`/v2/app/manifests/${manifest.digest}`)).status).toBe(404);
  });

  test('after more bytes than Content-Length says: what is beyond it never gets into the session', async () => {
    const { session } = await makeWorld();
    const request = patchOf(session, { 'Content-Length': '2', Connection: 'keep-alive' }, 'efgh');
    await exchange(registry.url, rawBytes(request));
    // The rest is no request, and the connection may end before the answer to the first one.
    expect(['0-3', '0-5']).toContain((await registry.fetch(session)).headers.get('Range'));
  });
});

test('no bad request has damaged what was there', async () => {
  expect(await (await registry.fetch(`/v2/app/blobs/${blob.digest}`)).text()).toBe('ten bytes!');
  const manifest = await registry.fetch('/v2/app/manifests/v1');
  expect(Buffer.from(await manifest.arrayBuffer())).toEqual(image.bytes);
  const index = imageIndex([image]);
  expect((await putManifest(registry, 'app', index)).status).toBe(201);
});
