import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ClientError } from '../../../src/cli/client/client-error.js';
import { isLoopback } from '../../../src/cli/client/json-request.js';
import { UsageError } from '../../../src/cli/usage-error.js';
import { CertificateAuthority } from '../../../src/tls/certificate-authority.js';
import { failure, listen, startAnswering, type Answer } from './answering-server.js';
import { ClientTerminal } from './client-terminal.js';

const projects = '/apis/project.openshift.io/v1/projects';
const noProjects = { kind: 'ProjectList', apiVersion: 'project.openshift.io/v1', metadata: {}, items: [] };

function kubeconfig(server: string, token: string, settings = ''): string {
  return `
current-context: c
clusters: [{name: k, cluster: {server: '${server}'${settings}}}]
contexts: [{name: c, context: {cluster: k, user: u, namespace: shop}}]
users: [{name: u, user: {token: ${token}}}]
`;
}

function dockerConfig(host: string, password: string): string {
  return JSON.stringify({ auths: { [host]: { auth: Buffer.from(`ada:${password}`).toString('base64') } } });
}

describe('the server and the token come from', () => {
  test('the command line, before anything else', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: noProjects });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: 'http://127.0.0.1:1', WEIR_TOKEN: 'other' });
    await terminal.write('.kube/config', kubeconfig('http://127.0.0.1:1', 'third'));
    await terminal.weir('projects', '--server', server.url, '--token', 'first');
    expect(server.requests[0]!.headers.authorization).toBe('Bearer first');
  });

  test('the environment', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: noProjects });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: server.url, WEIR_TOKEN: ' second\n' });
    await terminal.weir('projects');
    expect(server.requests[0]!.headers.authorization).toBe('Bearer second');
  });

  test('the current context of the kubeconfig', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: noProjects });
    const terminal = await ClientTerminal.open();
    terminal.environment['KUBECONFIG'] = await terminal.write('elsewhere', kubeconfig(server.url, 'third'));
    await terminal.weir('projects');
    expect(server.requests[0]!.headers.authorization).toBe('Bearer third');
  });

  test('what podman keeps for the only registry that it has logged in to', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: noProjects });
    const terminal = await ClientTerminal.open();
    await terminal.write('run/containers/auth.json', dockerConfig(server.host, 'sha256~fourth'));
    // Nothing but the name of a host is known there, and that alone means https.
    await terminal.weir('projects', '--server', server.url);
    expect(server.requests[0]!.headers.authorization).toBe('Bearer sha256~fourth');
    await expect(terminal.weir('projects')).rejects.toThrow(`${server.host} does not speak TLS`);
  });

  test('nowhere: then nobody asks, and is told to log in', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: [failure(401, 'Unauthorized', 'Unauthorized')] });
    const terminal = await ClientTerminal.open();
    await expect(terminal.weir('projects', '--server', server.url)).rejects.toThrow(
      `${server.host} wants to know who you are; log in with "weir login ${server.host}"`,
    );
    expect(server.requests[0]!.headers.authorization).toBeUndefined();
    await expect(terminal.weir('projects')).rejects.toThrow(UsageError);
    await expect(terminal.weir('projects')).rejects.toThrow('no server is named; log in with "weir login HOST"');
  });
});

