import { UsageError } from '../usage-error.js';

/**
 * Where a server is, from what somebody wrote: `registry.example`, `registry.example:5000` or a URL. It is https unless
 * http is asked for by name.
 *
 * @returns an origin, with a path of `/`
 * @throws {UsageError} when it is no address, or has a path or credentials in it
 */
export function parseServerUrl(text: string): URL {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(withScheme)) throw new UsageError('the server is no address; expected a host, host:port or URL');
  const url = new URL(withScheme);
  // Not shown, as whoever writes a password into an address did not mean to see it again.
  if (url.username !== '' || url.password !== '') {
    throw new UsageError(`the address of ${url.host} has credentials in it; use "weir login ${url.host}" instead`);
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new UsageError(`the server ${url.host} is to be spoken to by https or http, not by ${url.protocol}//`);
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new UsageError(`the server ${url.host} is named by its host and port alone, without what follows them`);
  }
  return url;
}

/** With its port, also where that is the usual one: as `oc login` writes it into a kubeconfig. */
export function addressOf({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port === '' ? (protocol === 'https:' ? '443' : '80') : port}`;
}

/** What `oc login` calls a server in a kubeconfig: `registry-example:443`. */
export function clusterNameOf(server: URL): string {
  return addressOf(server).replaceAll('.', '-');
}
