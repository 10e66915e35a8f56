import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import Koa from 'koa';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AuditLog } from '../../src/audit/audit-log.js';
import { auditTrail } from '../../src/audit/audit-middleware.js';
import { anonymous, type Principal } from '../../src/auth/principal.js';
import type { AccessRequest } from '../../src/auth/rules.js';
import { ociErrors } from '../../src/distribution/error-middleware.js';
import { statusErrors } from '../../src/kube/error-middleware.js';
import { forbidden, notFound } from '../../src/kube/errors.js';
import type { AuditRecord, AuditRecords } from '../../src/metadata/audit-records.js';
import { KyselyAuditRecords } from '../../src/metadata/kysely-audit-records.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { OciError } from '../../src/oci/errors.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const ada: Principal = {
  kind: 'user',
  name: 'ada',
  groups: ['system:authenticated'],
  basis: { kind: 'password', user: 'ada', stamp: 'x' },
};
const now = new Date('2026-01-01T00:00:00.123Z');
const secrets = { group: '', plural: 'secrets' };

/** What the middlewares inside find out and do. */
interface Inside {
  readonly principal?: Principal;
  readonly impersonator?: string;
  readonly accessRequest?: AccessRequest;
  readonly dryRun?: boolean;
  readonly answer?: (ctx: Koa.Context) => void | Promise<void>;
}

