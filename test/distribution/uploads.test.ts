import { appendFile, readdir, rm, stat, truncate, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { fileHandlePrototype } from '../support/file-handles.js';
import { content, pushBlob, sha256, sha512, startUpload } from '../support/images.js';
import { expectFailure } from '../support/oci-errors.js';
import { chunkedBody, exchange, openSocket, rawBytes, readResponse, type RawRequest } from '../support/raw-http.js';
import { admin, authorizationOf, startRegistry, type TestRegistry } from '../support/registry.js';
import { bytesArrive, uploadPath } from '../support/upload-progress.js';

const mebibyte = 1024 * 1024;
let registry: TestRegistry;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

/** Text that no other test has pushed. */
let count = 0;
function freshText(): string {
  count += 1;
  return `upload ${count}`;
}

function patch(session: string, body: string | Buffer, range?: string): Promise<Response> {
  return registry.fetch(session, { method: 'PATCH', body, headers: range ? { 'Content-Range': range } : {} });
}

function finish(session: string, digest: string, body: string | Buffer | null = null): Promise<Response> {
  return registry.fetch(`${session}?digest=${digest}`, { method: 'PUT', body });
}

async function pulled(repository: string, digest: string): Promise<string> {
  const response = await registry.fetch(`/v2/${repository}/blobs/${digest}`);
  expect(response.status).toBe(200);
  return response.text();
}

async function storedFiles(): Promise<string[]> {
  const names = await readdir(join(registry.dataDir, 'blobs'), { recursive: true });
  return names.filter((name) => name.length > 2);
}

describe('the ways to push a blob', () => {
  test('POST, then PUT of everything', async () => {
    const text = freshText();
    const start = await registry.fetch('/v2/app/blobs/uploads/', { method: 'POST' });
    expect(start.status).toBe(202);
    expect(start.headers.get('Range')).toBe('0-0');
    expect(start.headers.get('Location')).toMatch(/^\/v2\/app\/blobs\/uploads\/[0-9a-f]{32,}$/);
    expect(await start.text()).toBe('');
    const end = await finish(start.headers.get('Location')!, sha256(text), text);
    expect(end.status).toBe(201);
    expect(end.headers.get('Docker-Content-Digest')).toBe(sha256(text));
    expect(end.headers.get('Location')).toBe(`/v2/app/blobs/${sha256(text)}`);
    expect(await (await registry.fetch(end.headers.get('Location')!)).text()).toBe(text);
  });

  test('a single POST', async () => {
    const text = freshText();
    const response = await registry.fetch(`/v2/app/blobs/uploads/?digest=${sha256(text)}`, {
      method: 'POST',
      body: text,
    });
    expect(response.status).toBe(201);
    expect(response.headers.get('Location')).toBe(`/v2/app/blobs/${sha256(text)}`);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('a stream of unknown length, then an empty PUT', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    const half = text.length / 2;
    const body = new Blob([text.slice(0, half), text.slice(half)]).stream();
    const response = await registry.fetch(session, { method: 'PATCH', body });
    expect(response.status).toBe(202);
    expect(response.headers.get('Range')).toBe(`0-${text.length - 1}`);
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('chunks in order, each answered with how far the session is', async () => {
    const text = `${freshText()}: abcdefghij`;
    let session = await startUpload(registry, 'app');
    for (const [from, to] of [
      [0, 3],
      [4, 4],
      [5, text.length - 1],
    ] as const) {
      const response = await patch(session, text.slice(from, to + 1), `${from}-${to}`);
      expect(response.status).toBe(202);
      expect(response.headers.get('Range')).toBe(`0-${to}`);
      session = response.headers.get('Location')!;
      const status = await registry.fetch(session);
      expect(status.status).toBe(204);
      expect(status.headers.get('Range')).toBe(`0-${to}`);
      expect(status.headers.get('Location')).toBe(session);
    }
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('chunks, the last of them in the PUT', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text.slice(0, 3), '0-2');
    const end = await registry.fetch(`${session}?digest=${sha256(text)}`, {
      method: 'PUT',
      body: text.slice(3),
      headers: { 'Content-Range': `3-${text.length - 1}` },
    });
    expect(end.status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('chunks with a range in the form of RFC 9110', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    expect((await patch(session, text, `bytes 0-${text.length - 1}/${text.length}`)).status).toBe(202);
    expect((await finish(session, sha256(text))).status).toBe(201);
  });

  test('an empty chunk between others changes nothing', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    const empty = await patch(session, '');
    expect(empty.status).toBe(202);
    expect(empty.headers.get('Range')).toBe(`0-${text.length - 1}`);
    expect((await finish(session, sha256(text))).status).toBe(201);
  });

  test('several mebibytes in one stream', async () => {
    const bytes = Buffer.alloc(5 * mebibyte + 17, 'abcdefg');
    const session = await startUpload(registry, 'app');
    expect((await finish(session, sha256(bytes), bytes)).status).toBe(201);
    expect(sha256(await pulled('app', sha256(bytes)))).toBe(sha256(bytes));
  });

  test('an empty blob', async () => {
    const session = await startUpload(registry, 'empty');
    expect((await finish(session, sha256(''))).status).toBe(201);
    const response = await registry.fetch(`/v2/empty/blobs/${sha256('')}`);
    expect(response.headers.get('Content-Length')).toBe('0');
    expect(await response.text()).toBe('');
  });

  test('a POST with a digest and no body goes on as a session', async () => {
    const text = freshText();
    const response = await registry.fetch(`/v2/app/blobs/uploads/?digest=${sha256(text)}`, { method: 'POST' });
    expect(response.status).toBe(202);
    expect((await finish(response.headers.get('Location')!, sha256(text), text)).status).toBe(201);
  });

  test('by somebody who may push and is no admin', async () => {
    const token = await registry.token(['repository:app:pull,push']);
    const text = freshText();
    await pushBlob(registry, 'app', text, { as: { token } });
    expect(await pulled('app', sha256(text))).toBe(text);
  });
});

describe('digest algorithms', () => {
  test.each([
    { name: 'announced, in one PUT', query: '?digest-algorithm=sha512', chunked: false },
    { name: 'announced, in chunks', query: '?digest-algorithm=sha512', chunked: true },
    { name: 'not announced, in one PUT', query: '', chunked: false },
    { name: 'not announced, in chunks', query: '', chunked: true },
  ])('sha512 $name', async ({ query, chunked }) => {
    const text = freshText();
    const start = await registry.fetch(`/v2/app/blobs/uploads/${query}`, { method: 'POST' });
    const session = start.headers.get('Location')!;
    if (chunked) await patch(session, text);
    expect((await finish(session, sha512(text), chunked ? null : text)).status).toBe(201);
    const response = await registry.fetch(`/v2/app/blobs/${sha512(text)}`);
    expect(response.headers.get('Docker-Content-Digest')).toBe(sha512(text));
    expect(await response.text()).toBe(text);
    expect((await registry.fetch(`/v2/app/blobs/${sha256(text)}`)).status).toBe(404);
  });

  test('sha512 in a single POST', async () => {
    const text = freshText();
    const target = `/v2/app/blobs/uploads/?digest=${sha512(text)}`;
    expect((await registry.fetch(target, { method: 'POST', body: text })).status).toBe(201);
    expect(await pulled('app', sha512(text))).toBe(text);
  });

  test('a session announced for sha512 may end with sha256', async () => {
    const text = freshText();
    const start = await registry.fetch('/v2/app/blobs/uploads/?digest-algorithm=sha512', { method: 'POST' });
    const session = start.headers.get('Location')!;
    await patch(session, text);
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });
});

describe('a session', () => {
  test('goes on where it stands after a chunk out of order', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text.slice(0, 4), '0-3');
    const refused = await patch(session, text.slice(6), `6-${text.length - 1}`);
    expect(refused.status).toBe(416);
    expect(refused.headers.get('Range')).toBe('0-3');
    const next = await patch(refused.headers.get('Location')!, text.slice(4), `4-${text.length - 1}`);
    expect(next.status).toBe(202);
    expect((await finish(session, sha256(text))).status).toBe(201);
  });

  test('that was cancelled is gone, with its bytes', async () => {
    const session = await startUpload(registry, 'app');
    await patch(session, 'some bytes');
    const response = await registry.fetch(session, { method: 'DELETE' });
    expect(response.status).toBe(204);
    await expectFailure(await registry.fetch(session), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectFailure(await patch(session, 'more'), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectFailure(await finish(session, sha256('some bytes')), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectFailure(await registry.fetch(session, { method: 'DELETE' }), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expect(stat(uploadPath(registry, session))).rejects.toThrow('ENOENT');
  });

  test('that was finished is gone', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await finish(session, sha256(text), text);
    await expectFailure(await registry.fetch(session), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectFailure(await finish(session, sha256(text), text), 404, 'BLOB_UPLOAD_UNKNOWN');
  });

  test('that ended with a wrong digest is over, and no blob comes of it', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await expectFailure(await finish(session, sha256('other'), text), 400, 'DIGEST_INVALID');
    await expectFailure(await registry.fetch(session), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectFailure(await registry.fetch(`/v2/app/blobs/${sha256(text)}`), 404, 'BLOB_UNKNOWN');
    await expect(stat(uploadPath(registry, session))).rejects.toThrow('ENOENT');
  });

  test('takes one writer at a time: the second is refused, and the first is not disturbed', async () => {
    const bytes = Buffer.alloc(3 * mebibyte, freshText());
    const session = await startUpload(registry, 'app');
    const socket = await openSocket(registry.url);
    socket.write(rawBytes(rawPatch(session, { 'Content-Length': String(bytes.length + 1) }, bytes)));
    await bytesArrive(registry, session, mebibyte);
    await expectFailure(await patch(session, 'second'), 409, 'BLOB_UPLOAD_INVALID');
    await expectFailure(await finish(session, sha256('second'), 'second'), 409, 'BLOB_UPLOAD_INVALID');
    await expectFailure(await registry.fetch(session, { method: 'DELETE' }), 409, 'BLOB_UPLOAD_INVALID');
    socket.write('!');
    expect((await readResponse(socket)).status).toBe(202);
    socket.destroy();
    const whole = Buffer.concat([bytes, Buffer.from('!')]);
    expect((await finish(session, sha256(whole))).status).toBe(201);
  });

  test('does not count bytes of a chunk that was refused for being longer than its range', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    const range = `${text.length}-${text.length + 3}`;
    const headers = { 'Content-Range': range, 'Transfer-Encoding': 'chunked' };
    const refused = await exchange(registry.url, rawBytes(rawPatch(session, headers, chunkedBody('four', 'more'))));
    expect(refused.status).toBe(400);
    expect((await registry.fetch(session)).headers.get('Range')).toBe(`0-${text.length - 1}`);
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect((await stat(await fileOf(text))).size).toBe(text.length);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('does not count bytes that a crash left behind the recorded ones, when it ends', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    await appendFile(uploadPath(registry, session), 'written, and never recorded');
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect((await stat(await fileOf(text))).size).toBe(text.length);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('does not count bytes that a crash left behind the recorded ones, when it goes on', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    await appendFile(uploadPath(registry, session), 'written, and never recorded');
    await patch(session, '!');
    expect((await finish(session, sha256(`${text}!`))).status).toBe(201);
    expect((await stat(await fileOf(`${text}!`))).size).toBe(text.length + 1);
  });

  test('whose bytes were lost ends with an error and no blob', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    await truncate(uploadPath(registry, session), 2);
    const response = await finish(session, sha256(text));
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    await expectFailure(await registry.fetch(`/v2/app/blobs/${sha256(text)}`), 404, 'BLOB_UNKNOWN');
  });

  /** Where the bytes of a finished blob are. */
  async function fileOf(text: string): Promise<string> {
    const db = await registry.openDatabase();
    const { location } = await db
      .selectFrom('blob')
      .select('location')
      .where('digest', '=', content(text).digest as never)
      .executeTakeFirstOrThrow();
    return join(registry.dataDir, 'blobs', location);
  }
});

describe('a blob that is there already', () => {
  test('is kept once when it is pushed again, also to another repository', async () => {
    const text = freshText();
    await pushBlob(registry, 'app', text);
    const before = await storedFiles();
    await pushBlob(registry, 'app', text);
    await pushBlob(registry, 'other', text);
    expect(await storedFiles()).toEqual(before);
    expect(await pulled('other', sha256(text))).toBe(text);
  });

  test('is kept once when several push it at the same time', async () => {
    const text = freshText();
    const before = (await storedFiles()).length;
    await Promise.all(Array.from({ length: 8 }, (_, number) => pushBlob(registry, `race/r${number % 3}`, text)));
    expect((await storedFiles()).length).toBe(before + 1);
    expect(await pulled('race/r2', sha256(text))).toBe(text);
    expect(await readdir(join(registry.dataDir, 'uploads'))).not.toContain('.tmp');
  });

  test.each([
    { name: 'are gone', damage: (path: string) => rm(path) },
    { name: 'were cut short', damage: (path: string) => truncate(path, 3) },
  ])('is healed by another push when its bytes $name', async ({ damage }) => {
    const text = freshText();
    const before = new Set(await storedFiles());
    await pushBlob(registry, 'app', text);
    const [file] = (await storedFiles()).filter((name) => !before.has(name));
    await damage(join(registry.dataDir, 'blobs', file!));
    await pushBlob(registry, 'app', text);
    expect(await pulled('app', sha256(text))).toBe(text);
  });
});

test('who goes on at once after a body broke off waits for its end, on however slow a disk, and is not refused', async () => {
  const whole = Buffer.concat([Buffer.from(freshText()), Buffer.alloc(3 * mebibyte, 'x')]);
  const session = await startUpload(registry, 'app');
  const socket = await openSocket(registry.url);
  const headers = { 'Content-Length': String(10 * mebibyte) };
  const syncs = await slowSyncs(300);
  try {
    socket.write(
      rawBytes({ ...rawPatch(session, headers, whole), method: 'PUT', target: `${session}?digest=${sha256(whole)}` }),
    );
    await bytesArrive(registry, session, 2 * mebibyte);
    socket.destroy();
    // The body has ended for the registry as soon as it begins to sync what it got.
    await syncs.begun();
    const range = (await registry.fetch(session)).headers.get('Range')!;
    const received = Number(range.slice(2)) + 1;
    expect(received).toBeGreaterThanOrEqual(2 * mebibyte);
    expect((await finish(session, sha256(whole), whole.subarray(received))).status).toBe(201);
  } finally {
    syncs.restore();
  }
});

describe('a restart of the registry', () => {
  test('an upload survives it and is finished with an empty PUT', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text);
    await registry.restart();
    expect((await registry.fetch(session)).headers.get('Range')).toBe(`0-${text.length - 1}`);
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('an upload survives it and goes on with the next chunk', async () => {
    const text = freshText();
    const session = await startUpload(registry, 'app');
    await patch(session, text.slice(0, 4), '0-3');
    await registry.restart();
    expect((await patch(session, text.slice(4), `4-${text.length - 1}`)).status).toBe(202);
    expect((await finish(session, sha256(text))).status).toBe(201);
    expect(await pulled('app', sha256(text))).toBe(text);
  });

  test('a blob survives it', async () => {
    const text = freshText();
    await pushBlob(registry, 'app', text);
    await registry.restart();
    expect(await pulled('app', sha256(text))).toBe(text);
  });
});

/** Makes every sync of a file take its time. */
async function slowSyncs(ms: number): Promise<{ readonly begun: () => Promise<void>; readonly restore: () => void }> {
  const prototype = await fileHandlePrototype();
  const spies = (['sync', 'datasync'] as const).map((name) => {
    const original = Reflect.get<FileHandle, typeof name>(prototype, name);
    return vi.spyOn(prototype, name).mockImplementation(async function (this: FileHandle) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      await original.call(this);
    });
  });
  return {
    begun: () =>
      vi.waitFor(
        () => {
          expect(spies.some((spy) => spy.mock.calls.length > 0)).toBe(true);
        },
        { interval: 5, timeout: 10_000 },
      ),
    restore: () => {
      for (const spy of spies) spy.mockRestore();
    },
  };
}

function rawPatch(target: string, headers: Readonly<Record<string, string>>, body: Buffer): RawRequest {
  const all = { Host: new URL(registry.url).host, Authorization: authorizationOf(admin)!, ...headers };
  return { method: 'PATCH', target, headers: Object.entries(all), body };
}
