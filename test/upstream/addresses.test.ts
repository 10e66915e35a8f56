import type { LookupFunction } from 'node:net';
import { describe, expect, test } from 'vitest';
import { AddressGuard, ForbiddenAddressError, isForbiddenAddress } from '../../src/upstream/addresses.js';

describe('isForbiddenAddress', () => {
  test.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'this network'],
    ['10.0.0.1', 'private'],
    ['10.255.255.255', 'private'],
    ['100.64.0.1', 'shared by a carrier'],
    ['100.127.255.255', 'shared by a carrier'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['169.254.0.1', 'of the link'],
    ['169.254.169.254', 'metadata of clouds'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.0.0.192', 'reserved; metadata of a cloud'],
    ['192.0.2.1', 'documentation'],
    ['192.168.0.1', 'private'],
    ['198.18.0.1', 'benchmarks'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'broadcast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['::127.0.0.1', 'IPv4-compatible'],
    ['::8.8.8.8', 'IPv4-compatible'],
    ['fe80::1', 'of the link'],
    ['fe80::1%eth0', 'of the link, with a zone'],
    ['febf::1', 'of the link'],
    ['fec0::1', 'of the site'],
    ['fc00::1', 'private'],
    ['fdff:ffff::1', 'private'],
    ['fd00:ec2::254', 'metadata of a cloud'],
    ['ff02::1', 'multicast'],
    ['100::1', 'discard'],
    ['2001:db8::1', 'documentation'],
    ['2001::1', 'Teredo'],
    ['3fff::1', 'documentation'],
    ['4000::1', 'reserved'],
    ['::ffff:127.0.0.1', 'mapped loopback'],
    ['::ffff:7f00:1', 'mapped loopback in hex'],
    ['::ffff:169.254.169.254', 'mapped metadata'],
    ['::ffff:10.1.2.3', 'mapped private'],
    ['::ffff:0:127.0.0.1', 'translated'],
    ['64:ff9b::127.0.0.1', 'NAT64 of loopback'],
    ['64:ff9b::a9fe:a9fe', 'NAT64 of metadata'],
    ['64:ff9b:1::8.8.8.8', 'NAT64 of a local network'],
    ['2002:7f00:1::', '6to4 of loopback'],
    ['2002:a9fe:a9fe::1', '6to4 of metadata'],
    ['2002:c0a8:101::1', '6to4 of private'],
    ['', 'no address'],
    ['localhost', 'no address'],
    ['1.2.3', 'no address'],
  ])('%s is: %s', (address) => {
    expect(isForbiddenAddress(address)).toBe(true);
  });

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '11.0.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '126.255.255.255',
    '128.0.0.1',
    '169.253.255.255',
    '169.255.0.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.167.255.255',
    '192.169.0.1',
    '223.255.255.255',
    '2606:4700::1111',
    '2001:4860:4860::8888',
    '2a00:1450:4001::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2002:808:808::1',
  ])('%s is not', (address) => {
    expect(isForbiddenAddress(address)).toBe(false);
  });
});

describe('AddressGuard', () => {
  const names: Readonly<Record<string, readonly string[]>> = {
    'public.example': ['93.184.216.34', '2606:4700::1111'],
    'private.example': ['10.0.0.7'],
    'both.example': ['93.184.216.34', '127.0.0.1'],
    'registry.corp': ['10.1.1.1'],
  };
  const resolve = (host: string) =>
    Promise.resolve((names[host] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  const guard = (...allowPrivate: string[]) => new AddressGuard(allowPrivate, resolve);

  test('gives the addresses of a public host', async () => {
    const addresses = await guard().addressesOf('public.example', 443);
    expect(addresses.map(({ address }) => address)).toEqual(['93.184.216.34', '2606:4700::1111']);
  });

  test.each(['private.example', 'both.example', '127.0.0.1', '[::1]', '::1', '169.254.169.254', '[fd00:ec2::254]'])(
    'refuses %s',
    async (host) => {
      await expect(guard().addressesOf(host, 443)).rejects.toThrow(ForbiddenAddressError);
    },
  );

  test('says what could allow it', async () => {
    await expect(guard().addressesOf('private.example', 443)).rejects.toThrow(
      'private.example is at no public address; upstreams.allowPrivate can allow it',
    );
  });

  test.each([
    { pattern: 'registry.corp', host: 'registry.corp', port: 443, allows: true },
    { pattern: 'registry.corp', host: 'REGISTRY.corp', port: 5000, allows: true },
    { pattern: 'registry.corp:5000', host: 'registry.corp', port: 5000, allows: true },
    { pattern: 'registry.corp:5000', host: 'registry.corp', port: 443, allows: false },
    { pattern: 'registry.corp:443', host: 'registry.corp', port: 443, allows: true },
    { pattern: '*.corp', host: 'registry.corp', port: 443, allows: true },
    { pattern: '*.corp', host: 'registry.corp.evil.example', port: 443, allows: false },
    { pattern: '*.corp', host: 'corp', port: 443, allows: false },
    { pattern: 'registry?corp', host: 'registry.corp', port: 443, allows: true },
    { pattern: 'registry.corp', host: 'registryxcorp', port: 443, allows: false },
    { pattern: '10.0.0.*', host: '10.0.0.7', port: 443, allows: true },
    { pattern: '10.0.0.7', host: 'private.example', port: 443, allows: false },
    { pattern: '[::1]:5000', host: '[::1]', port: 5000, allows: true },
    { pattern: '[::1]:5000', host: '::1', port: 443, allows: false },
    { pattern: '::1', host: '[::1]', port: 443, allows: true },
    { pattern: '*', host: '169.254.169.254', port: 80, allows: true },
    { pattern: '*:5000', host: 'registry.corp', port: 5000, allows: true },
    { pattern: '*:5000', host: 'registry.corp', port: 80, allows: false },
    { pattern: '(a+)+', host: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', port: 80, allows: false },
    { pattern: '', host: 'registry.corp', port: 80, allows: false },
  ])('pattern $pattern, host $host, port $port: $allows', ({ pattern, host, port, allows }) => {
    expect(guard(pattern).allowsPrivate(host, port)).toBe(allows);
  });

  test('the addresses of an allowed name may be private', async () => {
    const addresses = await guard('registry.corp:5000').addressesOf('registry.corp', 5000);
    expect(addresses).toEqual([{ address: '10.1.1.1', family: 4 }]);
  });

  test('a socket gets what was checked, in the form it asks for', async () => {
    const lookupFor = guard().lookupFor(443);
    const ask = (host: string, options: Parameters<LookupFunction>[1]) =>
      new Promise((done) => {
        lookupFor(host, options, (error, address, family) => {
          done(error ?? [address, family]);
        });
      });
    expect(await ask('public.example', {})).toEqual(['93.184.216.34', 4]);
    expect(await ask('public.example', { family: 6 })).toEqual(['2606:4700::1111', 6]);
    expect(await ask('public.example', { all: true })).toEqual([
      [
        { address: '93.184.216.34', family: 4 },
        { address: '2606:4700::1111', family: 6 },
      ],
      undefined,
    ]);
    expect(await ask('both.example', { all: true })).toBeInstanceOf(ForbiddenAddressError);
    expect(await ask('nowhere.example', { all: true })).toMatchObject({ code: 'ENOTFOUND' });
  });
});
