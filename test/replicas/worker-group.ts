import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ClientRequest } from 'node:http';
import { answerOf, RegistryClient, type Answer } from '../faults/registry-client.js';
import { startRegistryProcess, type RegistryProcess } from '../faults/registry-process.js';
import { WorkerProcesses } from './worker-processes.js';

/** How many processes most tests have. */
export const workerCount = 3;

/** A registry of several workers in a folder of its own, as a test starts it. */
export class TestWorkers {
  readonly #folder: string;
  #registry: RegistryProcess | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<TestWorkers> {
    return new TestWorkers(await mkdtemp(path.join(tmpdir(), 'weir-workers-')));
  }

  get dataDir(): string {
    return path.join(this.#folder, 'data');
  }

  get registry(): RegistryProcess {
    if (this.#registry === undefined) throw new Error('it was not started');
    return this.#registry;
  }

  /** Resolves when all of them serve. */
  async start(environment: Readonly<Record<string, string | undefined>> = {}): Promise<WorkerProcesses> {
    this.#registry = await startRegistryProcess({
      dataDir: this.dataDir,
      environment: { WEIR_WORKERS: String(workerCount), WEIR_LOG_LEVEL: 'info', ...environment },
    });
    const processes = await WorkerProcesses.of(this.#registry);
    await processes.untilServing(workerCount);
    return processes;
  }

  async close(): Promise<void> {
    await this.#registry?.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** A request on a connection of its own, so that it may come to another worker than the one before. */
  async send(
    method: string,
    target: string,
    body?: Buffer,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const client = new RegistryClient(this.registry.url);
    try {
      return await client.send(method, target, { headers, ...(body !== undefined && { body }) });
    } finally {
      client.close();
    }
  }

  /** A request on a connection of its own whose body is for the caller to write. */
  begin(
    method: string,
    target: string,
    headers: Readonly<Record<string, string>>,
  ): { readonly request: ClientRequest; readonly answer: Promise<Answer> } {
    const client = new RegistryClient(this.registry.url);
    const request = client.start(method, target, headers);
    const answer = answerOf(request).finally(() => {
      client.close();
    });
    answer.catch(() => undefined);
    return { request, answer };
  }

  /** What `/metrics` says of a series, by its name and labels as they are printed; NaN when it says nothing. */
  async measured(series: string): Promise<number> {
    const { status, body } = await this.send('GET', '/metrics');
    if (status !== 200) throw new Error(`/metrics: ${status} ${body.toString('utf8')}`);
    const line = body
      .toString('utf8')
      .split('\n')
      .find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? NaN : Number(line.slice(series.length + 1));
  }
}
