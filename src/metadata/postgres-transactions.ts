import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, type KyselyConfig, type Transaction, type TransactionBuilder } from 'kysely';
import { kindOfTransaction, type TransactionKind } from './postgres-driver.js';
import { isWorthRepeating } from './postgres-errors.js';
import { Slots } from '../slots.js';

/** Milliseconds for which a transaction that may be repeated is. */
const repeatedForMs = 10_000;
const longestDelayMs = 200;
/** One that writes, and one that has come to the lock already when it is done. */
const exclusiveAtOnce = 2;

/**
 * Kysely whose transactions wait their turn in this process before they take one of its connections, so that those who wait
 * for the lock of the writers leave connections to those who read, and are run again when nothing came of them for a reason
 * that passes: their callbacks may be called several times.
 */
export class RepeatingKysely<Schema> extends Kysely<Schema> {
  readonly #turns: Readonly<Record<Exclude<TransactionKind, 'reading'>, Slots>>;

  /** @param connections how many there are */
  constructor(config: KyselyConfig, connections: number) {
    super(config);
    this.#turns = {
      exclusive: new Slots(Math.min(exclusiveAtOnce, Math.max(1, Math.floor(connections / 4)))),
      shared: new Slots(Math.max(1, Math.floor(connections / 2))),
    };
  }

  override transaction(): TransactionBuilder<Schema> {
    return this.#repeating(super.transaction(), {});
  }

  #repeating(
    builder: TransactionBuilder<Schema>,
    settings: Parameters<typeof kindOfTransaction>[0],
  ): TransactionBuilder<Schema> {
    const execute = builder.execute.bind(builder);
    const setAccessMode = builder.setAccessMode.bind(builder);
    const setIsolationLevel = builder.setIsolationLevel.bind(builder);
    const overrides: Pick<TransactionBuilder<Schema>, 'execute' | 'setAccessMode' | 'setIsolationLevel'> = {
      execute: <Result>(work: (tx: Transaction<Schema>) => Promise<Result>) => {
        const run = () => repeat(() => execute(work));
        const kind = kindOfTransaction(settings);
        return kind === 'reading' ? run() : this.#turns[kind].run(run);
      },
      setAccessMode: (accessMode) => this.#repeating(setAccessMode(accessMode), { ...settings, accessMode }),
      setIsolationLevel: (isolationLevel) =>
        this.#repeating(setIsolationLevel(isolationLevel), { ...settings, isolationLevel }),
    };
    return Object.assign(builder, overrides);
  }
}

async function repeat<Result>(attempt: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + repeatedForMs;
  for (let delay = 5; ; delay = Math.min(delay * 2, longestDelayMs)) {
    try {
      return await attempt();
    } catch (error) {
      if (!isWorthRepeating(error) || performance.now() >= deadline) throw error;
    }
    await sleep(delay * Math.random());
  }
}
