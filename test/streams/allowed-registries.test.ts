import { describe, expect, test } from 'vitest';
import {
  allowsRegistry,
  parseAllowedRegistries,
  RegistryLocationError,
  registryCauses,
  registryRefusal,
  withRepositories,
} from '../../src/streams/allowed-registries.js';
import { parsePullSpec } from '../../src/oci/pull-spec.js';
import type { TagReference, TagSource } from '../../src/streams/types.js';

describe('the allowed registries', () => {
  const listOf = (insecure: boolean, ...domainNames: readonly string[]) =>
    parseAllowedRegistries(domainNames.map((domainName) => ({ domainName, insecure })));
  const some = ['localhost:5000', 'docker.io', 'example.com:*', 'registry.com:80'];
  const many = [...some, '*.foo.com', '*domain.ltd'];

  test.each([
    {
      list: listOf(false, '*'),
      isInsecure: false,
      yes: ['a', 'quay.io/a', 'localhost:443/a'],
      no: ['localhost:5000/a', 'localhost:80/a'],
    },
    {
      list: listOf(true, '*'),
      isInsecure: true,
      yes: ['a', 'quay.io/a', 'localhost:80/a'],
      no: ['localhost:5000/a', 'localhost:443/a'],
    },
    { list: listOf(false, '*'), isInsecure: true, yes: ['quay.io/a', 'localhost:443/a'], no: ['localhost:80/a'] },
    { list: listOf(true, '*'), isInsecure: false, yes: ['localhost:80/a'], no: ['quay.io/a'] },
    {
      list: listOf(false, '*:*'),
      isInsecure: false,
      yes: ['a', 'localhost:5000/a', 'localhost:80/a', 'quay.io/a'],
      no: [],
    },
    {
      list: parseAllowedRegistries(undefined, 'weir.example'),
      isInsecure: true,
      yes: ['a', 'localhost:5000/a', 'localhost:80/a', 'quay.io/a', 'weir.example:81/a'],
      no: [],
    },
    {
      list: listOf(false, ...some),
      isInsecure: false,
      yes: [
        'example.com:5000/a',
        'example.com/a',
        'localhost:5000/a',
        'registry.com:80/a',
        'registry-1.docker.io:443/a',
        'index.docker.io/a',
        'b/a',
      ],
      no: ['localhost:443/a', 'registry.com:443/a', 'registry.com/a', 'sub.example.com/a'],
    },
    {
      list: listOf(false, ...many),
      isInsecure: true,
      yes: ['domain.ltd/a', 'example.com/a', 'my.domain.ltd:443/a', 'mydomain.ltd/a', 'registry.com/a', 'x.foo.com/a'],
      no: ['a.b.foo.com:80/a', 'foo.com/a', 'my.domain.ltd:80/a', 'registry.com:443/a', 'domain.ltd.evil/a'],
    },
    {
      list: listOf(false, 'registry-1.docker.io'),
      isInsecure: false,
      yes: ['a', 'docker.io/a', 'registry-1.docker.io/a'],
      no: ['quay.io/a'],
    },
    {
      list: listOf(false, 'r?.example.com:50??'),
      isInsecure: false,
      yes: ['r1.example.com:5000/a'],
      no: ['r.example.com:5000/a', 'r10.example.com:5000/a', 'r1.example.com:500/a'],
    },
    {
      list: parseAllowedRegistries([], 'weir.example'),
      isInsecure: false,
      yes: ['weir.example/a', 'weir.example:443/a'],
      no: ['weir.example:80/a', 'a'],
    },
    {
      list: parseAllowedRegistries([], 'weir.example:5000'),
      isInsecure: false,
      yes: ['weir.example:5000/a'],
      no: ['weir.example/a'],
    },
  ])('$list.registries, insecure tag: $isInsecure', ({ list, isInsecure, yes, no }) => {
    const isAllowed = (text: string) => allowsRegistry(list, parsePullSpec(text), { isInsecure });
    expect(yes.filter((text) => !isAllowed(text))).toEqual([]);
    expect(no.filter(isAllowed)).toEqual([]);
    for (const text of [...yes, ...no]) {
      expect(registryRefusal(list, parsePullSpec(text), { isInsecure }) === undefined).toBe(isAllowed(text));
    }
  });

  test.each([
    { list: listOf(true), text: 'example.com/a', message: 'registry "example.com" not allowed by empty whitelist' },
    {
      list: listOf(true),
      text: 'localhost:5000/a',
      message: 'registry "localhost:5000" not allowed by empty whitelist',
    },
    { list: listOf(true), text: 'busybox', message: 'registry "docker.io:443" not allowed by empty whitelist' },
    {
      list: listOf(false, 'a', 'b', 'c', 'd', 'e'),
      text: 'registry.com/a',
      message: 'registry "registry.com" not allowed by whitelist: "a:443", "b:443", "c:443", "d:443", "e:443"',
    },
    {
      list: listOf(false, ...many),
      text: 'foo.com/a',
      message:
        'registry "foo.com" not allowed by whitelist: "localhost:5000", "docker.io:443", "example.com:*", "registry.com:80", and 2 more ...',
    },
    {
      list: parseAllowedRegistries([{ domainName: 'a', insecure: true }], 'weir.example'),
      text: 'foo.com/a',
      message: 'registry "foo.com" not allowed by whitelist: "weir.example:443", "a:80"',
    },
  ])('refuse $text: $message', ({ list, text, message }) => {
    expect(registryRefusal(list, parsePullSpec(text), { isInsecure: false })).toBe(message);
  });

  test('let an image without a host be called docker.io where any port will do', () => {
    expect(registryRefusal(listOf(true), parsePullSpec('busybox'), { isInsecure: true })).toBe(
      'registry "docker.io" not allowed by empty whitelist',
    );
  });

  test('keep the repositories that a stream had', () => {
    const list = withRepositories(listOf(false, 'quay.io'), [
      parsePullSpec('busybox:1'),
      parsePullSpec('old:5000/a/b:v1'),
    ]);
    const isAllowed = (text: string) => allowsRegistry(list, parsePullSpec(text), { isInsecure: false });
    expect(isAllowed('docker.io/library/busybox:2')).toBe(true);
    expect(isAllowed('old:5000/a/b:v2')).toBe(true);
    expect(isAllowed('old:5000/a/c:v1')).toBe(false);
    expect(isAllowed('quay.io/a')).toBe(true);
  });

  test.each([
    { domainName: 'a:1:2', message: 'failed to parse allowed registry "a:1:2": too many colons' },
    { domainName: '', message: 'failed to parse allowed registry "": expected host or host:port' },
    { domainName: ':443', message: 'failed to parse allowed registry ":443": expected host or host:port' },
    { domainName: 'a:', message: 'failed to parse allowed registry "a:": expected host or host:port' },
  ])('cannot have "$domainName"', ({ domainName, message }) => {
    expect(() => parseAllowedRegistries([{ domainName }])).toThrow(new RegistryLocationError(message));
  });

  test('may belong to a Weir that is called by an IPv6 address', () => {
    expect(parseAllowedRegistries([{ domainName: 'a' }], '[::1]:5000').registries).toEqual([
      { host: 'a', port: '443' },
    ]);
  });

  test('give a cause for the source of a tag that is elsewhere', () => {
    const tag = (from: TagSource | undefined, insecure: boolean): TagReference => ({
      name: 'v1',
      ...(from && { from }),
      importPolicy: { insecure },
      referencePolicy: { type: 'Source' },
    });
    const options = { allowed: listOf(true, 'quay.io'), isInsecureStream: false };
    const image = { kind: 'DockerImage', name: 'quay.io/a/b' } as const;
    expect(registryCauses(tag(image, false), 'spec.tags[v1]', options)).toEqual([
      {
        reason: 'FieldValueForbidden',
        field: 'spec.tags[v1].from.name',
        message: 'Forbidden: registry "quay.io" not allowed by whitelist: "quay.io:80"',
      },
    ]);
    expect(registryCauses(tag(image, true), 'tag', options)).toEqual([]);
    expect(registryCauses(tag(image, false), 'tag', { ...options, isInsecureStream: true })).toEqual([]);
    expect(registryCauses(tag(undefined, false), 'tag', options)).toEqual([]);
    expect(registryCauses(tag({ kind: 'ImageStreamTag', name: 'a:b' }, false), 'tag', options)).toEqual([]);
    expect(registryCauses(tag({ kind: 'DockerImage', name: 'A B' }, false), 'tag', options)).toEqual([]);
  });
});
