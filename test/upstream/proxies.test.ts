import { describe, expect, test } from 'vitest';
import { Proxies } from '../../src/upstream/proxies.js';

const proxy = 'http://proxy.example:3128';

describe('Proxies', () => {
  test.each([
    { environment: {}, url: 'https://quay.io', is: undefined },
    { environment: { https_proxy: proxy }, url: 'https://quay.io', is: proxy },
    { environment: { HTTPS_PROXY: proxy }, url: 'https://quay.io', is: proxy },
    { environment: { https_proxy: 'http://lower', HTTPS_PROXY: proxy }, url: 'https://quay.io', is: 'http://lower' },
    { environment: { https_proxy: '' }, url: 'https://quay.io', is: undefined },
    { environment: { http_proxy: proxy }, url: 'https://quay.io', is: undefined },
    { environment: { http_proxy: proxy }, url: 'http://quay.io', is: proxy },
    { environment: { https_proxy: 'proxy.example:3128' }, url: 'https://quay.io', is: proxy },
    { environment: { https_proxy: 'http://[' }, url: 'https://quay.io', is: undefined },
    { environment: { https_proxy: proxy }, url: 'https://localhost:5000', is: undefined },
    { environment: { https_proxy: proxy }, url: 'https://127.0.0.1:5000', is: undefined },
    { environment: { https_proxy: proxy }, url: 'https://[::1]:5000', is: undefined },
  ])('$environment for $url: $is', ({ environment, url, is }) => {
    expect(new Proxies(environment).proxyFor(new URL(url))).toBe(is);
  });

  test.each([
    { noProxy: '*', url: 'https://quay.io', isDirect: true },
    { noProxy: 'quay.io', url: 'https://quay.io', isDirect: true },
    { noProxy: 'quay.io', url: 'https://cdn.quay.io', isDirect: true },
    { noProxy: 'quay.io', url: 'https://notquay.io', isDirect: false },
    { noProxy: '.quay.io', url: 'https://cdn.quay.io', isDirect: true },
    { noProxy: '*.quay.io', url: 'https://cdn.quay.io', isDirect: true },
    { noProxy: 'QUAY.io', url: 'https://quay.IO', isDirect: true },
    { noProxy: 'a.example, quay.io', url: 'https://quay.io', isDirect: true },
    { noProxy: 'a.example quay.io', url: 'https://quay.io', isDirect: true },
    { noProxy: 'quay.io:443', url: 'https://quay.io', isDirect: true },
    { noProxy: 'quay.io:5000', url: 'https://quay.io', isDirect: false },
    { noProxy: 'quay.io:5000', url: 'https://quay.io:5000', isDirect: true },
    { noProxy: '10.0.0.0/8', url: 'https://10.1.2.3', isDirect: true },
    { noProxy: '10.0.0.0/8', url: 'https://11.1.2.3', isDirect: false },
    { noProxy: '10.0.0.0/99', url: 'https://10.1.2.3', isDirect: false },
    { noProxy: 'fd00::/8', url: 'https://[fd00::1]', isDirect: true },
    { noProxy: 'fd00::1', url: 'https://[fd00::1]', isDirect: true },
    { noProxy: '[fd00::1]:5000', url: 'https://[fd00::1]:5000', isDirect: true },
    { noProxy: '10.1.2.3', url: 'https://10.1.2.3', isDirect: true },
    { noProxy: '2.3', url: 'https://10.1.2.3', isDirect: false },
    { noProxy: '', url: 'https://quay.io', isDirect: false },
  ])('no_proxy $noProxy for $url: $isDirect', ({ noProxy, url, isDirect }) => {
    const proxies = new Proxies({ https_proxy: proxy, no_proxy: noProxy });
    expect(proxies.proxyFor(new URL(url)) === undefined).toBe(isDirect);
  });
});
