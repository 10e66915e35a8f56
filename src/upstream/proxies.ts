import { BlockList, isIP } from 'node:net';

/** Variables of the environment, by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The proxies that the environment names: `http_proxy`, `https_proxy` and `no_proxy`, in lower or upper case. */
export class Proxies {
  readonly #byProtocol: Readonly<Record<string, string | undefined>>;
  readonly #exceptions: readonly string[];

  constructor(environment: Environment = {}) {
    const read = (name: string) => environment[name] ?? environment[name.toUpperCase()] ?? '';
    // Upper case would be what a request header named Proxy becomes in CGI; this is none.
    this.#byProtocol = { 'http:': proxyUrl(read('http_proxy')), 'https:': proxyUrl(read('https_proxy')) };
    this.#exceptions = read('no_proxy')
      .split(/[\s,]+/)
      .filter((entry) => entry !== '')
      .map((entry) => entry.toLowerCase());
  }

  /** The proxy to ask for a URL; undefined when its host is spoken to directly. This machine always is. */
  proxyFor(url: URL): string | undefined {
    const proxy = this.#byProtocol[url.protocol];
    if (proxy === undefined) return undefined;
    const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
    if (host === 'localhost' || host === '::1' || host.startsWith('127.') || this.#isException(host, portOf(url))) {
      return undefined;
    }
    return proxy;
  }

  #isException(host: string, port: number): boolean {
    return this.#exceptions.some((entry) => {
      if (entry === '*') return true;
      if (entry.includes('/')) return isInNetwork(host, entry);
      const [, name = '', ownPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
      if (ownPort !== undefined && isIP(entry) === 0 && Number(ownPort) !== port) return false;
      const suffix = (isIP(entry) === 0 ? name : entry).replace(/^\*?\./, '');
      return host === suffix || (isIP(host) === 0 && host.endsWith(`.${suffix}`));
    });
  }
}

/** The port of a URL, also when it is the usual one. */
export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

function proxyUrl(text: string): string | undefined {
  if (text === '') return undefined;
  const url = text.includes('://') ? text : `http://${text}`;
  return URL.canParse(url) ? url : undefined;
}

function isInNetwork(host: string, network: string): boolean {
  const [address = '', length = ''] = network.split('/');
  const family = isIP(address);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(length)) return false;
  if (Number(length) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, Number(length), type);
  return list.check(host, type);
}
