import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { accessTokenName } from '../../../src/auth/access-tokens.js';
import { importRegistryCommand } from '../../../src/cli/client/import-registry-command.js';
import type { Terminal } from '../../../src/cli/client/terminal.js';
import {
  content,
  descriptor,
  emptyJson,
  expectStatus,
  imageIndex,
  imageManifest,
  manifestOf,
  pushBlob,
  pushImage,
  pushManifest,
  referrer,
  sha512,
  startUpload,
  types,
  type Manifest,
  type PushedImage,
} from '../../support/images.js';
import { admin, startRegistry, user, type Credentials, type TestRegistry } from '../../support/registry.js';
import { ClientTerminal, type Said } from './client-terminal.js';

/** What stands between the command and a registry: it counts what is asked, and can spoil what is answered. */
interface Between {
  readonly url: string;
  /** As in `GET /v2/team/app/tags/list`. */
  readonly asked: string[];
  /** Answers in place of the registry when it returns true. */
  spoil: (line: string, response: ServerResponse, forward: () => void) => boolean;
}

let source: TestRegistry;
let target: TestRegistry;

beforeAll(async () => {
  source = await startRegistry({ WEIR_POLICY_SPARSE: 'indexes' });
  target = await startRegistry();
});

afterAll(async () => {
  await source.stop();
  await target.stop();
});

let projects = 0;
/** Names of each test, so that none finds what another one left. */
let project: string;

beforeEach(async () => {
  projects += 1;
  project = `team-${projects}`;
  await source.addProject(project);
});

async function between(registry = source): Promise<Between> {
  const asked: string[] = [];
  const server = createServer((received, response) => {
    const line = `${received.method!} ${received.url!.replace(/\?.*/, '')}`;
    asked.push(line);
    const forward = (): void => {
      forwardTo(registry.url, received, response);
    };
    if (!self.spoil(line, response, forward)) forward();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const self: Between = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    spoil: () => false,
  };
  return self;
}

function forwardTo(url: string, received: IncomingMessage, response: ServerResponse): void {
  const { method, headers } = received;
  const sent = httpRequest(new URL(received.url!, url), { method: method!, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(response);
  });
  sent.on('error', () => response.destroy());
  received.pipe(sent);
}

async function open(as: Credentials = admin): Promise<ClientTerminal> {
  return ClientTerminal.open({ WEIR_SERVER: target.url, WEIR_TOKEN: await target.apiToken(as) });
}

/** What a run said, and how it ended. */
interface Ended extends Said {
  /** Empty when everything was copied. */
  readonly failure: string;
}

/** Copies as the admin of the source, to whatever end. */
async function tryCopy(client: ClientTerminal, from: string, ...options: readonly string[]): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  const secret = () => Promise.resolve(admin.password);
  const terminal: Terminal = {
    ...{ environment: client.environment, home: client.home, userId: 1000, now: () => client.now },
    print: (text) => (stdout += text),
    note: (text) => (stderr += text),
    ...{ ask: secret, askSecret: secret, readInput: secret },
  };
  const program = new Command('weir').exitOverride().addCommand(importRegistryCommand(terminal));
  const login = ['--source-username', admin.name, '--source-password-stdin'];
  const failure = await program.parseAsync(['import-registry', from, ...login, ...options], { from: 'user' }).then(
    () => '',
    (error: unknown) => (error as Error).message,
  );
  return { stdout, stderr, failure };
}

/** As `tryCopy`, when everything must be copied. */
async function copy(client: ClientTerminal, from: string, ...options: readonly string[]): Promise<Said> {
  const ended = await tryCopy(client, from, ...options);
  if (ended.failure !== '') throw new Error(`${ended.failure}\n${ended.stderr}${ended.stdout}`);
  return ended;
}

async function digestAt(registry: TestRegistry, repository: string, reference: string): Promise<string | undefined> {
  const response = await registry.fetch(`/v2/${repository}/manifests/${reference}`, { method: 'HEAD' });
  return response.status === 200 ? response.headers.get('Docker-Content-Digest')! : undefined;
}

async function referrersAt(registry: TestRegistry, repository: string, digest: string): Promise<string[]> {
  const response = await registry.fetch(`/v2/${repository}/referrers/${digest}`);
  return ((await response.json()) as { manifests: { digest: string }[] }).manifests.map((each) => each.digest).sort();
}

