import { describe, expect, test } from 'vitest';
import { canonicalRepository, placesOf, UpstreamSettings } from '../../src/upstream/upstream-settings.js';

describe('UpstreamSettings', () => {
  const settings = new UpstreamSettings([
    { registry: 'Quay.io', insecure: true, ca: 'all' },
    { registry: 'quay.io/team', ca: 'team' },
    { registry: 'quay.io/team/deep', insecure: false },
    { registry: 'index.docker.io', ca: 'hub' },
    { registry: 'r.example:5000', ca: 'port' },
  ]);

  test.each([
    { registry: 'quay.io', path: 'other/app', ca: 'all', insecure: true },
    { registry: 'QUAY.IO:443', path: 'other/app', ca: 'all', insecure: true },
    { registry: 'quay.io:0443', path: 'other/app', ca: 'all', insecure: true },
    { registry: 'quay.io', path: 'team/app', ca: 'team', insecure: true },
    { registry: 'quay.io', path: 'teams/app', ca: 'all', insecure: true },
    { registry: 'quay.io', path: 'team/deep/app', ca: 'team', insecure: false },
    { registry: 'quay.io', path: '', ca: 'all', insecure: true },
    { registry: 'quay.io:5000', path: 'team/app', ca: undefined, insecure: undefined },
    { registry: 'docker.io', path: 'alpine', ca: 'hub', insecure: undefined },
    { registry: 'registry-1.docker.io', path: 'library/alpine', ca: 'hub', insecure: undefined },
    { registry: 'r.example:5000', path: 'app', ca: 'port', insecure: undefined },
    { registry: 'r.example', path: 'app', ca: undefined, insecure: undefined },
  ])('$registry/$path', ({ registry, path, ca, insecure }) => {
    expect(settings.get({ registry, path }, 'ca')).toBe(ca);
    expect(settings.get({ registry, path }, 'insecure')).toBe(insecure);
  });
});

test.each([
  { registry: 'docker.io', path: 'alpine', is: 'docker.io/library/alpine' },
  { registry: 'index.docker.io', path: 'team/app', is: 'docker.io/team/app' },
  { registry: 'quay.io', path: 'app', is: 'quay.io/app' },
  { registry: 'docker.io', path: '', is: 'docker.io/' },
])('$registry/$path is $is', ({ registry, path, is }) => {
  const repository = canonicalRepository({ registry, path });
  expect(`${repository.registry}/${repository.path}`).toBe(is);
});

describe('placesOf', () => {
  const settings = new UpstreamSettings([
    { registry: 'docker.io', mirrors: ['m.example/hub', 'n.example'] },
    { registry: 'docker.io/library', mirrors: ['m.example/library/'], neverSource: true },
    { registry: 'docker.io/library/tagged', mirrors: ['t.example'], mirrorsFor: 'tags' },
    { registry: 'quay.io/team/app', mirrors: ['m.example/app'] },
    { registry: 'alone.example', neverSource: true },
  ]);

  test.each([
    {
      registry: 'docker.io',
      path: 'team/app',
      is: ['m.example/hub/team/app', 'n.example/team/app', 'docker.io/team/app'],
    },
    { registry: 'docker.io', path: 'alpine', is: ['m.example/library/alpine'] },
    { registry: 'docker.io', path: 'tagged', is: ['m.example/library/tagged'] },
    { registry: 'quay.io', path: 'team/app', is: ['m.example/app', 'quay.io/team/app'] },
    { registry: 'quay.io', path: 'team/apple', is: ['quay.io/team/apple'] },
    { registry: 'alone.example', path: 'app', is: [] },
  ])('$registry/$path by digest: $is', ({ registry, path, is }) => {
    const places = placesOf(settings, { registry, path }, 'digests');
    expect(places.map(({ repository }) => `${repository.registry}/${repository.path}`)).toEqual(is);
  });

  test('the longest entry whose mirrors are for tags', () => {
    const places = placesOf(settings, { registry: 'docker.io', path: 'tagged' }, 'tags');
    expect(places).toEqual([{ repository: { registry: 't.example', path: '' }, isSource: false }]);
  });
});
