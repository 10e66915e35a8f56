import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { IssuerError, IssuerKeys, wrongIssuer } from '../../src/identity/issuer-keys.js';
import type { TestRegistry } from '../support/registry.js';
import { startTenants, startTimeout } from './tenants.js';

const id = 'CVE-2020-13788 Harbor, CVE-2026-32591, CVE-2026-2377 and CVE-2026-85471 Quay';

/** Answers as an issuer would, or as one that wants the server to go elsewhere. */
let issuer: Server;
/** Where nobody of ours has any business. */
let internal: Server;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: string[];
let visits: string[];
let key: CryptoKey;
let publicJwk: JWK;

beforeAll(async () => {
  const pair = await generateKeyPair('ES256');
  key = pair.privateKey;
  publicJwk = { ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' };
  issuer = createServer((request, response) => {
    asked.push(request.url!);
    answer(request, response);
  }).listen(0, '127.0.0.1');
  internal = createServer((request, response) => {
    visits.push(request.url!);
    response.end(JSON.stringify({ issuer: urlOf(issuer), jwks_uri: `${urlOf(internal)}/keys`, keys: [publicJwk] }));
  }).listen(0, '127.0.0.1');
  await Promise.all([once(issuer, 'listening'), once(internal, 'listening')]);
});
afterAll(() => {
  issuer.close();
  internal.close();
});
beforeEach(() => {
  asked = [];
  visits = [];
});

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendJson(response: ServerResponse, body: object): void {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(body));
}

/** Finds the keys of the issuer and verifies with them, as far as it gets. */
async function useKeys(): Promise<unknown> {
  const keys = await new IssuerKeys().keysOf(urlOf(issuer));
  const token = await new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(key);
  const [header, payload, signature] = token.split('.');
  return keys({ alg: 'ES256', kid: 'one' }, { protected: header!, payload: payload!, signature: signature! });
}

describe('requests to issuers of tokens', () => {
  test.each([
    'http://169.254.169.254',
    'http://169.254.169.254/latest/meta-data',
    'http://[fd00:ec2::254]',
    'http://metadata.google.internal',
    'http://10.0.0.1',
    'http://127.0.0.1.nip.io',
    'http://localhost.evil.example',
    'http://[::ffff:169.254.169.254]',
    'http://0.0.0.0',
    'http://2852039166',
    'file:///etc/passwd',
    'ftp://issuer.example',
    'gopher://issuer.example',
    'data:application/json,{}',
    'https://user@issuer.example',
    'https://user:password@issuer.example',
    'https://issuer.example@169.254.169.254',
    'https://issuer.example\\@169.254.169.254',
    'https://issuer.example?x=y',
    'https://issuer.example#x',
    'https://issuer.example/ x',
    'https://issuer.example\r\nHost: evil.example',
    '//issuer.example',
    '/issuer',
    '',
  ])(`${id}: %j is no issuer, and nobody is asked`, async (text) => {
    expect(wrongIssuer(text)).toEqual(expect.any(String));
    let isAsked = false;
    const keys = new IssuerKeys({
      fetch: () => {
        isAsked = true;
        return Promise.reject(new Error('asked'));
      },
    });
    await expect(keys.keysOf(text)).rejects.toThrow(IssuerError);
    expect(isAsked).toBe(false);
  });

  test(`${id}: an issuer that plays by the rules has its keys found, so that the others fail by what they do`, async () => {
    answer = (request, response) => {
      if (request.url === '/keys') sendJson(response, { keys: [publicJwk] });
      else sendJson(response, { issuer: urlOf(issuer), jwks_uri: `${urlOf(issuer)}/keys` });
    };
    expect(await useKeys()).toBeDefined();
    expect(asked).toEqual(['/.well-known/openid-configuration', '/keys']);
  });

  test.each([301, 302, 303, 307, 308])(`${id}: a %i of an issuer is not followed`, async (status) => {
    answer = (_request, response) => {
      response.writeHead(status, { Location: `${urlOf(internal)}/latest/meta-data` }).end();
    };
    await expect(useKeys()).rejects.toThrow(IssuerError);
    expect(visits).toEqual([]);
  });

  test(`${id}: a redirection where its keys should be is not followed`, async () => {
    answer = (request, response) => {
      if (request.url === '/keys') response.writeHead(302, { Location: `${urlOf(internal)}/keys` }).end();
      else sendJson(response, { issuer: urlOf(issuer), jwks_uri: `${urlOf(issuer)}/keys` });
    };
    await expect(useKeys()).rejects.toThrow();
    expect(visits).toEqual([]);
  });

  test.each([
    'http://169.254.169.254/keys',
    'http://internal.example/keys',
    'http://localhost.evil.example/keys',
    'file:///etc/passwd',
    'data:application/json,{"keys":[]}',
    'javascript:alert(1)',
    '/keys',
    '',
  ])(`${id}: keys at %j are not looked for`, async (keysUrl) => {
    answer = (_request, response) => {
      sendJson(response, { issuer: urlOf(issuer), jwks_uri: keysUrl });
    };
    await expect(useKeys()).rejects.toThrow(IssuerError);
    expect(asked).toEqual(['/.well-known/openid-configuration']);
  });

  test(`${id}: an issuer with the name of another one has no keys`, async () => {
    answer = (_request, response) => {
      sendJson(response, { issuer: 'https://accounts.example', jwks_uri: `${urlOf(issuer)}/keys` });
    };
    await expect(useKeys()).rejects.toThrow(IssuerError);
    expect(asked).toEqual(['/.well-known/openid-configuration']);
  });

  test(`${id}: an answer without end is not read to its end`, async () => {
    let sentBytes = 0;
    answer = (_request, response) => {
      const piece = Buffer.alloc(64 * 1024, ' ');
      const write = () => {
        if (response.destroyed) return;
        sentBytes += piece.length;
        response.write(piece, () => setImmediate(write));
      };
      write();
    };
    await expect(useKeys()).rejects.toThrow(IssuerError);
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
  });

  test(`${id}: what an issuer says is not repeated`, async () => {
    answer = (_request, response) => {
      response.end('internal-words-of-the-answer');
    };
    await expect(useKeys()).rejects.not.toThrow(/internal-words/);
  });
});

describe('a token that says who issued it', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startTenants();
  }, startTimeout);
  afterAll(() => registry.stop());

  test.each([
    ['with its issuer in iss', (url: string) => ({ iss: url, header: {} })],
    ['with its keys at jku', (url: string) => ({ iss: 'https://issuer.example', header: { jku: `${url}/keys` } })],
    [
      'with its certificate at x5u',
      (url: string) => ({ iss: 'https://issuer.example', header: { x5u: `${url}/keys` } }),
    ],
  ])(`${id}: nobody makes the server ask somebody by showing a token, %s`, async (_how, said) => {
    const { iss, header } = said(urlOf(internal));
    const token = await new SignJWT({ aud: 'weir', sub: 'somebody' })
      .setProtectedHeader({ alg: 'ES256', kid: 'one', ...header })
      .setIssuer(iss)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(key);
    const exchanged = await registry.fetch('/auth/token', {
      method: 'POST',
      as: 'nobody',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
        subject_token: token,
      }),
    });
    expect(exchanged.status).toBe(401);
    for (const path of ['/v2/', '/apis', '/api/v1/namespaces']) {
      expect((await registry.fetch(path, { as: { token } })).status).toBe(401);
    }
    expect(visits).toEqual([]);
  });
});