async function tagsAt(registry: TestRegistry, repository: string): Promise<string[]> {
  const response = await registry.fetch(`/v2/${repository}/tags/list`);
  return response.status === 200 ? ((await response.json()) as { tags: string[] }).tags : [];
}

/** Upload sessions of the target that nobody has ended. */
async function uploadsLeft(): Promise<number> {
  const rows = await (await target.openDatabase()).selectFrom('upload').select('id').execute();
  return rows.length;
}

/** An index of two images; the second image is signed, the index has an SBOM, and the SBOM is signed. */
async function pushSigned(repository: string): Promise<{
  readonly index: Manifest;
  readonly images: readonly PushedImage[];
  readonly sbom: Manifest;
  readonly signatures: readonly Manifest[];
}> {
  const images = [await pushImage(source, repository, 'amd'), await pushImage(source, repository, 'arm')];
  const index = await pushManifest(source, repository, imageIndex(images), 'v1');
  await pushBlob(source, repository, emptyJson.bytes);
  const sbom = await pushManifest(source, repository, referrer(index, 'application/spdx+json'));
  const ofSbom = await pushManifest(source, repository, referrer(sbom, 'application/vnd.example.signature'));
  const ofImage = await pushManifest(source, repository, referrer(images[1]!, 'application/vnd.example.signature'));
  return { index, images, sbom, signatures: [ofSbom, ofImage] };
}

describe('what is copied', () => {
  test('is everything: tags, images, indexes with what they list, and what refers to any of it', async () => {
    const repository = `${project}/app`;
    const { index, images, sbom, signatures } = await pushSigned(repository);
    await pushImage(source, `${project}/other/web`, 'v1', 'web');

    const { stdout, stderr } = await copy(await open(), source.url, '--repositories', `${project}/*`);

    expect(await digestAt(target, repository, 'v1')).toBe(index.digest);
    expect(await tagsAt(target, repository)).toEqual(['amd', 'arm', 'v1']);
    expect(await referrersAt(target, repository, index.digest)).toEqual([sbom.digest]);
    expect(await referrersAt(target, repository, sbom.digest)).toEqual([signatures[0]!.digest]);
    expect(await referrersAt(target, repository, images[1]!.digest)).toEqual([signatures[1]!.digest]);
    const layer = await target.fetch(`/v2/${repository}/blobs/${images[0]!.layer.digest}`);
    expect(Buffer.from(await layer.arrayBuffer())).toEqual(images[0]!.layer.bytes);
    expect(await tagsAt(target, `${project}/other/web`)).toEqual(['v1']);
    expect(stderr).toContain(`made the project ${project}`);
    expect(stdout).toContain('Copied: 4 tags, 7 manifests (3 of them signatures, SBOMs and the like), 7 blobs');
    expect(stdout).toContain('Not copied: 0');
  });

  test('are the tags that a pattern describes, with the tags that cosign made for their images', async () => {
    const repository = `${project}/app`;
    const image = await pushImage(source, repository, 'v1.0');
    await pushImage(source, repository, 'nightly');
    const signature = await pushImage(source, repository, `${image.digest.replace(':', '-')}.sig`, 'signature');
    const bill = await pushImage(source, repository, `${signature.digest.replace(':', '-')}.sbom`, 'bill');

    await copy(await open(), `${source.url}/${repository}`, '--tags', 'v*');

    const tags = [`${image.digest.replace(':', '-')}.sig`, `${signature.digest.replace(':', '-')}.sbom`, 'v1.0'];
    expect((await tagsAt(target, repository)).sort()).toEqual(tags.sort());
    expect(
      await digestAt(
        target,
        repository,
        tags.find((tag) => tag.endsWith('.sbom'))!,
      ),
    ).toBe(bill.digest);
  });

  test('goes below a project when one is named, and only from below a path', async () => {
    await pushImage(source, `${project}/app`, 'v1');
    await pushImage(source, `${project}/apple`, 'v1');
    await pushImage(source, `${project}/app/part`, 'v1');
    await target.addProject(`${project}-copies`);

    await copy(await open(), `${source.url}/${project}/app/`, '--project', `${project}-copies`);

    expect(await tagsAt(target, `${project}-copies/${project}/app`)).toEqual(['v1']);
    expect(await tagsAt(target, `${project}-copies/${project}/app/part`)).toEqual(['v1']);
    expect(await tagsAt(target, `${project}-copies/${project}/apple`)).toEqual([]);
  });

  test('takes a manifest of Docker, a digest of SHA-512 and an empty layer', async () => {
    const repository = `${project}/odd`;
    const config = await pushBlob(source, repository, '{"os":"linux"}');
    const empty = await pushBlob(source, repository, '');
    const long = Buffer.from('a layer with a long digest');
    const session = await startUpload(source, repository);
    await expectStatus(await source.fetch(`${session}?digest=${sha512(long)}`, { method: 'PUT', body: long }), 201);
    const docker = manifestOf(
      {
        schemaVersion: 2,
        mediaType: types.dockerManifest,
        config: descriptor('application/vnd.docker.container.image.v1+json', config),
        layers: [empty, { bytes: long, digest: sha512(long) }].map((layer) => {
          return descriptor('application/vnd.docker.image.rootfs.diff.tar.gzip', layer);
        }),
      },
      types.dockerManifest,
    );
    await pushManifest(source, repository, docker, 'docker');

    await copy(await open(), source.url, '--repositories', repository);

    const answer = await target.fetch(`/v2/${repository}/manifests/docker`);
    expect(answer.headers.get('Content-Type')).toBe(types.dockerManifest);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(docker.bytes);
    expect((await target.fetch(`/v2/${repository}/blobs/${empty.digest}`)).headers.get('Content-Length')).toBe('0');
    expect(await (await target.fetch(`/v2/${repository}/blobs/${sha512(long)}`)).text()).toBe(long.toString());
  });

  test('is fetched once for several repositories, and linked for the others', async () => {
    const proxy = await between();
    const shared = await pushImage(source, `${project}/one`, 'v1', 'shared');
    await pushImage(source, `${project}/two`, 'v1', 'shared');
    await pushImage(source, `${project}/three`, 'v1', 'shared');

    const { stdout } = await copy(await open(), `${proxy.url}/${project}`, '--repositories', `${project}/*`);

    expect(proxy.asked.filter((line) => line.endsWith(shared.layer.digest))).toHaveLength(1);
    expect(proxy.asked.filter((line) => line.endsWith(shared.config.digest))).toHaveLength(1);
    expect(stdout).toContain('and 4 blobs that the server had elsewhere');
  });

  test('is kept in the history with the reason', async () => {
    await pushImage(source, `${project}/app`, 'v1');
    const terminal = await open();
    await copy(terminal, `${source.url}/${project}`, '--reason', 'the old registry is switched off');
    expect((await terminal.weir('history', `${project}/app:v1`)).stdout).toContain('the old registry is switched off');
  });
});

