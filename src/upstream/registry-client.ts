import type { UpstreamBudgets } from '../metadata/upstream-budgets.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import { isTag, type Reference } from '../oci/reference.js';
import { AddressGuard, type Resolve } from './addresses.js';
import { headBlob, openBlob } from './blob-reading.js';
import { headManifest, readManifest } from './manifest-reading.js';
import { firstThatAnswers } from './mirrors.js';
import { PageReader, type Page } from './page-reading.js';
import type { Environment } from './proxies.js';
import { RateBudget } from './rate-budget.js';
import { listReferrers } from './referrer-reading.js';
import { ConnectionMemory } from './registry-connection.js';
import { RegistryExchange, type ExchangeParts } from './registry-exchange.js';
import { TokenSource } from './token-source.js';
import { Transport } from './transport.js';
import { canonicalRegistry, placesOf, UpstreamSettings, type UpstreamRegistry } from './upstream-settings.js';
import {
  UpstreamError,
  type Upstream,
  type UpstreamAccess,
  type UpstreamBlob,
  type UpstreamManifest,
  type UpstreamManifestHead,
  type UpstreamRepository,
} from './upstream.js';
import { sleepFor, type Sleep } from './waiting.js';

/** How other registries are spoken to. */
export interface RegistryClientOptions {
  readonly registries: readonly UpstreamRegistry[];
  /** `host` or `host:port`, with `*` and `?`, whose addresses may be private. */
  readonly allowPrivate: readonly string[];
  /** Requests are not counted when it is left out. */
  readonly budgets?: UpstreamBudgets | undefined;
  /** Without a byte. */
  readonly timeoutMs: number;
  /** Where proxies are named. */
  readonly environment?: Environment | undefined;
  readonly userAgent: string;
  readonly now?: (() => Date) | undefined;
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined;
  readonly sleep?: Sleep | undefined;
  /** The addresses of a host; by DNS when left out. */
  readonly resolve?: Resolve | undefined;
}

/** As many as registries give at once. */
const pageSize = 1000;

/** Reads from other registries over HTTP. */
export class RegistryClient implements Upstream {
  readonly #parts: ExchangeParts;

  constructor(options: RegistryClientOptions) {
    const { timeoutMs, userAgent, now = () => new Date() } = options;
    const guard = new AddressGuard(options.allowPrivate, options.resolve);
    const transport = new Transport({ guard, timeoutMs, environment: options.environment });
    this.#parts = {
      transport,
      tokens: new TokenSource({ transport, userAgent, timeoutMs, now }),
      settings: new UpstreamSettings(options.registries),
      budget: new RateBudget(options.budgets, now),
      memory: new ConnectionMemory(),
      userAgent,
      timeoutMs,
      now,
      random: options.random ?? Math.random,
      sleep: options.sleep ?? sleepFor,
    };
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#parts.transport.close();
  }

  headManifest(
    repository: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<UpstreamManifestHead> {
    return this.#ask(repository, reference, access, (exchange, path) => headManifest(exchange, path, reference));
  }

  readManifest(
    repository: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<UpstreamManifest> {
    return this.#ask(repository, reference, access, (exchange, path) => readManifest(exchange, path, reference));
  }

  headBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<number> {
    return this.#ask(repository, { kind: 'digest', digest }, access, (exchange, path) =>
      headBlob(exchange, path, digest),
    );
  }

  openBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<UpstreamBlob> {
    return this.#ask(repository, { kind: 'digest', digest }, access, (exchange, path) =>
      openBlob(exchange, path, digest),
    );
  }

  listReferrers(
    repository: UpstreamRepository,
    subject: Digest,
    access: UpstreamAccess,
  ): Promise<readonly Descriptor[]> {
    return this.#ask(repository, { kind: 'digest', digest: subject }, access, (exchange, path) =>
      listReferrers(exchange, path, subject),
    );
  }

  async *listTags(repository: UpstreamRepository, access: UpstreamAccess): AsyncGenerator<string, void, undefined> {
    const { pages, first } = await this.#ask(repository, undefined, access, (exchange, path) =>
      firstPage(exchange, `${path}/tags/list?n=${pageSize}`),
    );
    for await (const { json } of pagesFrom(pages, first)) {
      // An empty tag is what some registries call latest.
      for (const tag of stringsOf(json['tags'])) if (tag === '' || isTag(tag)) yield tag === '' ? 'latest' : tag;
    }
  }

  async *listRepositories(registry: string, access: UpstreamAccess): AsyncGenerator<string, void, undefined> {
    const repository = { registry: canonicalRegistry(registry), path: '' };
    if (this.#parts.settings.get(repository, 'neverSource') === true) {
      throw new UpstreamError('blocked', `registry ${registry} is never asked itself`, { reference: registry });
    }
    const exchange = new RegistryExchange(this.#parts, { repository, reference: registry, access });
    const { pages, first } = await firstPage(exchange, `_catalog?n=${pageSize}`).catch((error: unknown) => {
      // Distribution refuses to give more at once than it is configured to.
      if (error instanceof UpstreamError && error.status === 400) return firstPage(exchange, '_catalog');
      throw error;
    });
    for await (const { json } of pagesFrom(pages, first)) yield* stringsOf(json['repositories']);
  }

  /** Asks the mirrors and the registry, until one answers. @param reference undefined: all tags */
  #ask<T>(
    repository: UpstreamRepository,
    reference: Reference | undefined,
    access: UpstreamAccess,
    ask: (exchange: RegistryExchange, path: string) => Promise<T>,
  ): Promise<T> {
    const { settings } = this.#parts;
    const text = referenceText(repository, reference);
    if (settings.get(repository, 'blocked') === true) {
      return Promise.reject(
        new UpstreamError('blocked', `registry ${repository.registry} blocked`, { reference: text }),
      );
    }
    const places = placesOf(settings, repository, reference?.kind === 'digest' ? 'digests' : 'tags');
    return firstThatAnswers(places, { reference: text, signal: access.signal }, ({ repository: place, isSource }) => {
      // That the registry is insecure says nothing of its mirrors.
      const at = isSource ? access : { ...access, isInsecure: false };
      return ask(new RegistryExchange(this.#parts, { repository: place, reference: text, access: at }), place.path);
    });
  }
}

/** As people write it. */
function referenceText({ registry, path }: UpstreamRepository, reference: Reference | undefined): string {
  const repository = `${registry}/${path}`;
  if (reference === undefined) return repository;
  return reference.kind === 'tag' ? `${repository}:${reference.tag}` : `${repository}@${reference.digest}`;
}

async function firstPage(exchange: RegistryExchange, path: string): Promise<{ pages: PageReader; first: Page }> {
  const pages = new PageReader(exchange);
  return { pages, first: await pages.read(path) };
}

async function* pagesFrom(pages: PageReader, first: Page): AsyncGenerator<Page, void, undefined> {
  let page = first;
  for (;;) {
    yield page;
    if (page.next === undefined) return;
    page = await pages.read(page.next);
  }
}

function stringsOf(list: unknown): string[] {
  return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : [];
}