describe('the audit trail', () => {
  let db: Database;
  let records: AuditRecords;
  let server: Server;
  let inside: Inside;
  let jsonLines: string;

  beforeEach(async () => {
    const folder = await temporaryFolder();
    db = await openSqlite(join(folder, 'weir.sqlite'));
    records = new KyselyAuditRecords(db);
    jsonLines = join(folder, 'audit.jsonl');
    const log = new AuditLog(records, { log: pino({ level: 'silent' }), file: jsonLines, retentionDays: 90 });
    const koa = new Koa();
    koa.silent = true;
    koa.use(async (ctx, next) => {
      ctx.state['requestId'] = 'the-request-id';
      await next();
    });
    koa.use(auditTrail(log, { loginPaths: ['/auth/token'], now: () => now }));
    koa.use((ctx, next) => (ctx.path.startsWith('/api') ? statusErrors(ctx, next) : ociErrors(ctx, next)));
    koa.use(async (ctx) => {
      const { answer, ...state } = inside;
      Object.assign(ctx.state, state);
      await answer?.(ctx);
    });
    const handler = koa.callback();
    server = createServer((request, response) => void handler(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    server.closeAllConnections();
    server.close();
    await db.destroy();
  });

  const url = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const recorded = async () => (await records.list({ limit: 100 })).records;

  /** Sends one request and reads what was recorded by the time its answer came. */
  async function send(what: Inside, path: string, init: RequestInit = {}): Promise<AuditRecord | undefined> {
    inside = what;
    const before = await records.newestId();
    const response = await fetch(url(path), { redirect: 'manual', ...init });
    const found = (await recorded()).filter((record) => record.id > before);
    await response.arrayBuffer();
    expect(found.length).toBeLessThanOrEqual(1);
    return found[0];
  }

  const created = (ctx: Koa.Context) => {
    ctx.status = 201;
    ctx.body = null;
    ctx.status = 201;
  };
  const refuse = (error: Error) => () => {
    throw error;
  };

  test('tells who changed what, from where, and what came of it', async () => {
    const record = await send(
      {
        principal: ada,
        impersonator: 'root',
        accessRequest: {
          kind: 'resource',
          verb: 'deletecollection',
          group: 'image.openshift.io',
          resource: 'imagestreams',
          namespace: 'team',
          name: 'app',
        },
        answer: (ctx) => {
          ctx.body = {};
        },
      },
      '/apis/image.openshift.io/v1/namespaces/team/imagestreams/app',
      { method: 'DELETE', headers: { 'User-Agent': 'oc/4.20' } },
    );
    expect(record).toEqual({
      id: 1,
      at: now,
      requestId: 'the-request-id',
      principal: 'ada',
      impersonator: 'root',
      address: '127.0.0.1',
      userAgent: 'oc/4.20',
      verb: 'deletecollection',
      apiGroup: 'image.openshift.io',
      resource: 'imagestreams',
      namespace: 'team',
      name: 'app',
      method: 'DELETE',
      path: '/apis/image.openshift.io/v1/namespaces/team/imagestreams/app',
      outcome: 'allowed',
      code: 200,
    });
  });

  test.each([
    { method: 'POST', verb: 'create' },
    { method: 'PUT', verb: 'update' },
    { method: 'PATCH', verb: 'patch' },
    { method: 'DELETE', verb: 'delete' },
  ])('calls a $method outside of the API $verb, with the resource that was checked', async ({ method, verb }) => {
    const accessRequest: AccessRequest = {
      kind: 'resource',
      verb: 'checked',
      group: 'image.openshift.io',
      resource: 'imagestreams/layers',
      namespace: 'team',
      name: 'app',
    };
    const path = '/v2/team/app/manifests/v1';
    expect(await send({ principal: ada, accessRequest, answer: created }, path, { method })).toMatchObject({
      verb,
      apiGroup: 'image.openshift.io',
      resource: 'imagestreams/layers',
      namespace: 'team',
      name: 'app',
      path,
    });
  });

  test.each([
    { method: 'GET', verb: 'get' },
    { method: 'HEAD', verb: 'get' },
  ])('tells of a $method that was denied', async ({ method, verb }) => {
    const accessRequest: AccessRequest = { kind: 'path', verb: 'get', path: '/metrics' };
    const answer = refuse(new OciError('DENIED', { user: 'ada' }));
    expect(await send({ principal: ada, accessRequest, answer }, '/metrics', { method })).toMatchObject({
      principal: 'ada',
      verb,
      resource: '',
      path: '/metrics',
      outcome: 'denied',
      code: 403,
      reason: 'DENIED',
    });
  });

  test('names the error by its reason', async () => {
    const accessRequest: AccessRequest = { kind: 'resource', verb: 'list', group: '', resource: 'secrets' };
    const denied = { principal: ada, accessRequest, answer: refuse(forbidden(secrets, '', 'no rule allows it')) };
    expect(await send(denied, '/api/v1/secrets')).toMatchObject({
      verb: 'list',
      resource: 'secrets',
      outcome: 'denied',
      code: 403,
      reason: 'Forbidden',
    });
    const failed = { principal: ada, answer: refuse(notFound(secrets, 'x')) };
    expect(await send(failed, '/api/v1/namespaces/team/secrets/x', { method: 'DELETE' })).toMatchObject({
      outcome: 'failed',
      code: 404,
      reason: 'NotFound',
    });
  });

  test('tells of wrong credentials, and not of the first request of a client', async () => {
    const answer = refuse(new OciError('UNAUTHORIZED'));
    const shown = { headers: { Authorization: 'Bearer x' } };
    expect(await send({ answer }, '/v2/', shown)).toMatchObject({ principal: '', outcome: 'denied', code: 401 });
    expect(await send({ principal: anonymous, answer }, '/v2/')).toBeUndefined();
    expect(await send({ principal: anonymous, answer }, '/v2/a/manifests/b', { method: 'PUT' })).toBeUndefined();
  });

  test('tells of a failed login by form, and of no other use of the login path', async () => {
    const answerWith = (status: number, error?: string) => (ctx: Koa.Context) => {
      ctx.status = status;
      ctx.body = { error };
    };
    const post = { method: 'POST', body: 'password=s3cret' };
    expect(await send({ answer: answerWith(401, 'invalid_grant') }, '/auth/token', post)).toMatchObject({
      outcome: 'denied',
      verb: 'create',
      path: '/auth/token',
      reason: 'invalid_grant',
    });
    expect(await send({ principal: ada, answer: answerWith(200) }, '/auth/token', post)).toBeUndefined();
  });

  test('leaves out what was only tried out', async () => {
    const path = '/api/v1/namespaces/team/secrets';
    const inner = { principal: ada, answer: created };
    expect(await send(inner, `${path}?dryRun=All`, { method: 'POST' })).toBeUndefined();
    expect(await send(inner, `${path}?dryRun=&dryRun=All`, { method: 'POST' })).toBeUndefined();
    expect(await send({ ...inner, dryRun: true }, `${path}/s`, { method: 'DELETE' })).toBeUndefined();
    expect(await send(inner, `${path}?dryRun=`, { method: 'POST' })).toBeDefined();
  });

  test('tells of an upload when it has become a blob', async () => {
    const begun = (ctx: Koa.Context) => {
      created(ctx);
      ctx.status = 202;
    };
    const path = '/v2/team/app/blobs/uploads/';
    expect(await send({ principal: ada, answer: begun }, path, { method: 'POST' })).toBeUndefined();
    expect(await send({ principal: ada, answer: begun }, `${path}1`, { method: 'PATCH' })).toBeUndefined();
    expect(await send({ principal: ada, answer: created }, `${path}1`, { method: 'PUT' })).toMatchObject({ code: 201 });
    const invalid = { principal: ada, answer: refuse(new OciError('DIGEST_INVALID')) };
    expect(await send(invalid, `${path}?mount=sha256:0&from=x`, { method: 'POST' })).toMatchObject({
      path,
      outcome: 'failed',
      code: 400,
      reason: 'DIGEST_INVALID',
    });
    expect(await send(invalid, path, { method: 'POST' })).toBeUndefined();
  });

  test.each([
    { name: 'an error that nobody expected', error: new Error('oh'), code: 500 },
    { name: 'an error with a status', error: Object.assign(new Error('oh'), { status: 413 }), code: 413 },
    { name: 'an error with a status that is none', error: Object.assign(new Error('oh'), { status: 7 }), code: 500 },
  ])('tells of $name and hands it on', async ({ error, code }) => {
    const record = await send({ principal: ada, answer: refuse(error) }, '/v2/a/manifests/b', { method: 'PUT' });
    expect(record).toMatchObject({ outcome: 'failed', code });
    const response = await fetch(url('/v2/a/manifests/b'), { method: 'PUT' });
    expect(response.status).toBe(code);
  });

  test('has the name that the server made up', async () => {
    const accessRequest: AccessRequest = { kind: 'resource', verb: 'create', group: '', resource: 'secrets' };
    const answer = (ctx: Koa.Context) => {
      ctx.status = 201;
      ctx.body = { metadata: { name: 'app-x7k2p' }, data: { password: 'czNjcmV0' } };
    };
    const record = await send({ principal: ada, accessRequest, answer }, '/api/v1/namespaces/team/secrets', {
      method: 'POST',
    });
    expect(record).toMatchObject({ name: 'app-x7k2p', verb: 'create' });
  });

  test('keeps no more of a long User-Agent and a long path than is of use', async () => {
    const record = await send({ principal: ada, answer: created }, `/v2/${'a'.repeat(3000)}/manifests/v1`, {
      method: 'PUT',
      headers: { 'User-Agent': 'u'.repeat(1000) },
    });
    expect(record?.userAgent).toBe('u'.repeat(256));
    expect(record?.path).toHaveLength(1024);
  });

  test('is written before the answer goes out', async () => {
    let isWritten = false;
    const append = records.append.bind(records);
    vi.spyOn(records, 'append').mockImplementation(async (list) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await append(list);
      isWritten = true;
    });
    inside = { principal: ada, answer: created };
    await fetch(url('/v2/a/manifests/b'), { method: 'PUT' });
    expect(isWritten).toBe(true);
  });

  test('fails no request when it cannot be written', async () => {
    vi.spyOn(records, 'append').mockRejectedValue(new Error('the disk is full'));
    inside = { principal: ada, answer: created };
    expect((await fetch(url('/v2/a/manifests/b'), { method: 'PUT' })).status).toBe(201);
  });

  test('tells of a change whose client did not wait for the answer', async () => {
    inside = {
      principal: ada,
      answer: async (ctx) => {
        const closed = new Promise((resolve) => ctx.res.once('close', resolve));
        sending.destroy();
        await closed;
        ctx.throw(400, 'the body broke off');
      },
    };
    const sending = httpRequest(url('/v2/a/manifests/b'), { method: 'PUT' }).on('error', () => undefined);
    sending.end();
    await vi.waitFor(async () => {
      expect(await recorded()).toEqual([
        expect.objectContaining({ address: '127.0.0.1', outcome: 'failed', code: 400, reason: 'ClientGone' }),
      ]);
    });
  });

  test('never has a secret in it', async () => {
    const secret = 'Th1s-is-a-s3cret';
    const token = `sha256~abcdef${'S3cr3tS3cr3t'.repeat(3)}`;
    const credentials = Buffer.from(`ada:${secret}`).toString('base64');
    const answers: readonly Inside['answer'][] = [
      created,
      refuse(new OciError('DENIED', { message: secret })),
      refuse(forbidden(secrets, secret.toLowerCase(), secret)),
      refuse(new Error(secret)),
      (ctx) => {
        ctx.status = 422;
        ctx.body = { kind: 'Status', reason: `${secret} `, message: secret, errors: [{ code: secret }] };
      },
    ];
    const tokenName: AccessRequest = {
      kind: 'resource',
      verb: 'delete',
      group: 'oauth.openshift.io',
      resource: 'oauthaccesstokens',
      name: token,
    };
    for (const answer of answers) {
      for (const path of [
        `/v2/a/manifests/b?token=${secret}&access_token=${secret}`,
        `/api/v1/secrets?fieldSelector=x%3D${secret}`,
        `/apis/oauth.openshift.io/v1/oauthaccesstokens/${token}`,
        `/apis/oauth.openshift.io/v1/oauthaccesstokens/${token.replace('~', '%7E')}`,
      ]) {
        await send({ principal: ada, accessRequest: tokenName, ...(answer && { answer }) }, path, {
          method: 'PUT',
          body: JSON.stringify({ password: secret }),
          headers: { Authorization: `Basic ${credentials}`, Cookie: `session=${secret}`, 'X-Api-Key': secret },
        });
      }
    }
    const absolute = httpRequest({
      port: (server.address() as AddressInfo).port,
      method: 'PUT',
      path: `http://ada:${secret}@localhost/v2/a/manifests/b?x=${secret}`,
    }).end();
    const [response] = (await once(absolute, 'response')) as [NodeJS.ReadableStream];
    response.resume();

    const text = JSON.stringify(await recorded());
    expect((await recorded()).length).toBe(answers.length * 4 + 1);
    expect(text).not.toMatch(/s3cret/i);
    expect(text).not.toContain(credentials);
    expect(text).not.toContain('S3cr3t');
    expect(text).toContain('sha256~abcdef...');
  });
});