describe('a second run', () => {
  test('makes nothing but HEADs for what is there, when a state says that it is whole', async () => {
    const proxy = await between();
    await pushSigned(`${project}/app`);
    const terminal = await open();
    const state = terminal.path('copied.db');
    await copy(terminal, `${proxy.url}/${project}`, '--state', state);
    proxy.asked.length = 0;

    const { stdout } = await copy(terminal, `${proxy.url}/${project}`, '--state', state);

    expect(stdout).toContain('There already: 3 tags');
    const below = `/v2/${project}/app/`;
    // Once without a token, which is how a client learns where to get one.
    expect([...new Set(proxy.asked.filter((line) => line.includes(below)))].sort()).toEqual([
      `GET ${below}tags/list`,
      `HEAD ${below}manifests/amd`,
      `HEAD ${below}manifests/arm`,
      `HEAD ${below}manifests/v1`,
    ]);
  });

  test('without a state reads no manifest and no blob again, and finds what was signed since', async () => {
    const proxy = await between();
    const { index } = await pushSigned(`${project}/app`);
    const terminal = await open();
    await copy(terminal, `${proxy.url}/${project}`);
    const later = await pushManifest(source, `${project}/app`, referrer(index, 'application/vnd.example.later'));
    proxy.asked.length = 0;

    await copy(terminal, `${proxy.url}/${project}`);

    expect(proxy.asked.filter((line) => line.includes('/blobs/'))).toEqual([]);
    const read = proxy.asked.filter((line) => line.startsWith('GET') && line.includes('/manifests/'));
    expect(read).toEqual([`GET /v2/${project}/app/manifests/${later.digest}`]);
    expect(await referrersAt(target, `${project}/app`, index.digest)).toContain(later.digest);
  });

  test('moves a tag that was moved at the source', async () => {
    await pushImage(source, `${project}/app`, 'v1', 'old');
    const terminal = await open();
    await copy(terminal, `${source.url}/${project}`);
    const moved = await pushImage(source, `${project}/app`, 'v1', 'new');
    await copy(terminal, `${source.url}/${project}`);
    expect(await digestAt(target, `${project}/app`, 'v1')).toBe(moved.digest);
  });

  test('refuses a state that is a file of something else', async () => {
    const terminal = await open();
    const state = await terminal.write('notes.txt', 'these are notes, and no database at all '.repeat(50));
    await expect(copy(terminal, `${source.url}/${project}`, '--state', state)).rejects.toThrow('cannot be used');
  });
});

