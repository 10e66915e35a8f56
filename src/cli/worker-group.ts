import cluster, { type Worker } from 'node:cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { exitCodes } from './exit-codes.js';
import { WorkerFigures } from './worker-figures.js';
import type { GroupMessage, Serving, WorkerMessage } from './worker-messages.js';

/** One that has served for so long is replaced at once when it ends. */
const steadyMs = 10_000;
const firstPauseMs = 100;
const longestPauseMs = 5000;

/** A worker could not start, and has said why. */
export class WorkerStartError extends Error {
  override readonly name = 'WorkerStartError';
  /** Of the process as a whole. */
  readonly exitCode: number;
  constructor(exitCode: number) {
    super('the first worker could not start');
    this.exitCode = exitCode;
  }
}

/** One process of a group. */
interface Member {
  /** From 1 on; the one that takes the place of another has its number. */
  readonly number: number;
  readonly worker: Worker;
  /** That it was told to listen at; 0 for one of the system's choice, which it shares with all who were told the same. */
  port: number;
  /** By `performance.now()`; undefined as long as it does not serve. */
  servingSince: number | undefined;
  /** Whether it was ended by us because it listens elsewhere. */
  isMisplaced: boolean;
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

/**
 * Processes that serve the same registry behind one listener, which is held here and shared with them (node:cluster). Those
 * that end are replaced. This process opens nothing of the registry itself.
 */
export class WorkerGroup {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #figures = new WorkerFigures();
  readonly #members = new Map<number, Member>();
  readonly #stopping = new AbortController();
  readonly #places: Promise<void>[] = [];
  #serving: Serving | undefined;
  #isClean = true;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  /**
   * Resolves when the first worker serves, which makes what a first start needs; then the others start.
   *
   * @throws {WorkerStartError} when that one ends before it serves
   */
  async start(): Promise<Serving> {
    // Each takes connections for itself. One that was handed to a worker just before that died would hang.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ exec: fileURLToPath(new URL('../main.js', import.meta.url)), serialization: 'advanced' });
    const serving = await new Promise<Serving>((resolve, reject) => {
      this.#places.push(this.#keep(1, { onServing: resolve, onFailure: reject }));
    });
    for (let number = 2; number <= this.#config.workers; number += 1) this.#places.push(this.#keep(number));
    return serving;
  }

  /** Lets every worker finish what it is at. @returns false when one of them had to cut requests off, or ended otherwise */
  async stop(): Promise<boolean> {
    this.#stopping.abort();
    for (const { worker } of this.#members.values()) send(worker, { kind: 'stop' });
    await Promise.all(this.#places);
    return this.#isClean;
  }

  /** Has a worker in a place until the group stops. */
  async #keep(
    number: number,
    first?: { readonly onServing: (serving: Serving) => void; readonly onFailure: (error: WorkerStartError) => void },
  ): Promise<void> {
    const { signal: stopping } = this.#stopping;
    const isStopping = (): boolean => stopping.aborted;
    let failures = 0;
    while (!isStopping()) {
      const member = this.#fork(number, first?.onServing);
      const { pid } = member.worker.process;
      const { code, signal } = await ended(member.worker);
      this.#members.delete(member.worker.id);
      const isExpected = code === exitCodes.ok || member.isMisplaced;
      await this.#figures.end(member.worker.id, { isExpected: isExpected || isStopping() });
      const { servingSince } = member;
      if (isStopping()) {
        // One that did not serve yet had nothing to cut off.
        this.#isClean &&= isExpected || servingSince === undefined;
        return;
      }
      if (this.#serving === undefined) {
        if (code === null) this.#log.error({ worker: number, pid, signal }, 'a worker ended before it served');
        first?.onFailure(new WorkerStartError(code === null || isExpected ? exitCodes.failure : code));
        return;
      }
      const isSteady = servingSince !== undefined && (isExpected || performance.now() - servingSince > steadyMs);
      failures = isSteady ? 0 : failures + 1;
      const pauseMs = failures === 0 ? 0 : Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs);
      const level = isExpected ? 'info' : 'error';
      this.#log[level]({ worker: number, pid, code, signal, pauseMs }, 'a worker ended; another one takes its place');
      await sleep(pauseMs, undefined, { signal: stopping }).catch(() => undefined);
    }
  }

  #fork(number: number, onServing: ((serving: Serving) => void) | undefined): Member {
    const worker = cluster.fork();
    const member: Member = {
      number,
      worker,
      port: this.#config.listen.port,
      servingSince: undefined,
      isMisplaced: false,
    };
    this.#members.set(worker.id, member);
    worker.on('error', (error) => {
      this.#log.error({ err: error, worker: number }, 'a worker cannot be started or spoken to');
    });
    worker.on('message', (message: WorkerMessage) => {
      switch (message.kind) {
        case 'hello':
          send(worker, this.#stopping.signal.aborted ? { kind: 'stop' } : this.#order(member));
          break;
        case 'serving':
          if (this.#takeIn(member, message.serving)) onServing?.(message.serving);
          break;
        case 'collect':
          void this.#collect(worker, message.request);
          break;
        case 'figures':
          this.#figures.receive(worker.id, message.collection, message.figures);
          break;
      }
    });
    return member;
  }

  /** A port that the system has chosen is asked for by its number once nobody holds it any more. */
  #order(member: Member): GroupMessage {
    const { listen } = this.#config;
    const known = this.#serving && Number(new URL(this.#serving.url).port || listen.port);
    member.port = this.#listServing()[0]?.port ?? known ?? listen.port;
    return {
      kind: 'serve',
      config: { ...this.#config, listen: { ...listen, port: member.port } },
      number: member.number,
    };
  }

  /** @returns false when it listens elsewhere: those who held the port that the system had chosen let it go meanwhile */
  #takeIn(member: Member, serving: Serving): boolean {
    const { number, worker } = member;
    this.#serving ??= serving;
    if (serving.url !== this.#serving.url) {
      member.isMisplaced = true;
      worker.process.kill('SIGKILL');
      return false;
    }
    member.servingSince = performance.now();
    this.#log.info({ worker: number, pid: worker.process.pid }, 'a worker serves');
    return true;
  }

  #listServing(): Member[] {
    return [...this.#members.values()].filter(({ servingSince }) => servingSince !== undefined);
  }

  async #collect(asking: Worker, request: number): Promise<void> {
    const serving = this.#listServing().map(({ worker }) => worker.id);
    const text = await this.#figures.collect(serving, (id, collection) => {
      const member = this.#members.get(id);
      if (member !== undefined) send(member.worker, { kind: 'measure', collection });
    });
    send(asking, { kind: 'collected', request, text });
  }
}

/** What cannot be told to a worker that is about to end is not missed. */
function send(worker: Worker, message: GroupMessage): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => undefined);
}

function ended(worker: Worker): Promise<Ended> {
  return new Promise((resolve) => {
    worker.once('exit', (code: number | null, signal: string | null) => {
      resolve({ code, signal });
    });
    worker.once('error', () => {
      // One that could not even be started has no end that anybody would be told of.
      if (worker.process.pid === undefined) resolve({ code: exitCodes.failure, signal: null });
    });
  });
}
