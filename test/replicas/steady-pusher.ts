import { setTimeout as delay } from 'node:timers/promises';
import { Pusher, type PusherOptions } from '../faults/load.js';
import type { UncertainClient } from './replica-client.js';

/** As of a pusher, with a client that knows how often it was left without an answer. */
export interface SteadyPusherOptions extends PusherOptions {
  readonly client: UncertainClient;
}

/** Pushes on and on: what has no answer is given up, and something else is begun, until the registry is to end. */
export async function pushThroughout(options: SteadyPusherOptions): Promise<void> {
  const { client, ledger, isEnding } = options;
  let unknown = client.unknown;
  const pusher = new Pusher({ ...options, isEnding: () => isEnding() || client.unknown > unknown });
  while (!isEnding() && ledger.violations.length === 0) {
    unknown = client.unknown;
    await pusher.run();
    // What refuses connections would otherwise be asked a thousand times a second.
    await delay(20);
  }
}
