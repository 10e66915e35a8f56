import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import type { Login } from './support/api-token.js';
import { makeBuildContext, type BuildContext } from './support/build-context.js';
import { expectRefused } from './support/clients.js';
import { publicHost, startDockerEngine, whyNoDockerEngine } from './support/docker-engine.js';
import { follow, type Followed } from './support/follow.js';
import { makeDockerMachine, makePodmanMachine, type Machine } from './support/machine.js';
import { describeWithPrograms, installedProgram, siteWithWeir, skipLoudly, type Site } from './support/suite.js';
import { openTerminal, type Terminal } from './support/terminal.js';
import { addUser } from './support/users.js';
import type { WeirOptions } from './support/weir.js';

describeWithPrograms('a release that went wrong, with podman', ['podman', 'kubectl'], () => {
  story({}, (site) => Promise.resolve(makePodmanMachine(site)));
});

const obstacle = whyNoDockerEngine();
if (obstacle === undefined) {
  describeWithPrograms('a release that went wrong, with docker', ['docker', 'dockerd', 'kubectl'], () => {
    story({ publicUrl: `https://${publicHost}` }, async (site) =>
      makeDockerMachine(site, await startDockerEngine(site, 'engine')),
    );
  });
} else skipLoudly('a release that went wrong, with docker', obstacle);

/** The program `weir` at somebody's terminal. */
type WeirCommand = (...args: readonly string[]) => Promise<string>;

