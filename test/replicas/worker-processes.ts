import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { RegistryProcess } from '../faults/registry-process.js';

const patienceMs = 60_000;

/** The processes behind one registry that was started with `WEIR_WORKERS` and `WEIR_LOG_LEVEL=info`. */
export class WorkerProcesses {
  readonly #registry: RegistryProcess;
  /** The one that started the others. */
  readonly primary: number;

  private constructor(registry: RegistryProcess, primary: number) {
    this.#registry = registry;
    this.primary = primary;
  }

  static async of(registry: RegistryProcess): Promise<WorkerProcesses> {
    const first = await eventually(() => linesOf(registry).find((line) => line.msg === 'a worker serves')?.pid);
    const parent = /^PPid:\s+(\d+)$/m.exec(await readFile(`/proc/${first}/status`, 'utf8'))?.[1];
    return new WorkerProcesses(registry, Number(parent));
  }

  /** All that run, those that start included. */
  async list(): Promise<number[]> {
    const text = await readFile(`/proc/${this.primary}/task/${this.primary}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  }

  /** Waits until so many workers serve at least, by the log: who has told so and has not ended. @returns their processes by number */
  async untilServing(count: number): Promise<ReadonlyMap<number, number>> {
    return eventually(async () => {
      const serving = new Map<number, number>();
      for (const { msg, worker, pid } of linesOf(this.#registry)) {
        if (msg === 'a worker serves') serving.set(worker!, pid!);
        else if (msg?.startsWith('a worker ended') === true) serving.delete(worker!);
      }
      // The log is written in the background, and tells of an end a moment later.
      for (const [worker, pid] of serving) if (!(await isAlive(pid))) serving.delete(worker);
      return serving.size >= count && serving;
    });
  }

  /** The number of the worker that answered a request, by its `X-Request-Id`. */
  async answered(requestId: string): Promise<number> {
    return eventually(() => linesOf(this.#registry).find(({ id }) => id === requestId)?.worker);
  }

  /** How often a line was logged. */
  count(message: RegExp): number {
    return linesOf(this.#registry).filter(({ msg }) => msg !== undefined && message.test(msg)).length;
  }
}

/** Whether a process is there; one that has ended and waits for its parent is not. */
export async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State:\tZ');
  return !/^State:\s+[ZX]/m.test(status);
}

/** Asks again and again until there is an answer. @throws {Error} when there is none for too long */
export async function eventually<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<NonNullable<T>> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false && found !== null) return found;
    if (performance.now() > until) throw new Error(`it did not happen in ${patienceMs} ms: ${look.toString()}`);
    await delay(50);
  }
}

interface LogLine {
  readonly msg?: string;
  readonly worker?: number;
  readonly pid?: number;
  readonly id?: string;
}

function linesOf(registry: RegistryProcess): LogLine[] {
  return registry
    .log()
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
}
