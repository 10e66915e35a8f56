import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** So many values a label has at most that others choose. */
const maxLabelValues = 200;

/**
 * Keeps a label from having as many values as others can think of: those that are known, the first so many beside, and
 * `other`.
 */
export function boundedLabel(known: Iterable<string>, max = maxLabelValues): (value: string) => string {
  const always = new Set(known);
  const seen = new Set<string>();
  return (value) => {
    if (always.has(value) || seen.has(value)) return value;
    if (seen.size >= max) return 'other';
    seen.add(value);
    return value;
  };
}

/** How a process measures. */
export interface MetricsOptions {
  /** Also memory, event loop and the like of this process. */
  readonly processMetrics: boolean;
  /** What all processes have measured, when several share the listener: this one is one of them. */
  readonly collectAll?: () => Promise<string>;
}

/** What `/metrics` tells Prometheus. What every process would tell alike says how it is put together: not as a sum. */
export class Metrics {
  readonly registry = new Registry();

  readonly requests = new Counter({
    name: 'weir_http_requests_total',
    help: 'Requests by route pattern and status code.',
    labelNames: ['method', 'route', 'code'],
    registers: [this.registry],
  });

  readonly requestSeconds = new Histogram({
    name: 'weir_http_request_duration_seconds',
    help: 'Time from the request head to the end of the answer, by route pattern.',
    labelNames: ['method', 'route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600],
    registers: [this.registry],
  });

  readonly receivedBytes = new Counter({
    name: 'weir_http_received_bytes_total',
    help: 'Bytes received, heads included.',
    registers: [this.registry],
  });

  readonly sentBytes = new Counter({
    name: 'weir_http_sent_bytes_total',
    help: 'Bytes sent, heads included.',
    registers: [this.registry],
  });

  readonly uploadsOpen = new Gauge({
    name: 'weir_uploads_open',
    help: 'Upload sessions that were begun and not finished.',
    aggregator: 'max',
    registers: [this.registry],
  });

  readonly blobs = new Gauge({
    name: 'weir_blobs',
    help: 'Blobs stored.',
    aggregator: 'max',
    registers: [this.registry],
  });

  readonly databaseSeconds = new Histogram({
    name: 'weir_database_query_duration_seconds',
    help: 'Time of one database statement.',
    buckets: [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1],
    registers: [this.registry],
  });

  readonly storeSeconds = new Histogram({
    name: 'weir_store_request_duration_seconds',
    help: 'Time of one request to the S3 store, by what came of it: ok, retried (it failed and is tried again), failed.',
    labelNames: ['operation', 'outcome'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  });

  readonly imports = new Counter({
    name: 'weir_imports_total',
    help: 'Tags that were looked for in the registries they come from, by what came of it.',
    labelNames: ['registry', 'scheduled', 'result', 'reason'],
    registers: [this.registry],
  });

  readonly importsWaiting = new Gauge({
    name: 'weir_imports_waiting',
    help: 'Tags that will be looked for in other registries; due: those whose time has come; failing: those whose last look failed.',
    aggregator: 'max',
    labelNames: ['state'],
    registers: [this.registry],
  });

  readonly importDelaySeconds = new Gauge({
    name: 'weir_import_delay_seconds',
    help: 'How long the tag that waits longest has been due.',
    aggregator: 'max',
    registers: [this.registry],
  });

  readonly blobFetches = new Counter({
    name: 'weir_upstream_blobs_total',
    help: 'Blobs fetched from other registries, by what came of it.',
    labelNames: ['registry', 'outcome'],
    registers: [this.registry],
  });

  readonly fetchedBytes = new Counter({
    name: 'weir_upstream_received_bytes_total',
    help: 'Bytes of blobs that came from other registries.',
    labelNames: ['registry'],
    registers: [this.registry],
  });

  readonly #collectAll: (() => Promise<string>) | undefined;

  constructor({ processMetrics, collectAll }: MetricsOptions) {
    if (processMetrics) collectDefaultMetrics({ register: this.registry });
    this.#collectAll = collectAll;
  }

  /** Of all processes that share the listener, in the text format of Prometheus. */
  text(): Promise<string> {
    return this.#collectAll?.() ?? this.registry.metrics();
  }
}
