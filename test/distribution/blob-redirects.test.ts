import { expect, test } from 'vitest';
import { BlobRedirects } from '../../src/distribution/blob-redirects.js';
import { digestOf } from '../../src/oci/digest.js';

const blob = { digest: digestOf('x'), size: 1, location: 's3:ab/x' };
const store = {
  presign: (location: string, seconds: number) =>
    Promise.resolve(location.startsWith('s3:') ? `https://s3.example/${location}?${seconds}` : undefined),
};
const redirects = new BlobRedirects(store, {
  expireSeconds: 60,
  exclude: ['10.0.0.0/8', '192.168.1.7', '2001:db8::/32'],
});

test.each([
  ['192.0.2.1', true],
  ['10.1.2.3', false],
  ['11.1.2.3', true],
  ['192.168.1.7', false],
  ['192.168.1.8', true],
  ['2001:db8::1', false],
  ['2001:db9::1', true],
  // As Node tells of an IPv4 client of a listener that takes both.
  ['::ffff:10.1.2.3', false],
  ['::ffff:192.0.2.1', true],
  ['unknown', false],
  ['', false],
])('a client at %s is sent to the store: %s', async (address, isSent) => {
  expect(await redirects.urlOf(blob, [address])).toBe(isSent ? 'https://s3.example/s3:ab/x?60' : undefined);
});

test('one of the addresses is enough to keep a client here', async () => {
  expect(await redirects.urlOf(blob, ['192.0.2.1', '10.0.0.1'])).toBeUndefined();
});

test('what the store has no URL of is read here', async () => {
  expect(await redirects.urlOf({ ...blob, location: 'ab/x' }, ['192.0.2.1'])).toBeUndefined();
  expect(await redirects.urlOf({ ...blob, location: undefined }, ['192.0.2.1'])).toBeUndefined();
  expect(await new BlobRedirects({}, { expireSeconds: 1, exclude: [] }).urlOf(blob, ['192.0.2.1'])).toBeUndefined();
});
