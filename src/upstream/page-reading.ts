import { headerOf, readBody, type HttpAnswer } from './http-answer.js';
import type { RegistryExchange } from './registry-exchange.js';

const maxPageBytes = 4 * 1024 * 1024;
const maxPages = 1000;

/** A page of a list, and where the next one is. */
export interface Page {
  readonly json: Readonly<Record<string, unknown>>;
  readonly next: string | undefined;
}

/** Reads lists page by page (OCI Distribution Spec, "Listing Tags"), however long and odd they are. */
export class PageReader {
  readonly #exchange: RegistryExchange;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #seen = new Set<string>();

  constructor(exchange: RegistryExchange, headers: Readonly<Record<string, string>> = { Accept: 'application/json' }) {
    this.#exchange = exchange;
    this.#headers = headers;
  }

  /** @param path below `/v2/`, or the `next` of another page */
  read(path: string): Promise<Page> {
    if (this.#seen.has(path)) throw this.#invalid('a list that goes round in a circle');
    if (this.#seen.size === maxPages) throw this.#invalid(`a list of more than ${maxPages} pages`);
    this.#seen.add(path);
    return this.#exchange.send({ method: 'GET', path, headers: this.#headers, accepts: [200] }, (answer) =>
      this.#pageOf(answer),
    );
  }

  async #pageOf(answer: HttpAnswer): Promise<Page> {
    const bytes = await readBody(answer, maxPageBytes);
    let json: unknown;
    try {
      json = JSON.parse(bytes.toString('utf8'));
    } catch {
      throw this.#invalid('a list that is no JSON');
    }
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw this.#invalid('a list that is no JSON object');
    return { json: json as Record<string, unknown>, next: this.#nextOf(answer) };
  }

  #nextOf(answer: HttpAnswer): string | undefined {
    const target = nextLink(headerOf(answer, 'link'));
    if (target === undefined) return undefined;
    const url = URL.canParse(target, answer.url.href) ? new URL(target, answer.url) : undefined;
    if (url?.origin !== answer.url.origin || !url.pathname.startsWith('/v2/')) {
      throw this.#invalid('a list that goes on elsewhere');
    }
    return `${url.pathname}${url.search}`;
  }

  #invalid(what: string): Error {
    return this.#exchange.error('invalid-answer', `${this.#exchange.registry} sends ${what}`);
  }
}

const maxLinkLength = 8192;

/** The target with the relation `next` (RFC 8288). */
function nextLink(header: string | undefined): string | undefined {
  for (const [, target, parameters = ''] of (header ?? '').slice(0, maxLinkLength).matchAll(/<([^<>]*)>([^<]*)/g)) {
    if (/;\s*rel\s*=\s*(?:"next"|next\b)/i.test(parameters)) return target;
  }
  return undefined;
}
