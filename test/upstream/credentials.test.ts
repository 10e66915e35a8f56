import { describe, expect, test } from 'vitest';
import {
  credentialChooser,
  dockerConfigOfSecret,
  parseDockerConfig,
  type DockerConfig,
} from '../../src/upstream/credentials.js';
import type { Credential, UpstreamRepository } from '../../src/upstream/upstream.js';

/** Without credentials of the configuration. */
function chooseCredential(configs: readonly DockerConfig[], repository: UpstreamRepository): Credential | undefined {
  return credentialChooser(configs, [])(repository);
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function config(auths: unknown, origin = 'secret shop/pull'): DockerConfig {
  return parseDockerConfig({ origin, type: 'kubernetes.io/dockerconfigjson', text: JSON.stringify({ auths }) });
}

/** A docker config in which the password of each key is the key. */
function keyed(...keys: string[]): DockerConfig {
  return config(Object.fromEntries(keys.map((key) => [key, { username: 'u', password: key }])));
}

function at(place: string) {
  const slash = place.indexOf('/');
  return { registry: place.slice(0, slash), path: place.slice(slash + 1) };
}

describe('which entry is for a repository', () => {
  test.each([
    { keys: ['quay.io'], place: 'quay.io/team/app', chooses: 'quay.io' },
    { keys: ['https://quay.io'], place: 'quay.io/team/app', chooses: 'https://quay.io' },
    { keys: ['http://quay.io/v2/'], place: 'quay.io/team/app', chooses: 'http://quay.io/v2/' },
    { keys: ['https://quay.io/v1/'], place: 'quay.io/team/app', chooses: 'https://quay.io/v1/' },
    { keys: ['quay.io/v2/team'], place: 'quay.io/team/app', chooses: 'quay.io/v2/team' },
    { keys: ['QUAY.io'], place: 'quay.IO/team/app', chooses: 'QUAY.io' },
    { keys: ['quay.io:443'], place: 'quay.io/team/app', chooses: 'quay.io:443' },
    { keys: ['quay.io'], place: 'quay.io:443/team/app', chooses: 'quay.io' },
    { keys: ['quay.io'], place: 'quay.io:5000/team/app', chooses: undefined },
    { keys: ['quay.io:5000'], place: 'quay.io/team/app', chooses: undefined },
    { keys: ['quay.io'], place: 'notquay.io/team/app', chooses: undefined },
    { keys: ['quay.io'], place: 'quay.io.evil.example/team/app', chooses: undefined },
    { keys: ['https://index.docker.io/v1/'], place: 'docker.io/library/app', chooses: 'https://index.docker.io/v1/' },
    { keys: ['docker.io'], place: 'registry-1.docker.io/library/app', chooses: 'docker.io' },
    { keys: ['registry-1.docker.io'], place: 'index.docker.io/team/app', chooses: 'registry-1.docker.io' },
    { keys: ['docker.io/team'], place: 'docker.io/team/app', chooses: 'docker.io/team' },
    { keys: ['quay.io', 'quay.io/team', 'quay.io/team/app'], place: 'quay.io/team/app', chooses: 'quay.io/team/app' },
    { keys: ['quay.io', 'quay.io/team'], place: 'quay.io/team/other', chooses: 'quay.io/team' },
    { keys: ['quay.io', 'quay.io/team'], place: 'quay.io/teams/app', chooses: 'quay.io' },
    { keys: ['quay.io/team/'], place: 'quay.io/team/app', chooses: 'quay.io/team/' },
    { keys: ['*.example.com'], place: 'a.example.com/app', chooses: '*.example.com' },
    { keys: ['*.example.com'], place: 'a.b.example.com/app', chooses: undefined },
    { keys: ['*.example.com'], place: 'example.com/app', chooses: undefined },
    { keys: ['*.*.example.com'], place: 'a.b.example.com/app', chooses: '*.*.example.com' },
    { keys: ['prefix*.example.com'], place: 'prefix-1.example.com/app', chooses: 'prefix*.example.com' },
    { keys: ['*a*b.example.com'], place: 'xaxb.example.com/app', chooses: '*a*b.example.com' },
    { keys: ['*a*b.example.com'], place: 'b.example.com/app', chooses: undefined },
    { keys: ['*.example.com:5000'], place: 'a.example.com:5000/app', chooses: '*.example.com:5000' },
    { keys: ['*.example.com:5000'], place: 'a.example.com/app', chooses: undefined },
    { keys: ['*.example.com', 'a.example.com'], place: 'a.example.com/app', chooses: 'a.example.com' },
    { keys: ['*.example.com/team', 'a.example.com'], place: 'a.example.com/team/app', chooses: '*.example.com/team' },
    { keys: ['[::1]:5000'], place: '[::1]:5000/app', chooses: '[::1]:5000' },
    { keys: ['*'], place: 'localhost/app', chooses: '*' },
    { keys: ['*'], place: 'quay.io/app', chooses: undefined },
  ])('$keys for $place: $chooses', ({ keys, place, chooses }) => {
    expect(chooseCredential([keyed(...keys)], at(place))?.password).toBe(chooses);
  });

  test('of several configs the longest path counts, and then the order', () => {
    const first = config({ 'quay.io': { username: 'first', password: 'p' } }, 'secret shop/a');
    const second = config(
      { 'quay.io': { username: 'second', password: 'p' }, 'quay.io/team': { username: 'team', password: 'p' } },
      'secret shop/b',
    );
    expect(chooseCredential([first, second], at('quay.io/x/app'))).toEqual({
      username: 'first',
      password: 'p',
      origin: 'secret shop/a',
    });
    expect(chooseCredential([first, second], at('quay.io/team/app'))?.origin).toBe('secret shop/b');
  });

  test("the administrator's come last, however exact they are", () => {
    const registries = [
      { registry: 'quay.io', username: 'all', password: 'p' },
      { registry: 'quay.io/team', username: 'team', password: 'p' },
      { registry: 'ghcr.io', insecure: true },
    ];
    const choose = credentialChooser([keyed('quay.io/team')], registries);
    expect(choose(at('quay.io/team/app'))?.origin).toBe('secret shop/pull');
    expect(choose(at('quay.io/other/app'))).toEqual({
      username: 'all',
      password: 'p',
      origin: 'configured for quay.io',
      isConfigured: true,
    });
    expect(credentialChooser([], registries)(at('quay.io/team/app'))?.origin).toBe('configured for quay.io/team');
    expect(choose(at('ghcr.io/team/app'))).toBeUndefined();
  });
});

describe('what an entry holds', () => {
  const read = (entry: unknown) => chooseCredential([config({ 'quay.io': entry })], at('quay.io/app'));
  const origin = 'secret shop/pull';

  test.each([
    { entry: { auth: base64('u:p') }, is: { username: 'u', password: 'p', origin } },
    { entry: { auth: base64('u:p:q') }, is: { username: 'u', password: 'p:q', origin } },
    { entry: { auth: base64('ü:ß') }, is: { username: 'ü', password: 'ß', origin } },
    { entry: { auth: base64('u:') }, is: { username: 'u', password: '', origin } },
    { entry: { auth: `${base64('u:p')}\n` }, is: { username: 'u', password: 'p', origin } },
    { entry: { username: 'u', password: 'p' }, is: { username: 'u', password: 'p', origin } },
    { entry: { auth: base64('u:p'), username: 'x', password: 'y' }, is: { username: 'u', password: 'p', origin } },
    { entry: { auth: base64('u:p'), email: 'u@example.com' }, is: { username: 'u', password: 'p', origin } },
    {
      entry: { auth: base64('u:'), identitytoken: 't' },
      is: { username: 'u', password: '', origin, identityToken: 't' },
    },
    { entry: {}, is: undefined },
    { entry: { auth: '' }, is: undefined },
  ])('$entry', ({ entry, is }) => {
    expect(config({ 'quay.io': entry }).problems).toEqual([]);
    expect(read(entry)).toEqual(is);
  });

  test.each([
    {
      entry: { auth: base64('no colon: '.replace(':', '')) },
      is: 'has an auth that is not base64 of username:password',
    },
    { entry: { auth: '<hidden-auth>' }, is: 'has an auth that is not base64 of username:password' },
    { entry: { auth: base64(':p') }, is: 'has an auth that is not base64 of username:password' },
    { entry: { auth: 7 }, is: 'has a field that is no text, or is too long' },
    {
      entry: { username: ['hidden-list'], password: 'hidden-password' },
      is: 'has a field that is no text, or is too long',
    },
    { entry: { auth: 'A'.repeat(100_000) }, is: 'has a field that is no text, or is too long' },
    { entry: 'hidden-text', is: 'is no object' },
    { entry: null, is: 'is no object' },
  ])('$is', ({ entry, is }) => {
    const { entries, problems } = config({ 'good.example': { username: 'u', password: 'p' }, 'quay.io': entry });
    expect(entries).toHaveLength(1);
    expect(problems).toEqual([`secret shop/pull: entry 2 ${is}`]);
    expect(problems.join()).not.toContain('hidden');
  });

  test.each(['', 'https://', 'a b', 'https://user:hidden@quay.io', '../x', 'quay.io:port'])('the key %j', (key) => {
    const { entries, problems } = config({ [key]: { username: 'u', password: 'p' } });
    expect(entries).toEqual([]);
    expect(problems).toEqual(['secret shop/pull: entry 1 is for what is no registry']);
  });
});

describe('docker configs', () => {
  test('the old type has no auths around it', () => {
    const text = JSON.stringify({ 'quay.io': { auth: base64('u:p') } });
    const old = parseDockerConfig({ origin: 'secret a/b', type: 'kubernetes.io/dockercfg', text });
    expect(chooseCredential([old], at('quay.io/app'))?.username).toBe('u');
  });

  test('are read out of Secrets', () => {
    const text = JSON.stringify({ auths: { 'quay.io': { auth: base64('u:p') } } });
    const data = { '.dockerconfigjson': base64(text) };
    const secret = dockerConfigOfSecret({ type: 'kubernetes.io/dockerconfigjson', data }, 'secret a/b');
    expect(secret.entries).toHaveLength(1);
    const old = { '.dockercfg': base64(JSON.stringify({ 'quay.io': { auth: base64('u:p') } })) };
    expect(dockerConfigOfSecret({ type: 'kubernetes.io/dockercfg', data: old }, 'secret a/b').entries).toHaveLength(1);
    expect(dockerConfigOfSecret({ type: 'kubernetes.io/dockercfg', data }, 'secret a/b')).toEqual({
      entries: [],
      problems: ['secret a/b: has no .dockercfg'],
    });
    expect(dockerConfigOfSecret({ type: 'Opaque', data }, 'secret a/b').problems).toHaveLength(1);
    expect(dockerConfigOfSecret({}, 'secret a/b').problems).toHaveLength(1);
  });

  test.each([
    { text: '', is: 'is no JSON object' },
    { text: '{"auths":', is: 'is no JSON object' },
    { text: '[]', is: 'is no JSON object' },
    { text: 'null', is: 'is no JSON object' },
    { text: '{"auths":[]}', is: 'auths is no object' },
    { text: '{"auths":"hidden"}', is: 'auths is no object' },
  ])('$text $is', ({ text, is }) => {
    expect(parseDockerConfig({ origin: 'secret a/b', type: 'kubernetes.io/dockerconfigjson', text })).toEqual({
      entries: [],
      problems: [`secret a/b: ${is}`],
    });
  });

  test.each(['{}', '{"auths":{}}', '{"auths":null,"credsStore":"desktop"}'])('%s holds nothing', (text) => {
    expect(parseDockerConfig({ origin: 'secret a/b', type: 'kubernetes.io/dockerconfigjson', text })).toEqual({
      entries: [],
      problems: [],
    });
  });

  test('with very many entries are read in part', () => {
    const { entries, problems } = keyed(...Array.from({ length: 1500 }, (_, index) => `r${index}.example`));
    expect(entries).toHaveLength(1000);
    expect(problems).toEqual(['secret shop/pull: more than 1000 entries']);
  });

  test('keys that are properties of every object are only keys', () => {
    const text =
      '{"auths":{"__proto__":{"username":"u","password":"p"},"constructor":{"username":"u","password":"p"}}}';
    const { entries } = parseDockerConfig({ origin: 'secret a/b', type: 'kubernetes.io/dockerconfigjson', text });
    expect(entries.map(({ registry }) => registry)).toEqual(['__proto__', 'constructor']);
  });
});
