import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchApiToken, type Login } from './support/api-token.js';
import {
  clientNames,
  expectDone,
  expectRefused,
  makeClients,
  makeCredentials,
  type Client,
  type ClientName,
  type Credentials,
} from './support/clients.js';
import type { Outcome } from './support/command.js';
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { buildImage, randomFiles } from './support/image.js';
import {
  accessTokenPath,
  bindRole,
  kubeApiWith,
  makeProject,
  openKubeApi,
  requestToken,
  type KubeApi,
} from './support/kube-api.js';
import { fetchManifest, fetchTags, pushImage } from './support/registry-api.js';
import { describeWithPrograms, siteWithWeir, skipLoudly } from './support/suite.js';
import { addUser } from './support/users.js';

const obstacle = whyNoDockerEngine();
if (obstacle === undefined) describeWithPrograms('roles', ['docker', 'dockerd', 'podman', 'skopeo', 'crane'], suite);
else skipLoudly('roles', obstacle);

/** What each role lets a client do, to an image in its project: OpenShift's table. */
const table = [
  { user: 'outsider', role: undefined, pull: false, push: false, create: false, remove: false },
  { user: 'viewer', role: 'registry-viewer', pull: true, push: false, create: false, remove: false },
  { user: 'puller', role: 'system:image-puller', pull: true, push: false, create: false, remove: false },
  { user: 'pusher', role: 'system:image-pusher', pull: true, push: true, create: false, remove: false },
  { user: 'builder', role: 'system:image-builder', pull: true, push: true, create: true, remove: false },
  { user: 'editor', role: 'registry-editor', pull: true, push: true, create: true, remove: true },
] as const;