describe('a token is sent to no server but its own:', () => {
  test('that of the kubeconfig not to one that is named on the command line', async () => {
    const server = await startAnswering({ [`GET ${projects}`]: noProjects });
    const terminal = await ClientTerminal.open();
    await terminal.write('.kube/config', kubeconfig('https://reg.example', 'secret'));
    await terminal.write('.docker/config.json', dockerConfig('reg.example', 'sha256~secret'));
    await terminal.weir('projects', '--server', server.url);
    expect(server.requests[0]!.headers.authorization).toBeUndefined();
  });

  test('that of the environment not to one that only a reference names', async () => {
    const path = '/apis/weir.dev/v1/namespaces/shop/imagestreams/app/tags';
    const server = await startAnswering({ [`GET ${path}`]: { items: [] } });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: 'http://127.0.0.1:1', WEIR_TOKEN: 'secret' });
    // It is asked by https, as nobody; this one speaks none, and so hears nothing at all.
    await expect(terminal.weir('tags', `${server.host}/shop/app`)).rejects.toThrow('does not speak TLS');
    terminal.environment['WEIR_SERVER'] = server.url;
    await terminal.weir('tags', `${server.host}/shop/app`);
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer secret']);
  });

  test('not to another that the first sends it to', async () => {
    const other = await startAnswering({});
    const moved: Answer = { status: 307, headers: { Location: `${other.url}${projects}` } };
    const server = await startAnswering({ [`GET ${projects}`]: [moved] });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: server.url, WEIR_TOKEN: 'secret' });
    await expect(terminal.weir('projects')).rejects.toThrow(`${server.host} answers 307`);
    expect(other.requests).toEqual([]);
  });

  test.each(['http://reg.example', 'http://192.0.2.1:5000'])(
    'not to %s, where everybody could read it',
    async (url) => {
      const terminal = await ClientTerminal.open({ WEIR_SERVER: url, WEIR_TOKEN: 'secret' });
      await expect(terminal.weir('projects')).rejects.toThrow(/to be spoken to without TLS, and everybody on the way/);
      await expect(terminal.weir('login', url, '-u', 'ada', '-p', 'secret')).rejects.toThrow(/without TLS/);
    },
  );

  test.each([
    { host: 'localhost', loopback: true },
    { host: '127.1.2.3', loopback: true },
    { host: '[::1]', loopback: true },
    { host: '127.0.0.1.evil.example', loopback: false },
    { host: 'localhost.evil.example', loopback: false },
    { host: '10.0.0.1', loopback: false },
  ])('$host is this machine: $loopback', ({ host, loopback }) => {
    expect(isLoopback(host)).toBe(loopback);
  });
});

describe('an address', () => {
  test.each([
    { server: 'https://ada:secret@reg.example', message: 'the address of reg.example has credentials in it' },
    { server: 'https://reg.example/v2/', message: 'named by its host and port alone' },
    { server: 'ftp://reg.example', message: 'to be spoken to by https or http' },
    { server: 'reg example', message: 'the server is no address' },
  ])('$server is refused', async ({ server, message }) => {
    const terminal = await ClientTerminal.open();
    const refused = terminal.weir('projects', '--server', server);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(/secret/);
  });

  test('in two references is refused when it is not the same', async () => {
    const terminal = await ClientTerminal.open();
    await expect(terminal.weir('diff', 'a.example/p/app:v1', 'b.example/p/app:v2')).rejects.toThrow(
      'one command speaks to one server, and a.example and b.example are two',
    );
  });
});

describe('TLS', () => {
  /** @returns the address of a server with a certificate of an authority of its own, and that authority's */
  async function startSecure(terminal: ClientTerminal): Promise<{ readonly host: string; readonly caFile: string }> {
    const folder = terminal.path('tls');
    const authority = new CertificateAuthority(folder);
    const server = createServer(await authority.serverCertificate(['127.0.0.1']), (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(noProjects));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, caFile: terminal.path('tls', 'ca.crt') };
  }

  test('with an unknown authority is refused before anything is sent, and says what to do', async () => {
    const terminal = await ClientTerminal.open({ WEIR_TOKEN: 'secret' });
    const { host } = await startSecure(terminal);
    await expect(terminal.weir('projects', '--server', host)).rejects.toThrow(
      `the certificate of ${host} is by an authority that is not known here; give its certificate with --ca FILE`,
    );
  });

  test('trusts the authority that the command line, the kubeconfig or certs.d names', async () => {
    const terminal = await ClientTerminal.open();
    const { host, caFile } = await startSecure(terminal);
    await terminal.weir('projects', '--server', host, '--ca', caFile);
    await terminal.weir('projects', '--server', host, '--insecure');
    await terminal.write('.kube/config', kubeconfig(`https://${host}`, 'x', ', certificate-authority: ../tls/ca.crt'));
    await terminal.weir('projects');
    const other = await ClientTerminal.open();
    await other.write(`.config/containers/certs.d/${host}/ca.crt`, await readFile(caFile, 'utf8'));
    expect((await other.weir('projects', '--server', host)).stderr).toBe('There is no project that you may see.\n');
  });

  test('trusts no other authority than the one that is named', async () => {
    const terminal = await ClientTerminal.open();
    const { host } = await startSecure(terminal);
    const other = await ClientTerminal.open();
    const { caFile } = await startSecure(other);
    await expect(terminal.weir('projects', '--server', host, '--ca', caFile)).rejects.toThrow(/not known here/);
  });

  test('says so when a file of certificates is none', async () => {
    const terminal = await ClientTerminal.open();
    const file = await terminal.write('ca.crt', 'nothing');
    await expect(terminal.weir('projects', '--server', 'x', '--ca', file)).rejects.toThrow(
      `${file} has no certificate`,
    );
    await expect(terminal.weir('projects', '--server', 'x', '--ca', 'gone')).rejects.toThrow('gone cannot be read');
  });
});