describe('what goes wrong at the source', () => {
  test('is gone on from when a connection breaks in the middle of a blob', async () => {
    const proxy = await between();
    const layer = await pushBlob(source, `${project}/app`, Buffer.alloc(3_000_000, 'weir'));
    const config = await pushBlob(source, `${project}/app`, '{}');
    await pushManifest(source, `${project}/app`, imageManifest(config, [layer]), 'v1');
    let breaks = 0;
    proxy.spoil = (line, response) => {
      if (!line.endsWith(layer.digest) || breaks === 1) return false;
      breaks += 1;
      response.writeHead(200, { 'Content-Length': String(layer.bytes.length) });
      response.write(layer.bytes.subarray(0, 1_000_000), () => response.destroy());
      return true;
    };

    await copy(await open(), `${proxy.url}/${project}`);

    expect(breaks).toBe(1);
    const copied = await target.fetch(`/v2/${project}/app/blobs/${layer.digest}`);
    expect(Buffer.from(await copied.arrayBuffer()).equals(layer.bytes)).toBe(true);
  });

  test('leaves no tag on an image of which a blob has other bytes, and the rest is copied', async () => {
    const proxy = await between();
    const bad = await pushImage(source, `${project}/app`, 'bad');
    const good = await pushImage(source, `${project}/app`, 'good');
    proxy.spoil = (line, response) => {
      if (!line.endsWith(bad.layer.digest)) return false;
      response.end(Buffer.alloc(bad.layer.bytes.length, 'x'));
      return true;
    };

    const { failure } = await tryCopy(await open(), `${proxy.url}/${project}`);

    expect(failure).toContain('1 of what was wanted was not copied');
    expect(await tagsAt(target, `${project}/app`)).toEqual(['good']);
    expect(await digestAt(target, `${project}/app`, bad.digest)).toBeUndefined();
    expect(await digestAt(target, `${project}/app`, good.digest)).toBe(good.digest);
    expect((await target.fetch(`/v2/${project}/app/blobs/${bad.layer.digest}`)).status).toBe(404);
  });

  test('is told for each tag: one that is gone meanwhile, one whose index lacks an image', async () => {
    const proxy = await between();
    const repository = `${project}/app`;
    await pushImage(source, repository, 'gone');
    const there = await pushImage(source, repository, 'there');
    const missing = { ...content('{"schemaVersion":2}'), mediaType: types.manifest };
    await pushManifest(source, repository, imageIndex([there, missing]), 'sparse');
    proxy.spoil = (line, response) => {
      if (!line.endsWith('/manifests/gone')) return false;
      response.writeHead(404).end();
      return true;
    };
    const { failure, stderr } = await tryCopy(await open(), `${proxy.url}/${project}`);

    expect(failure).toContain('2 of what was wanted');
    expect(stderr).toContain(`not copied: ${repository}:gone: `);
    expect(stderr).toContain(`not copied: ${repository}:sparse: ${missing.digest}, which it lists, was not copied: `);
    expect(await tagsAt(target, repository)).toEqual(['there']);
  });

  test('goes no further once it wants no more requests', async () => {
    const proxy = await between();
    for (const tag of ['a', 'b', 'c']) await pushImage(source, `${project}/app`, tag);
    proxy.spoil = (line, response) => {
      if (!line.includes('/manifests/')) return false;
      response.writeHead(429, { 'Retry-After': '3600' }).end();
      return true;
    };
    const { failure } = await tryCopy(await open(), `${proxy.url}/${project}`, '--jobs', '1');
    expect(failure).toMatch(/^stopped: .*no more requests/);
    expect(proxy.asked.filter((line) => line.includes('/manifests/'))).toHaveLength(1);
  });

  test.each([401, 404, 405])('is no end when it answers %i instead of a list: names are asked for', async (status) => {
    const proxy = await between();
    await pushImage(source, `${project}/app`, 'v1');
    proxy.spoil = (line, response) => {
      if (!line.endsWith('/_catalog')) return false;
      response.writeHead(status).end();
      return true;
    };
    const terminal = await open();
    expect((await tryCopy(terminal, proxy.url)).failure).toMatch(
      /does not list its repositories.*--repositories team\/app/,
    );
    await copy(terminal, proxy.url, '--repositories', `${project}/app`);
    expect(await tagsAt(target, `${project}/app`)).toEqual(['v1']);

    await pushImage(source, `${project}/app`, 'v2');
    await copy(terminal, `${proxy.url}/${project}/app`);
    expect(await tagsAt(target, `${project}/app`)).toEqual(['v1', 'v2']);
  });
});

