import { describe, expect, test } from 'vitest';
import { openSecret, secretKey } from '../../src/projects/secret-object.js';
import { serviceAccountKey, ServiceAccountSecrets } from '../../src/projects/service-account-secrets.js';
import { namesIn, startProjectApi, type ApiClient, type ProjectParts } from './project-api.js';

const accounts = '/api/v1/namespaces/library/serviceaccounts';
const reference = 'openshift.io/internal-registry-pull-secret-ref';
const registryHosts = ['weir.example', 'weir.internal:5000'];
const { signal } = new AbortController();
const day = 24 * 3600 * 1000;

/** The docker credentials of an account, as a client reads them. */
async function credentialsOf({ store, box }: ProjectParts, name: string) {
  const account = await store.find(serviceAccountKey('library', name));
  const secretName = account?.metadata.annotations?.[reference] ?? '';
  const stored = await store.find(secretKey('library', secretName));
  const secret = stored && openSecret(box, stored);
  const text = Buffer.from(secret?.data?.['.dockercfg'] ?? '', 'base64').toString();
  const config = JSON.parse(text === '' ? '{}' : text) as Record<string, Record<string, string>>;
  return { account, secretName, secret, config, token: Object.values(config)[0]?.['password'] ?? '' };
}

async function makeRobot({ send }: ApiClient): Promise<void> {
  expect((await send('root', 'POST', accounts, { metadata: { name: 'robot' } })).status).toBe(201);
}

describe('docker credentials of a service account', () => {
  test('are there with the account, for every host of the registry', async () => {
    const api = await startProjectApi({ registryHosts });
    await makeRobot(api);
    for (const name of ['robot', 'builder', 'default', 'deployer']) {
      const { account, secretName, secret, config, token } = await credentialsOf(api.parts, name);
      expect(secretName).toMatch(new RegExp(`^${name}-dockercfg-[a-z0-9]{5}$`));
      expect(account).toMatchObject({ secrets: [{ name: secretName }], imagePullSecrets: [{ name: secretName }] });
      expect(secret).toMatchObject({
        type: 'kubernetes.io/dockercfg',
        metadata: { annotations: { 'kubernetes.io/service-account.name': name } },
      });
      const entry = {
        username: '<token>',
        password: token,
        email: 'serviceaccount@example.org',
        auth: Buffer.from(`<token>:${token}`).toString('base64'),
      };
      expect(config).toEqual({ 'weir.example': entry, 'weir.internal:5000': entry });
      expect(await api.parts.tokens.verify(token)).toEqual({
        kind: 'service-account',
        namespace: 'library',
        name,
        uid: account!.metadata.uid,
        secret: { name: secretName, uid: secret!.metadata.uid },
      });
    }
  });

  test('are left as they are while more than 40 % of their time is left, and renewed then', async () => {
    const api = await startProjectApi({ registryHosts });
    await makeRobot(api);
    const { accountSecrets, clock, store } = api.parts;
    const first = await credentialsOf(api.parts, 'robot');
    const version = await store.currentVersion();
    await accountSecrets.run(signal);
    clock.now = new Date(clock.now.getTime() + 17 * day);
    await accountSecrets.run(signal);
    expect(await store.currentVersion()).toBe(version);
    clock.now = new Date(clock.now.getTime() + 2 * day);
    // A token is dated by the second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await accountSecrets.run(signal);
    const second = await credentialsOf(api.parts, 'robot');
    expect(second.secretName).toBe(first.secretName);
    expect(second.secret?.metadata.uid).toBe(first.secret?.metadata.uid);
    expect(second.token).not.toBe(first.token);
  });

  test('are made for accounts that have none, and anew for other hosts', async () => {
    const api = await startProjectApi();
    await makeRobot(api);
    const { parts } = api;
    const named = (hosts: readonly string[]) => new ServiceAccountSecrets({ ...parts, registryHosts: hosts });
    await named(['weir.example']).run(signal);
    const first = await credentialsOf(parts, 'robot');
    expect(Object.keys(first.config)).toEqual(['weir.example']);
    await named(['other.example']).run(signal);
    const second = await credentialsOf(parts, 'robot');
    expect(Object.keys(second.config)).toEqual(['other.example']);
    expect(second.secretName).toBe(first.secretName);
    const before = await parts.store.currentVersion();
    await named(['other.example']).run(signal);
    expect(await parts.store.currentVersion()).toBe(before);
  });

  test('come back when somebody deletes them, and what nobody names any more goes', async () => {
    const api = await startProjectApi({ registryHosts });
    await makeRobot(api);
    const first = await credentialsOf(api.parts, 'robot');
    await api.send('root', 'DELETE', `/api/v1/namespaces/library/secrets/${first.secretName}`);
    await api.parts.accountSecrets.run(signal);
    const second = await credentialsOf(api.parts, 'robot');
    expect(second.secretName).not.toBe(first.secretName);
    expect(second.token).not.toBe('');
    expect(second.account).toMatchObject({ imagePullSecrets: [{ name: second.secretName }] });

    const merge = { 'Content-Type': 'application/merge-patch+json' };
    const patch = { metadata: { annotations: { [reference]: 'mine' } } };
    await api.send('root', 'POST', '/api/v1/namespaces/library/secrets', {
      metadata: { name: 'mine' },
      stringData: { a: 'b' },
    });
    await api.send('root', 'PATCH', `${accounts}/robot`, patch, merge);
    await api.parts.accountSecrets.run(signal);
    const third = await credentialsOf(api.parts, 'robot');
    const names = namesIn(await api.send('root', 'GET', '/api/v1/namespaces/library/secrets'));
    expect(names.filter((name) => name.startsWith('robot-'))).toEqual([third.secretName]);
    expect(names).toContain('mine');
  });

  test('go with their account, and not those of another one', async () => {
    const api = await startProjectApi({ registryHosts });
    await makeRobot(api);
    const { secretName } = await credentialsOf(api.parts, 'robot');
    expect((await api.send('root', 'DELETE', `${accounts}/robot`)).status).toBe(200);
    const names = namesIn(await api.send('root', 'GET', '/api/v1/namespaces/library/secrets'));
    expect(names).not.toContain(secretName);
    expect(names).toHaveLength(3);
  });

  test('are found and removed when a crash left them without their account', async () => {
    const api = await startProjectApi({ registryHosts });
    await makeRobot(api);
    const { secretName } = await credentialsOf(api.parts, 'robot');
    await api.parts.store.commit([{ kind: 'remove', ...serviceAccountKey('library', 'robot') }]);
    await api.parts.accountSecrets.run(signal);
    expect(await api.parts.store.find(secretKey('library', secretName))).toBeUndefined();
  });

  test('are not made in a dry run', async () => {
    const api = await startProjectApi({ registryHosts });
    const version = await api.parts.store.currentVersion();
    expect((await api.send('root', 'POST', `${accounts}?dryRun=All`, { metadata: { name: 'robot' } })).status).toBe(
      201,
    );
    expect(await api.parts.store.currentVersion()).toBe(version);
  });
});
