import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net';

/** An address that may not be spoken to. */
export class ForbiddenAddressError extends Error {
  override readonly name = 'ForbiddenAddressError';
}

/** RFC 6890 and its successors: what is no address of the public internet. */
const forbidden4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Of the link, and there the metadata services of clouds.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const;

const forbidden = new BlockList();
for (const [network, length] of forbidden4) forbidden.addSubnet(network, length, 'ipv4');
forbidden.addSubnet('2001::', 23, 'ipv6');
forbidden.addSubnet('2001:db8::', 32, 'ipv6');
forbidden.addSubnet('3fff::', 20, 'ipv6');

/** Only these are addresses of the public internet, and not all of them. */
const global6 = new BlockList();
global6.addSubnet('2000::', 3, 'ipv6');

/**
 * Whether an address is loopback, private, of the link, unspecified, multicast, reserved or a cloud's metadata service,
 * also when it is an IPv4 address written as IPv6: mapped, by NAT64 or by 6to4.
 *
 * @param address as `node:net` takes it; what is no address is forbidden
 */
export function isForbiddenAddress(address: string): boolean {
  const bare = address.replace(/%.*$/, '');
  if (isIP(bare) === 4) return forbidden.check(bare, 'ipv4');
  if (!isIPv6(bare)) return true;
  const groups = groupsOf(bare);
  const isPrefix = (...start: readonly number[]) => start.every((group, position) => groups[position] === group);
  if (isPrefix(0, 0, 0, 0, 0, 0xffff) || isPrefix(0x64, 0xff9b, 0, 0, 0, 0))
    return isForbiddenAddress(ipv4Of(groups, 6));
  if (isPrefix(0x2002)) return isForbiddenAddress(ipv4Of(groups, 1));
  return !global6.check(bare, 'ipv6') || forbidden.check(bare, 'ipv6');
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): readonly number[] {
  const [head = '', tail] = address.split('::');
  const numbers = (text: string) =>
    text
      .split(':')
      .filter((part) => part !== '')
      .flatMap((part) => {
        if (!part.includes('.')) return [Number.parseInt(part, 16)];
        const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
        return [a * 256 + b, c * 256 + d];
      });
  const first = numbers(head);
  const last = numbers(tail ?? '');
  return [...first, ...new Array<number>(Math.max(0, 8 - first.length - last.length)).fill(0), ...last];
}

function ipv4Of(groups: readonly number[], position: number): string {
  const [high = 0, low = 0] = groups.slice(position);
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** All addresses of a host name, as `dns.lookup` gives them. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

function resolveByDns(host: string): Promise<readonly LookupAddress[]> {
  return new Promise((resolve, reject) => {
    dnsLookup(host, { all: true, verbatim: true }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });
}

/** Keeps requests that others can cause away from machines that only we can reach. */
export class AddressGuard {
  readonly #patterns: readonly RegExp[];
  readonly #resolve: Resolve;

  /** @param allowPrivate `host` or `host:port` as written in URLs, with `*` for any characters and `?` for one */
  constructor(allowPrivate: readonly string[], resolve: Resolve = resolveByDns) {
    this.#patterns = allowPrivate.map(patternOf);
    this.#resolve = resolve;
  }

  /** Whether its addresses may be any. @param hostname as in a URL, with or without the brackets of IPv6 */
  allowsPrivate(hostname: string, port: number): boolean {
    const bare = hostname.replace(/^\[|\]$/g, '').toLowerCase();
    const written = bare.includes(':') ? `[${bare}]` : bare;
    const spellings = [bare, written, `${written}:${port}`];
    return this.#patterns.some((pattern) => spellings.some((spelling) => pattern.test(spelling)));
  }

  /**
   * The addresses of a host, all of which may be spoken to.
   *
   * @throws {ForbiddenAddressError} when one of them may not
   */
  async addressesOf(hostname: string, port: number): Promise<readonly LookupAddress[]> {
    const bare = hostname.replace(/^\[|\]$/g, '');
    const family = isIP(bare);
    const addresses = family === 0 ? await this.#resolve(bare) : [{ address: bare, family }];
    if (!this.allowsPrivate(bare, port)) {
      // With one forbidden address among others the next look-up might give that one alone.
      const isWrong = addresses.some(({ address }) => isForbiddenAddress(address));
      // Which addresses our names have is not for everyone who may name one.
      if (isWrong)
        throw new ForbiddenAddressError(`${bare} is at no public address; upstreams.allowPrivate can allow it`);
    }
    return addresses;
  }

  /** For sockets to one port: they connect to what was checked, since nothing is looked up again. */
  lookupFor(port: number): LookupFunction {
    return (hostname, options, callback) => {
      this.addressesOf(hostname, port).then(
        (addresses) => {
          const wanted = addresses.filter(({ family }) => isWantedFamily(family, options.family));
          const [first] = wanted;
          if (first === undefined) callback(noAddress(hostname), '');
          else if (options.all === true) callback(null, [...wanted]);
          else callback(null, first.address, first.family);
        },
        (error: unknown) => {
          callback(error as NodeJS.ErrnoException, '');
        },
      );
    };
  }
}

function patternOf(text: string): RegExp {
  const escaped = text.toLowerCase().replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/\*+/g, '.*').replaceAll('?', '.')}$`);
}

function isWantedFamily(family: number, wanted: number | string | undefined): boolean {
  if (wanted === 4 || wanted === 'IPv4') return family === 4;
  if (wanted === 6 || wanted === 'IPv6') return family === 6;
  return true;
}

function noAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' });
}