describe('what goes wrong at the server', () => {
  test('is tried again when it may pass: uploads that break, 429 and 503', async () => {
    const proxy = await between(target);
    const image = await pushImage(source, `${project}/app`, 'v1', `of ${project}`);
    const spoiled: string[] = [];
    proxy.spoil = (line, response) => {
      const kind = line.replace(/uploads\/.+/, 'uploads/…').replace(/sha256:.*/, 'sha256:…');
      if (/^(GET|DELETE)/.test(line) || spoiled.includes(kind)) return false;
      spoiled.push(kind);
      if (kind.startsWith('PUT') && kind.includes('uploads')) response.destroy();
      else response.writeHead(kind.startsWith('HEAD') ? 429 : 503).end();
      return true;
    };
    const terminal = await ClientTerminal.open({ WEIR_SERVER: proxy.url, WEIR_TOKEN: await target.apiToken(admin) });
    await target.addProject(project);

    await copy(terminal, `${source.url}/${project}`);

    const below = `/v2/${project}/app`;
    expect(spoiled).toEqual(
      expect.arrayContaining([
        `HEAD ${below}/manifests/v1`,
        `HEAD ${below}/blobs/sha256:…`,
        `POST ${below}/blobs/uploads/`,
        `PUT ${below}/blobs/uploads/…`,
        `PUT ${below}/manifests/sha256:…`,
        `PUT ${below}/manifests/v1`,
      ]),
    );
    expect(await digestAt(target, `${project}/app`, 'v1')).toBe(image.digest);
    expect(await uploadsLeft()).toBe(0);
  });

  test('is told of a project that the caller may not make, and nothing is sent there', async () => {
    const proxy = await between();
    await pushImage(source, `${project}/app`, 'v1');
    const strict = await startRegistry({ WEIR_PROJECTS_SELF_PROVISIONING: 'false' });
    onTestFinished(() => strict.stop());
    const terminal = await ClientTerminal.open({ WEIR_SERVER: strict.url, WEIR_TOKEN: await strict.apiToken(user) });

    const { stderr } = await tryCopy(terminal, `${proxy.url}/${project}`);

    expect(stderr).toContain(`not copied: ${project}/app: the project ${project} is not there or not for you`);
    expect(proxy.asked.some((line) => line.includes('/manifests/'))).toBe(false);
  });

  test('ends the run when the token is not taken', async () => {
    await pushImage(source, `${project}/app`, 'v1');
    const terminal = await ClientTerminal.open({ WEIR_SERVER: target.url, WEIR_TOKEN: 'sha256~none' });
    expect((await tryCopy(terminal, `${source.url}/${project}`)).failure).toMatch(/log in (again )?with "weir login/);
  });

  test('is gone on from with the token of a newer login', async () => {
    const proxy = await between();
    await pushImage(source, `${project}/app`, 'v1', 'fetched while somebody logs in');
    const terminal = await ClientTerminal.open();
    const logIn = async (): Promise<string> => {
      terminal.answers.push(admin.password);
      await terminal.weir('login', target.url, '-u', admin.name);
      return /token: (\S+)/.exec(await readFile(terminal.path('.kube', 'config'), 'utf8'))![1]!;
    };
    const old = await logIn();
    const logInAgain = async (): Promise<void> => {
      await logIn();
      const path = `/apis/oauth.openshift.io/v1/useroauthaccesstokens/${accessTokenName(old)!}`;
      expect((await target.api(path, { method: 'DELETE', as: { token: old } })).status).toBe(200);
    };
    let isOld = true;
    proxy.spoil = (line, response, forward) => {
      if (!isOld || !line.includes('/blobs/')) return false;
      isOld = false;
      logInAgain().then(forward, () => response.destroy());
      return true;
    };

    await copy(terminal, `${proxy.url}/${project}`);

    expect(isOld).toBe(false);
    expect(await tagsAt(target, `${project}/app`)).toEqual(['v1']);
  });
});

describe('an interruption', () => {
  test('leaves nothing half done, and the next run goes on', async () => {
    const proxy = await between();
    const layer = await pushBlob(source, `${project}/app`, Buffer.alloc(2_000_000, project));
    const config = await pushBlob(source, `${project}/app`, '{}');
    await pushBlob(target, `${project}/app`, '{}');
    await pushManifest(source, `${project}/app`, imageManifest(config, [layer]), 'slow');
    await pushImage(source, `${project}/app`, 'done', `of ${project}`);
    proxy.spoil = (line, response) => {
      if (!line.endsWith(layer.digest)) return false;
      response.writeHead(200, { 'Content-Length': String(layer.bytes.length) });
      // As Ctrl-C does.
      response.write(layer.bytes.subarray(0, 1_000_000), () => process.emit('SIGINT'));
      return true;
    };
    const terminal = await open();

    const { failure, stdout } = await tryCopy(terminal, `${proxy.url}/${project}`, '--jobs', '1');

    expect(failure).toMatch(/^interrupted; nothing is half done. Run the same again to go on/);
    expect(stdout).toContain('Copied: 1 tag,');
    expect(await tagsAt(target, `${project}/app`)).toEqual(['done']);
    expect(await uploadsLeft()).toBe(0);

    proxy.spoil = () => false;
    proxy.asked.length = 0;
    await copy(terminal, `${proxy.url}/${project}`);
    expect(await tagsAt(target, `${project}/app`)).toEqual(['done', 'slow']);
    expect(proxy.asked.filter((line) => line.startsWith('GET') && line.includes('/blobs/'))).toEqual([
      `GET /v2/${project}/app/blobs/${layer.digest}`,
    ]);
  });
});

describe('a dry run', () => {
  test('says what would be copied, and copies nothing', async () => {
    const there = await pushImage(source, `${project}/app`, 'there');
    await pushImage(source, `${project}/app`, 'moved', 'one');
    const terminal = await open();
    await copy(terminal, `${source.url}/${project}`);
    const moved = await pushImage(source, `${project}/app`, 'moved', 'two');
    const fresh = await pushImage(source, `${project}/app`, 'fresh');

    const { stdout } = await copy(terminal, `${source.url}/${project}`, '--dry-run', '--jobs', '1');

    expect(stdout.split('\n')).toEqual([
      `would copy ${project}/app:fresh (${fresh.digest.slice(0, 19)})`,
      expect.stringMatching(
        new RegExp(`^would move ${project}/app:moved \\(${moved.digest.slice(0, 19)}, it is sha256:`),
      ),
      `is there   ${project}/app:there (${there.digest.slice(0, 19)})`,
      'Would copy 1 and move 1 tags; 1 are there already.',
      '',
    ]);
    expect(await digestAt(target, `${project}/app`, 'fresh')).toBeUndefined();
  });

  test('makes no project', async () => {
    await pushImage(source, `${project}/app`, 'v1');
    const { stderr } = await copy(await open(), `${source.url}/${project}`, '--dry-run');
    expect(stderr).toContain(`would make the project ${project}`);
    expect((await target.api(`/apis/project.openshift.io/v1/projects/${project}`)).status).toBe(404);
  });
});

describe('the command line', () => {
  test.each([
    { args: ['ftp://reg.example'], why: 'by https or http' },
    { args: ['reg.example/team:v1'], why: 'no name of a repository' },
    { args: ['user:secret@reg.example'], why: 'credentials in it' },
    { args: ['reg.example/team', '--repositories', 'other/app'], why: 'not below team' },
    { args: ['reg.example', '--repositories', 'Team/App'], why: 'no name of a repository' },
    { args: ['reg.example', '--source-password-stdin'], why: '--source-username' },
    { args: ['reg.example', '--jobs', '0'], why: 'whole number from 1' },
    { args: ['reg.example', '--jobs', '65'], why: 'at most 64' },
  ])('$args is refused', async ({ args, why }) => {
    const terminal = await open();
    const refusal = terminal.weir('import-registry', ...args);
    await expect(refusal).rejects.toThrow(why);
    await expect(refusal).rejects.not.toThrow('secret');
  });
});
