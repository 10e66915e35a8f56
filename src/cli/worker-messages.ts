import type { Registry } from 'prom-client';
import type { Config } from '../config.js';
import type { RunningRegistry } from '../serve.js';

/** What one process has measured. */
export type Figures = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** What is known of a registry from its start on. */
export type Serving = Pick<RunningRegistry, 'url' | 'caCertificatePath' | 'passwordPath'>;

/** What a worker tells the process that started it. */
export type WorkerMessage =
  /** It can be spoken to. */
  | { readonly kind: 'hello' }
  | { readonly kind: 'serving'; readonly serving: Serving }
  /** It wants what all workers have measured, for a client that asked for it. */
  | { readonly kind: 'collect'; readonly request: number }
  /** What it has measured itself. */
  | { readonly kind: 'figures'; readonly collection: number; readonly figures: Figures };

/** What a worker is told. */
export type GroupMessage =
  /** The configuration was read once for all of them: one that starts later must not find another. */
  | { readonly kind: 'serve'; readonly config: Config; readonly number: number }
  | { readonly kind: 'stop' }
  | { readonly kind: 'measure'; readonly collection: number }
  | { readonly kind: 'collected'; readonly request: number; readonly text: string };