describe('a refusal', () => {
  const token = 'sha256~secret-token';

  async function refusedBy(answer: Answer): Promise<ClientError> {
    const server = await startAnswering({ [`GET ${projects}`]: [answer] });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: server.url, WEIR_TOKEN: token });
    try {
      await terminal.weir('projects');
    } catch (error) {
      if (error instanceof ClientError) return error;
      throw error;
    }
    throw new Error('it was not refused');
  }

  test.each([
    {
      name: 'a token that is no more',
      answer: failure(401, 'Unauthorized', 'Unauthorized'),
      message: /^127.0.0.1:\d+ does not take the token any more, or never did; log in again with "weir login 127/,
    },
    {
      name: 'a right that is missing',
      answer: failure(403, 'Forbidden', 'projects is forbidden: ada cannot list'),
      message:
        /^projects is forbidden: ada cannot list; somebody who administers the project can give you a role for it$/,
    },
    {
      name: 'an object that is not there',
      answer: failure(404, 'NotFound', 'imagestreams "x" not found', { name: 'x' }),
      message: /^imagestreams "x" not found$/,
    },
    {
      name: 'a call that is not there',
      answer: failure(404, 'NotFound', 'the server could not find the requested resource', {}),
      message: /^the server could not find the requested resource; 127.0.0.1:\d+ may be an older Weir/,
    },
    {
      name: 'a rule',
      answer: failure(409, 'Conflict', 'tag v1 is protected by "v*"'),
      message: /^tag v1 is protected by "v\*"$/,
    },
    {
      name: 'too many requests',
      answer: { ...failure(429, 'TooManyRequests', 'too many'), headers: { 'Retry-After': '7' } },
      message: /has too much to do: too many; try again in 7 seconds$/,
    },
    {
      name: 'a failure',
      answer: { ...failure(500, 'InternalError', 'Internal error'), headers: { 'X-Request-Id': 'r-1' } },
      message: /failed: Internal error; try again later \(its log has the reason under request r-1\)$/,
    },
    {
      name: 'a proxy',
      answer: { status: 502, headers: { 'Content-Type': 'text/html' }, body: '<h1>' },
      message: /is not reached by what stands before it \(502\)/,
    },
    {
      name: 'something that is no Weir',
      answer: { status: 404, headers: { 'Content-Type': 'text/html' }, body: '<h1>' },
      message: /answers 404 with text\/html, which Weir does not; is this the address of a Weir server\?$/,
    },
    {
      name: 'a page where there should be JSON',
      answer: { status: 200, headers: { 'Content-Type': 'text/html' }, body: '<h1>' },
      message: /answers with something else than JSON/,
    },
    {
      name: 'an answer of another shape',
      answer: { body: { items: [{ metadata: {} }] } },
      message: /what this client does not understand: items.0.metadata.name/,
    },
    {
      name: 'a server that repeats the token and writes to the terminal',
      answer: failure(409, 'Conflict', `\u001b[2Jno ${token}\n`),
      message: /^\[2Jno \(token\) $/,
    },
  ])('of $name is told in a sentence', async ({ answer, message }) => {
    const error = await refusedBy(answer);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain(token);
  });

  test('is not needed to see that an answer has no end', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const url = await listen((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      const write = (): void => {
        while (response.write(chunk));
      };
      response.on('drain', write);
      write();
    });
    const terminal = await ClientTerminal.open({ WEIR_SERVER: url });
    await expect(terminal.weir('projects')).rejects.toThrow('answers with more than 64 MiB');
  });

  test('of nobody who listens names the address', async () => {
    const terminal = await ClientTerminal.open({ WEIR_SERVER: 'http://127.0.0.1:1' });
    await expect(terminal.weir('projects')).rejects.toThrow('nothing listens at 127.0.0.1:1');
  });
});

test('what a server warns of is shown, with nothing in it that a terminal acts upon', async () => {
  const warned: Answer = { headers: { Warning: '299 - "tag \\"a\\" moves too", 299 - "and\tb"' }, body: noProjects };
  const server = await startAnswering({ [`GET ${projects}`]: [warned] });
  const terminal = await ClientTerminal.open({ WEIR_SERVER: server.url });
  const { stderr } = await terminal.weir('projects');
  expect(stderr).toContain('warning: tag "a" moves too\nwarning: and b\n');
});