function suite(): void {
  const site = siteWithWeir({ publicUrl: `https://${publicHost}` });
  const logins = new Map<string, Login>();
  let engine: DockerEngine;
  let clients: Readonly<Record<ClientName, Client>>;
  let api: KubeApi;
  let sequence = 0;

  const loginOf = (user: string): Login => {
    const login = logins.get(user);
    if (login === undefined) throw new Error(`no user ${user}`);
    return login;
  };
  const newCredentials = (content?: object): Credentials => makeCredentials(site, String((sequence += 1)), content);
  /** Credentials with which a client is logged in. */
  const loggedIn = async (name: ClientName, login: Login): Promise<Credentials> => {
    const credentials = newCredentials();
    expectDone(await clients[name].login(credentials, login));
    return credentials;
  };
  /** Content of its own, so that deleting it takes nothing else away. */
  const pushNew = (repository: string, tag: string): Promise<void> =>
    pushImage(site.weir, repository, tag, buildImage(randomFiles(1, 20_000)));

  beforeAll(async () => {
    engine = await startDockerEngine(site, 'engine');
    clients = await makeClients({ site, engine });
    api = await openKubeApi(site.weir);
    for (const project of ['work', 'other', 'private']) await makeProject(api, project);
    for (const { user, role } of table) {
      logins.set(user, await addUser(site, user));
      if (role !== undefined) await bindRole(api, 'work', role, { user });
    }
    await pushNew('work/app', 'v1');
    await pushNew('other/app', 'v1');
    await pushNew('private/app', 'v1');
  });
  afterAll(() => engine.stop());

  describe.each(clientNames)('%s', (name) => {
    const expectAllowed = (isAllowed: boolean, outcome: Outcome): void => {
      if (isAllowed) expectDone(outcome);
      else expectRefused(outcome);
    };

    describe.each(table)('as $user', ({ user, pull, push, create, remove }) => {
      let credentials: Credentials;

      beforeAll(async () => {
        credentials = await loggedIn(name, loginOf(user));
      });

      test(pull ? 'pulls' : 'may not pull', async () => {
        expectAllowed(pull, await clients[name].pull(credentials, 'work/app:v1'));
      });

      test(push ? 'pushes to a repository that is there' : 'may not push to a repository that is there', async () => {
        const tag = `${user}-${name}`;
        expectAllowed(push, await clients[name].push(credentials, `work/app:${tag}`));
        expect((await fetchTags(site.weir, 'work/app')).includes(tag)).toBe(push);
      });

      test(create ? 'makes a repository by a push' : 'may not make a repository', async () => {
        const repository = `work/new-${user}-${name}`;
        expectAllowed(create, await clients[name].push(credentials, `${repository}:v1`));
        const tags = fetchTags(site.weir, repository);
        if (create) expect(await tags).toEqual(['v1']);
        else await expect(tags).rejects.toThrow(/404/);
      });

      test('may not make a project by a push, nor see other projects', async () => {
        expectRefused(await clients[name].push(credentials, `nowhere-${user}/app:v1`));
        await expect(api.get(`/apis/project.openshift.io/v1/projects/nowhere-${user}`)).rejects.toThrow(/404/);
        expectRefused(await clients[name].pull(credentials, 'other/app:v1'));
        expectRefused(await clients[name].push(credentials, 'other/app:v2'));
      });

      if (name === 'skopeo' || name === 'crane') {
        test(remove ? 'deletes a tag' : 'may not delete a tag', async () => {
          const tag = `deleted-${user}-${name}`;
          await pushNew('work/app', tag);
          expectAllowed(remove, await clients[name].delete!(credentials, `work/app:${tag}`));
          expect((await fetchTags(site.weir, 'work/app')).includes(tag)).toBe(!remove);
        });
      }
    });

    test('is refused with a wrong password', async () => {
      const credentials = newCredentials();
      const login = await clients[name].login(credentials, { username: 'editor', password: 'wrong' });
      // crane does not ask, and learns it from the first pull.
      expectRefused(name === 'crane' ? await clients[name].pull(credentials, 'work/app:v1') : login);
    });

    test('makes a project by a push of the admin', async () => {
      const credentials = await loggedIn(name, site.weir);
      expectDone(await clients[name].push(credentials, `made-by-${name}/app:v1`));
      const project = await api.get(`/apis/project.openshift.io/v1/projects/made-by-${name}`);
      expect(project.metadata.name).toBe(`made-by-${name}`);
    });

    test('logs in with an API token and any user name', async () => {
      const viewer = await loggedIn(name, {
        username: 'whoever',
        password: await fetchApiToken(site.weir, loginOf('viewer')),
      });
      expectDone(await clients[name].pull(viewer, 'work/app:v1'));
      expectRefused(await clients[name].push(viewer, `work/app:token-viewer-${name}`));
      const editor = await loggedIn(name, {
        username: 'whoever',
        password: await fetchApiToken(site.weir, loginOf('editor')),
      });
      expectDone(await clients[name].push(editor, `work/app:token-editor-${name}`));
    });

    test('logs in with the token of a service account, and pulls from and pushes to its project', async () => {
      const puller = await loggedIn(name, {
        username: 'robot',
        password: await requestToken(api, 'work', 'default'),
      });
      expectDone(await clients[name].pull(puller, 'work/app:v1'));
      expectRefused(await clients[name].push(puller, `work/app:robot-${name}`));
      const builder = await loggedIn(name, {
        username: 'robot',
        password: await requestToken(api, 'work', 'builder'),
      });
      expectDone(await clients[name].push(builder, `work/robot-${name}:v1`));
    });

    test('pulls from another project as soon as its service account is let in, and pushes nothing there', async () => {
      const robot = await loggedIn(name, { username: 'robot', password: await requestToken(api, 'work', 'default') });
      expectRefused(await clients[name].pull(robot, 'other/app:v1'));
      const account = { namespace: 'work', serviceAccount: 'default' };
      const binding = await bindRole(api, 'other', 'system:image-puller', account);
      expectDone(await clients[name].pull(robot, 'other/app:v1'));
      expectRefused(await clients[name].push(robot, `other/app:robot-${name}`));
      await api.remove(binding);
      expectRefused(await clients[name].pull(robot, 'other/app:v1'));
    });

    test('pulls with the credentials that were generated for a service account', async () => {
      const account = await api.get('/api/v1/namespaces/work/serviceaccounts/default');
      const [secretName = ''] = (account['imagePullSecrets'] as { readonly name: string }[]).map(
        (secret) => secret.name,
      );
      expect(secretName).toMatch(/^default-dockercfg-/);
      const secret = await api.get(`/api/v1/namespaces/work/secrets/${secretName}`);
      expect(secret['type']).toBe('kubernetes.io/dockercfg');
      const text = (secret['data'] as Readonly<Record<string, string>>)['.dockercfg'] ?? '';
      // As kubelets do, which put the older form of the file into the newer one.
      const auths = JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as object;
      const credentials = newCredentials({ auths });
      expectDone(await clients[name].pull(credentials, 'work/app:v1'));
      expectRefused(await clients[name].push(credentials, `work/app:generated-${name}`));
      expectRefused(await clients[name].pull(credentials, 'other/app:v1'));
    });

    test('is refused at once after a role was taken away', async () => {
      const leaver = await loggedIn(name, await addUser(site, `leaver-${name}`));
      const binding = await bindRole(api, 'work', 'registry-viewer', { user: `leaver-${name}` });
      expectDone(await clients[name].pull(leaver, 'work/app:v1'));
      await api.remove(binding);
      expectRefused(await clients[name].pull(leaver, 'work/app:v1'));
    });

    test('is refused at once after its API token was deleted, as a logout does', async () => {
      const token = await fetchApiToken(site.weir, loginOf('viewer'));
      const credentials = await loggedIn(name, { username: 'viewer', password: token });
      expectDone(await clients[name].pull(credentials, 'work/app:v1'));
      await kubeApiWith(site.weir, token).remove(accessTokenPath(token));
      expectRefused(await clients[name].pull(credentials, 'work/app:v1'));
      // The same person is let in again by whatever else is theirs.
      const again = { username: 'viewer', password: await fetchApiToken(site.weir, loginOf('viewer')) };
      expectDone(await clients[name].pull(await loggedIn(name, again), 'work/app:v1'));
    });

    test('is refused at once after its service account was deleted', async () => {
      const accounts = '/api/v1/namespaces/work/serviceaccounts';
      await api.create(accounts, { metadata: { name: `short-${name}` } });
      const password = await requestToken(api, 'work', `short-${name}`);
      const credentials = await loggedIn(name, { username: 'robot', password });
      expectDone(await clients[name].pull(credentials, 'work/app:v1'));
      await api.remove(`${accounts}/short-${name}`);
      expectRefused(await clients[name].pull(credentials, 'work/app:v1'));
    });

    test('uploads to its own project what it may not take from another', async () => {
      const admin = await loggedIn(name, site.weir);
      expectDone(await clients[name].push(admin, `private/from-${name}:v1`));
      // By now the client knows that the layers are there, and would have them mounted from there.
      const builder = await loggedIn(name, loginOf('builder'));
      expectRefused(await clients[name].pull(builder, `private/from-${name}:v1`));
      expectDone(await clients[name].push(builder, `work/own-${name}:v1`));
      const { digest } = await fetchManifest(site.weir, `work/own-${name}`, 'v1');
      expect(digest).toBe((await fetchManifest(site.weir, `private/from-${name}`, 'v1')).digest);
    });
  });
}
