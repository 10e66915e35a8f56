import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchApiToken } from './support/api-token.js';
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
import { publicHost, startDockerEngine, whyNoDockerEngine, type DockerEngine } from './support/docker-engine.js';
import { buildImage, randomFiles } from './support/image.js';
import { accessTokenPath, bindRole, kubeApiWith, makeProject, openKubeApi, type KubeApi } from './support/kube-api.js';
import { fetchTags, pushImage } from './support/registry-api.js';
import { describeWithPrograms, siteWithWeir, skipLoudly, type Site } from './support/suite.js';
import { addUser } from './support/users.js';

const programs = ['docker', 'dockerd', 'podman', 'skopeo', 'crane'];
const obstacle = whyNoDockerEngine();
if (obstacle !== undefined) skipLoudly('anonymous pulls', obstacle);
else {
  describeWithPrograms('anonymous pulls that are allowed', programs, allowedSuite);
  describeWithPrograms('anonymous pulls that are not allowed', programs, refusedSuite);
}

/** What both suites have: everybody is bound to project `public`, whether that counts or not. */
interface PublicSite {
  readonly site: Site;
  readonly clients: Readonly<Record<ClientName, Client>>;
  readonly api: KubeApi;
  newCredentials(content?: object): Credentials;
}

function publicSite(anonymousPull: boolean): PublicSite {
  const site = siteWithWeir({ publicUrl: `https://${publicHost}`, anonymousPull });
  let engine: DockerEngine | undefined;
  let running: Pick<PublicSite, 'clients' | 'api'> | undefined;
  let sequence = 0;
  const whileRunning = (): Pick<PublicSite, 'clients' | 'api'> => {
    if (running === undefined) throw new Error('the site is there only while its tests run');
    return running;
  };

  beforeAll(async () => {
    engine = await startDockerEngine(site, 'engine');
    const api = await openKubeApi(site.weir);
    running = { clients: await makeClients({ site, engine }), api };
    for (const project of ['public', 'private']) {
      await makeProject(api, project);
      await pushImage(site.weir, `${project}/app`, 'v1', buildImage(randomFiles(2)));
    }
    await bindRole(api, 'public', 'registry-viewer', { group: 'system:unauthenticated' });
  });
  afterAll(() => engine?.stop());

  return {
    site,
    newCredentials: (content) => makeCredentials(site, String((sequence += 1)), content),
    get clients() {
      return whileRunning().clients;
    },
    get api() {
      return whileRunning().api;
    },
  };
}

/** An entry of `auths` in a client's configuration file. */
function entryOf(username: string, password: string): object {
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') };
}

function allowedSuite(): void {
  const shared = publicSite(true);

  describe.each(clientNames)('%s', (name) => {
    const pull = (credentials: Credentials, image: string) => shared.clients[name].pull(credentials, image);
    const push = (credentials: Credentials, image: string) => shared.clients[name].push(credentials, image);

    test('pulls from a public project without credentials', async () => {
      expectDone(await pull(shared.newCredentials(), 'public/app:v1'));
    });

    test('may not pull from another project, nor from one that is not there', async () => {
      expectRefused(await pull(shared.newCredentials(), 'private/app:v1'));
      expectRefused(await pull(shared.newCredentials(), 'nowhere/app:v1'));
    });

    test('may not push, whatever is bound to nobody', async () => {
      const binding = await bindRole(shared.api, 'public', 'registry-editor', { group: 'system:unauthenticated' });
      expectRefused(await push(shared.newCredentials(), 'public/app:v2'));
      expectRefused(await push(shared.newCredentials(), 'public/new:v1'));
      expectRefused(await push(shared.newCredentials(), 'nowhere/app:v1'));
      await shared.api.remove(binding);
      expect(await fetchTags(shared.site.weir, 'public/app')).toEqual(['v1']);
    });

    test('pulls from a public project while it is logged in to other registries only', async () => {
      const auths = { 'registry.test': entryOf('somebody', 'something') };
      expectDone(await pull(shared.newCredentials({ auths }), 'public/app:v1'));
    });

    test('is refused with credentials that are wrong or not good any more, even where none are needed', async () => {
      const wrong = shared.newCredentials({ auths: { [publicHost]: entryOf('admin', 'wrong') } });
      expectRefused(await pull(wrong, 'public/app:v1'));

      const credentials = shared.newCredentials();
      const token = await fetchApiToken(shared.site.weir);
      expectDone(await shared.clients[name].login(credentials, { username: 'admin', password: token }));
      expectDone(await pull(credentials, 'public/app:v1'));
      await kubeApiWith(shared.site.weir, token).remove(accessTokenPath(token));
      expectRefused(await pull(credentials, 'public/app:v1'));
    });

    test('is somebody once logged in, and sees what is public to them', async () => {
      const credentials = shared.newCredentials();
      expectDone(await shared.clients[name].login(credentials, await addUser(shared.site, `member-${name}`)));
      // Who is logged in is not in the group of those who are not, as in Kubernetes.
      expectRefused(await pull(credentials, 'public/app:v1'));
      const binding = await bindRole(shared.api, 'public', 'registry-viewer', { group: 'system:authenticated' });
      expectDone(await pull(credentials, 'public/app:v1'));
      await shared.api.remove(binding);
      expectRefused(await pull(credentials, 'private/app:v1'));
    });
  });
}

function refusedSuite(): void {
  const shared = publicSite(false);

  describe.each(clientNames)('%s', (name) => {
    test('may not pull without credentials, although everybody is bound', async () => {
      expectRefused(await shared.clients[name].pull(shared.newCredentials(), 'public/app:v1'));
    });

    test('pulls once it is logged in and let in', async () => {
      const credentials = shared.newCredentials();
      expectDone(await shared.clients[name].login(credentials, shared.site.weir));
      expectDone(await shared.clients[name].pull(credentials, 'public/app:v1'));
    });
  });
}
