import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  asRepository,
  formatPullSpec,
  isSamePullSpec,
  mostSpecific,
  parsePullSpec,
  PullSpecError,
  registryHostPort,
  withClientDefaults,
  type PullSpec,
} from '../../src/oci/pull-spec.js';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

function pullSpec(parts: Partial<PullSpec>): PullSpec {
  return { registry: '', namespace: '', name: '', tag: '', id: '', ...parts };
}

describe('parsePullSpec', () => {
  test.each<{ text: string } & Partial<PullSpec>>([
    { text: 'busybox', name: 'busybox' },
    { text: 'busybox:1.36', name: 'busybox', tag: '1.36' },
    { text: `busybox@${digest}`, name: 'busybox', id: digest },
    { text: `busybox:1@${digest}`, name: 'busybox', tag: '1', id: digest },
    { text: 'team/app', namespace: 'team', name: 'app' },
    { text: 'team/a/b', namespace: 'team', name: 'a/b' },
    { text: 'docker.io/busybox', registry: 'docker.io', name: 'busybox' },
    { text: 'docker.io/a.b', registry: 'docker.io', name: 'a.b' },
    { text: 'quay.io/team/app:v1', registry: 'quay.io', namespace: 'team', name: 'app', tag: 'v1' },
    { text: 'quay.io/team/a/b/c:v1', registry: 'quay.io', namespace: 'team', name: 'a/b/c', tag: 'v1' },
    { text: `weir:5000/team/app@${digest}`, registry: 'weir:5000', namespace: 'team', name: 'app', id: digest },
    { text: 'localhost/app', registry: 'localhost', name: 'app' },
    { text: 'localhost:5000/app:v1', registry: 'localhost:5000', name: 'app', tag: 'v1' },
    { text: 'localhosts/app', namespace: 'localhosts', name: 'app' },
    { text: 'Quay.IO/team/app', registry: 'Quay.IO', namespace: 'team', name: 'app' },
    { text: 'a.b_c/app', registry: 'a.b_c', name: 'app' },
    { text: 'x--y.example/a__b---c', registry: 'x--y.example', name: 'a__b---c' },
    { text: 'app:_v', name: 'app', tag: '_v' },
    { text: `app:${'t'.repeat(128)}`, name: 'app', tag: 't'.repeat(128) },
    { text: 'a'.repeat(255), name: 'a'.repeat(255) },
    { text: `app@sha384:${'a'.repeat(96)}`, name: 'app', id: `sha384:${'a'.repeat(96)}` },
    { text: `app@sha512:${'a'.repeat(128)}`, name: 'app', id: `sha512:${'a'.repeat(128)}` },
  ])('reads $text', ({ text, ...parts }) => {
    expect(parsePullSpec(text)).toEqual(pullSpec(parts));
  });

  test.each<{ text: string } & Partial<PullSpec>>([
    { text: 'example.com', registry: 'example.com' },
    { text: 'example.com:5000', registry: 'example.com:5000' },
    { text: 'localhost', registry: 'localhost' },
    { text: 'localhost:5000', registry: 'localhost:5000' },
    { text: 'localhosts', registry: 'localhosts' },
    { text: `example.com@${digest}`, registry: 'example.com', id: digest },
  ])('takes a lone $text for a registry', ({ text, ...parts }) => {
    expect(parsePullSpec(text)).toEqual(pullSpec(parts));
  });

  test.each([
    { name: 'empty text', text: '', message: 'repository name must have at least one component' },
    { name: 'upper case', text: 'App', message: 'repository name must be lowercase' },
    { name: 'an upper-case namespace', text: 'Team/app', message: 'repository name must be lowercase' },
    { name: 'upper case after a registry', text: 'quay.io/team/App:v1', message: 'repository name must be lowercase' },
    { name: 'a space', text: 'a b', message: 'invalid reference format' },
    { name: 'a newline at the end', text: 'app\n', message: 'invalid reference format' },
    { name: 'a scheme', text: 'https://quay.io/app', message: 'invalid reference format' },
    { name: 'a leading slash', text: '/app', message: 'invalid reference format' },
    { name: 'a trailing slash', text: 'app/', message: 'invalid reference format' },
    { name: 'an empty component', text: 'a//b', message: 'invalid reference format' },
    { name: 'a dot-dot component', text: 'a/../b', message: 'invalid reference format' },
    { name: 'a leading separator', text: '-app', message: 'invalid reference format' },
    { name: 'three underscores', text: 'a___b', message: 'invalid reference format' },
    { name: 'an empty tag', text: 'app:', message: 'invalid reference format' },
    { name: 'two tags', text: 'app:a:b', message: 'invalid reference format' },
    { name: 'a tag that begins with a dot', text: 'app:.a', message: 'invalid reference format' },
    { name: 'a tag of 129 characters', text: `app:${'t'.repeat(129)}`, message: 'invalid reference format' },
    { name: 'a port that is no number', text: 'quay.io:x/app', message: 'invalid reference format' },
    { name: 'an IPv6 address', text: '[::1]:5000/app', message: 'invalid reference format' },
    { name: 'credentials', text: 'user:secret@quay.io/app', message: 'invalid reference format' },
    { name: 'an empty digest', text: 'app@', message: 'invalid reference format' },
    { name: 'the beginning of a digest', text: 'app@sha256:0123', message: 'invalid reference format' },
    { name: 'two digests', text: `app@${digest}@${digest}`, message: 'invalid reference format' },
    { name: 'a digest alone', text: `@${digest}`, message: 'invalid reference format' },
    { name: 'a NUL', text: 'app\0', message: 'invalid reference format' },
    { name: 'a digest that is too long', text: `app@${digest}0`, message: 'invalid checksum digest length' },
    { name: 'a digest in upper case', text: `app@sha256:${'A'.repeat(64)}`, message: 'invalid checksum digest format' },
    { name: 'an unknown algorithm', text: `app@md5:${'a'.repeat(32)}`, message: 'unsupported digest algorithm' },
    {
      name: 'an algorithm that every object has',
      text: `app@constructor:${'a'.repeat(64)}`,
      message: 'unsupported digest algorithm',
    },
    {
      name: '256 characters',
      text: 'a'.repeat(256),
      message: 'repository name must not be more than 255 characters',
    },
    {
      name: 'a million characters',
      text: 'a/'.repeat(500_000),
      message: 'invalid reference format: may not be longer than 1024 characters',
    },
  ])('refuses $name', ({ text, message }) => {
    expect(() => parsePullSpec(text)).toThrow(new PullSpecError(message));
  });

  test('is not slow for texts made to be slow', () => {
    const began = performance.now();
    for (let round = 0; round < 100; round++) {
      for (const part of ['a', 'a-', 'a.', 'a_', '-', 'a/', 'a.b/', 'a:', 'a@', '1', 'aA', 'a--a', 'a__']) {
        const text = part.repeat(1024).slice(0, 1023);
        expect(() => parsePullSpec(`${text}!`)).toThrow(PullSpecError);
      }
    }
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

describe('a pull spec', () => {
  const words = fc.array(fc.stringMatching(/^[a-z0-9]{1,4}$/), { minLength: 1, maxLength: 3 });
  const component = fc
    .tuple(words, fc.constantFrom('_', '__', '-', '---'))
    .map(([parts, separator]) => parts.join(separator))
    .filter((text) => text !== 'localhost');
  const registry = fc.oneof(
    fc.constantFrom('localhost', 'docker.io', 'Quay.IO'),
    fc
      .tuple(component, fc.integer({ min: 1, max: 65_535 }))
      .map(([host, port]) => `${host.replaceAll('_', '')}x:${port}`),
  );
  const named = fc.record({
    registry: fc.option(registry, { nil: '' }),
    namespace: component,
    name: fc.array(component, { minLength: 1, maxLength: 3 }).map((path) => path.join('/')),
    tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}$/), { nil: '' }),
    id: fc.option(fc.stringMatching(/^sha256:[0-9a-f]{64}$/), { nil: '' }),
  });

  test('is read from its text as it was, but for a tag that a digest hides', () => {
    fc.assert(
      fc.property(named, (spec) => {
        expect(parsePullSpec(formatPullSpec(spec))).toEqual({ ...spec, tag: spec.id === '' ? spec.tag : '' });
      }),
    );
  });

  test('is written as it was read, whatever can be read', () => {
    const letters = fc.string({
      unit: fc.constantFrom('a', 'B', '0', '.', '/', ':', '-', '_', 'localhost'),
      maxLength: 12,
    });
    fc.assert(
      fc.property(letters, (text) => {
        let spec: PullSpec;
        try {
          spec = parsePullSpec(text);
        } catch (error) {
          expect(error).toBeInstanceOf(PullSpecError);
          return;
        }
        expect(formatPullSpec(spec)).toBe(spec.name === '' ? `${text}/` : text);
      }),
      { numRuns: 2000 },
    );
  });

  test.each<{ parts: Partial<PullSpec>; text: string }>([
    { parts: {}, text: '' },
    { parts: { registry: 'quay.io' }, text: 'quay.io/' },
    { parts: { name: 'app', id: 'abc', tag: 'v1' }, text: 'app:abc' },
    { parts: { name: 'app', id: digest, tag: 'v1' }, text: `app@${digest}` },
    { parts: { registry: 'quay.io', name: 'app' }, text: 'quay.io/app' },
  ])('is written as "$text"', ({ parts, text }) => {
    expect(formatPullSpec(pullSpec(parts))).toBe(text);
  });

  test.each([
    { text: 'busybox', expected: 'docker.io/library/busybox:latest' },
    { text: 'index.docker.io/busybox:1', expected: 'index.docker.io/library/busybox:1' },
    { text: 'team/app', expected: 'docker.io/team/app:latest' },
    { text: 'quay.io/app', expected: 'quay.io/app:latest' },
  ])('$text is $expected to a client', ({ text, expected }) => {
    expect(formatPullSpec(withClientDefaults(parsePullSpec(text)))).toBe(expected);
  });

  test('has tag latest to a client even when it has a digest', () => {
    expect(withClientDefaults(parsePullSpec(`quay.io/app@${digest}`))).toMatchObject({ tag: 'latest', id: digest });
  });

  test('is a repository without tag and digest', () => {
    expect(asRepository(parsePullSpec(`quay.io/a/b:v1@${digest}`))).toEqual(
      pullSpec({ registry: 'quay.io', namespace: 'a', name: 'b' }),
    );
  });

  test.each<{ name: string; parts: Partial<PullSpec>; expected: Partial<PullSpec> }>([
    { name: 'a digest drops the tag', parts: { tag: 'v1', id: digest }, expected: { id: digest } },
    { name: 'an id that is none becomes the tag', parts: { id: 'abc' }, expected: { tag: 'abc' } },
    { name: 'it leaves a tag alone', parts: { tag: 'v1', id: 'abc' }, expected: { tag: 'v1', id: 'abc' } },
    { name: 'a tag alone stays', parts: { tag: 'v1' }, expected: { tag: 'v1' } },
  ])('is most specific so that $name', ({ parts, expected }) => {
    expect(mostSpecific(pullSpec({ name: 'app', ...parts }))).toEqual(pullSpec({ name: 'app', ...expected }));
  });

  test.each([
    { text: 'busybox', isInsecure: false, host: 'registry-1.docker.io', port: '443' },
    { text: 'docker.io/busybox', isInsecure: false, host: 'registry-1.docker.io', port: '443' },
    { text: 'index.docker.io/busybox', isInsecure: true, host: 'registry-1.docker.io', port: '80' },
    { text: 'quay.io/app', isInsecure: false, host: 'quay.io', port: '443' },
    { text: 'quay.io/app', isInsecure: true, host: 'quay.io', port: '80' },
    { text: 'localhost:5000/app', isInsecure: true, host: 'localhost', port: '5000' },
    { text: 'localhost:5000', isInsecure: false, host: 'localhost', port: '5000' },
  ])('$text is reached at $host, port $port', ({ text, isInsecure, host, port }) => {
    expect(registryHostPort(parsePullSpec(text), { isInsecure })).toEqual({ host, port });
  });

  test.each([
    { one: 'foobar', other: 'docker.io/library/foobar:latest', isSame: true },
    { one: 'foobar', other: 'foobar:1', isSame: false },
    { one: 'foobar', other: 'quay.io/library/foobar', isSame: false },
    { one: 'team/foobar', other: 'docker.io/team/foobar', isSame: true },
    { one: `foobar@${digest}`, other: 'foobar', isSame: false },
  ])('$one and $other are the same: $isSame', ({ one, other, isSame }) => {
    expect(isSamePullSpec(parsePullSpec(one), parsePullSpec(other))).toBe(isSame);
    expect(isSamePullSpec(parsePullSpec(other), parsePullSpec(one))).toBe(isSame);
  });
});