/** Two pushes of one tag, a rollback, a pull of what there was before: each test goes on where the last one ended. */
function story(options: WeirOptions, makeMachine: (site: Site) => Promise<Machine>): void {
  const site = siteWithWeir(options);
  const program = path.join(root, 'bin', 'weir.cjs');
  let machine: Machine;
  let dev: Login;
  let reader: Login;
  let kubectl: Terminal;
  let weir: WeirCommand;
  let watch: Followed;
  let builds: Record<'first' | 'second', BuildContext>;
  const digests = { first: '', second: '' };
  const stops: (() => Promise<unknown>)[] = [];

  /** A terminal at which somebody has logged in with `weir login`. */
  const logIn = async ({ username, password }: Login): Promise<WeirCommand> => {
    const terminal = openTerminal(site, process.execPath, username);
    const login = ['login', site.weir.host, '--ca', site.weir.caFile, '--username', username, '--password-stdin'];
    expect(await terminal.given(password, program, ...login)).toMatch(
      new RegExp(`^Logged in to ${site.weir.host} as ${username}; \\S+ has the token\\.\n`),
    );
    return (...args) => terminal.run(program, ...args);
  };

  beforeAll(async () => {
    dev = await addUser(site, 'dev');
    reader = await addUser(site, 'reader');
    builds = {
      first: makeBuildContext(site.workspace, 'first'),
      second: makeBuildContext(site.workspace, 'second'),
    };
    machine = await makeMachine(site);
    stops.push(() => machine.stop());
  });
  afterAll(async () => {
    for (const stop of stops) await stop();
  });

  test('begins with a login and a project', async () => {
    weir = await logIn(dev);
    // The same home: what weir has written down is what kubectl reads.
    kubectl = openTerminal(site, installedProgram('kubectl'), dev.username);
    for (const name of ['shop', 'live']) {
      const request = { apiVersion: 'project.openshift.io/v1', kind: 'ProjectRequest', metadata: { name } };
      expect(await kubectl.given(JSON.stringify(request), 'create', '-f', '-')).toMatch(
        new RegExp(`${name} created\n$`),
      );
    }
    expect(await weir('project', 'shop')).toBe(`Using project shop on ${site.weir.host}.\n`);
    expect(await weir('projects')).toMatch(/^\* +shop +Active$/m);
    await machine.logIn(dev);
  });

  test('goes on with two pushes of one tag, which somebody else watches', async () => {
    const columns = 'NAME:.metadata.name,TAG:.status.tags[0].tag,IMAGE:.status.tags[0].items[0].image';
    const getStreams = ['get', 'imagestreams', '-n', 'shop', '-w', '-o', `custom-columns=${columns}`];
    watch = follow(kubectl.program, getStreams, kubectl.command);
    stops.push(() => watch.stop());
    for (const build of ['first', 'second'] as const) {
      digests[build] = await machine.publish(builds[build], 'shop/app:prod');
      await watch.waitFor(new RegExp(`^app +prod +${digests[build]}$`, 'm'));
    }
    expect(digests.first).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(digests.second).not.toBe(digests.first);
    expect(await kubectl.run('get', 'imagestreams', '-n', 'shop')).toMatch(
      new RegExp(`^NAME +IMAGE REPOSITORY +TAGS +UPDATED\napp +${machine.host}/shop/app +prod +.* ago\n$`),
    );
  });

  test('is remembered', async () => {
    const history = await weir('history', 'shop/app:prod');
    const event = (mark: string, number: number, digest: string): string =>
      `${mark} +${number} +\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ +\\S+ +dev +push +${digest.slice(0, 19)} +\\d+kB\n`;
    expect(history).toMatch(
      new RegExp(
        `^ +EVENT +WHEN +AGE +WHO +HOW +IMAGE +SIZE\n${event('\\*', 2, digests.second)}${event('', 1, digests.first)}$`,
      ),
    );
  });

  test('is taken back, with a reason', async () => {
    expect(await weir('rollback', 'shop/app:prod', '--dry-run')).toContain('would be');
    const said = await weir('rollback', 'shop/app:prod', '--reason', 'the second loses orders');
    expect(said).toContain(digests.first.slice(0, 19));
    await watch.waitFor(new RegExp(`${digests.second}\n(.*\n)*app +prod +${digests.first}$`, 'm'));
  });

  test('so that a pull of the tag gets the first image', async () => {
    expect(await machine.pull('shop/app:prod')).toBe(digests.first);
    await machine.expectFiles('shop/app:prod', builds.first);
  });

  test('and the history still has the second, to be pulled by its digest', async () => {
    const { items } = JSON.parse(await weir('history', 'shop/app:prod', '-o', 'json')) as {
      readonly items: readonly { readonly image: string }[];
    };
    expect(items).toMatchObject([
      { generation: 3, cause: 'rollback', backTo: 1, reason: 'the second loses orders', image: digests.first },
      { generation: 2, cause: 'push', image: digests.second, user: { name: 'dev', kind: 'user' } },
      { generation: 1, cause: 'push', image: digests.first },
    ]);
    const image = `shop/app@${items[1]!.image}`;
    expect(await machine.pull(image)).toBe(digests.second);
    await machine.expectFiles(image, builds.second);
  });

  test('goes forward again by a request of kubectl alone, as oc tag makes it', async () => {
    const tag = {
      kind: 'ImageStreamTag',
      apiVersion: 'image.openshift.io/v1',
      metadata: { name: 'app:prod', namespace: 'shop' },
      tag: {
        name: 'prod',
        annotations: null,
        from: { kind: 'ImageStreamImage', name: `app@${digests.second}` },
        generation: null,
        importPolicy: {},
        referencePolicy: { type: 'Source' },
      },
      generation: 0,
      lookupPolicy: { local: false },
      image: { metadata: {}, dockerImageMetadata: null },
    };
    const target = '/apis/image.openshift.io/v1/namespaces/shop/imagestreamtags/app:prod';
    await kubectl.given(JSON.stringify(tag), 'replace', '--raw', target, '-f', '-');
    expect(await machine.pull('shop/app:prod')).toBe(digests.second);
    expect(await weir('history', 'shop/app:prod', '--cause', 'tag')).toMatch(
      new RegExp(`^\\* +4 .* dev +tag .*${digests.second.slice(0, 19)}`, 'm'),
    );
    // And back by its number in the history.
    await weir('rollback', 'shop/app:prod', '--to', '1');
    expect(await machine.pull('shop/app:prod')).toBe(digests.first);
  });

  test('was shown to who watched, change by change', async () => {
    const { first, second } = digests;
    const shown = [first, second, first, second, first];
    await watch.waitFor(new RegExp(shown.map((digest) => `app +prod +${digest}\n`).join('(.*\n)*')));
    const seen = (await watch.stop()).match(/sha256:[0-9a-f]+$/gm) ?? [];
    // A change is shown as what there is by then: one that another follows at once looks like that, and none is left out.
    expect(seen.filter((digest, index) => digest !== seen[index - 1])).toEqual(shown);
  });

  test('is given to somebody in another project, who may not see where it came from', async () => {
    expect(await weir('tag', 'shop/app:prod', 'live/app:prod')).toBe(
      `live/app:prod is ${digests.first.slice(0, 19)}\n`,
    );
    await kubectl.run(
      'create',
      'rolebinding',
      'readers',
      '-n',
      'live',
      '--clusterrole=registry-viewer',
      '--user=reader',
    );
    await machine.logIn(reader);
    expect(await machine.pull('live/app:prod')).toBe(digests.first);
    await machine.expectFiles('live/app:prod', builds.first);
    for (const image of ['shop/app:prod', `shop/app@${digests.first}`]) expectRefused(await machine.tryPull(image));
    // What was not given is not to be had by knowing its digest.
    expect((await machine.tryPull(`live/app@${digests.second}`)).exitCode).not.toBe(0);

    const asReader = await logIn(reader);
    expect(await asReader('history', 'live/app:prod')).toMatch(
      new RegExp(`^\\* +1 .* dev +tag .*${digests.first.slice(0, 19)}`, 'm'),
    );
    await expect(asReader('history', 'shop/app:prod')).rejects.toThrow(
      /cannot get resource "imagestreamtags\/history"/,
    );
    await expect(asReader('rollback', 'live/app:prod')).rejects.toThrow(/cannot create resource/);
  });
}
