import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tryRun, type Outcome } from '../../conformance/support/command.js';
import { root, searchPath } from '../../scripts/tools.mjs';
import { startRegistryProcess, type RegistryProcess } from '../faults/registry-process.js';
import { Balancer, type BalancerOptions } from './balancer.js';
import { startReplicaServers, type ReplicaServers } from './replica-servers.js';
import { freePort } from './free-port.js';

/** What replicas are started with. */
export interface ReplicasOptions extends BalancerOptions {
  readonly count: number;
  /** `WEIR_…` variables of all of them, beside those that lead to the database and the store. */
  readonly settings?: Readonly<Record<string, string>>;
  /** What clients call it where that is not the address of the balancer: necessary with TLS, of which replicas know nothing. */
  readonly publicUrl?: string;
  /** By position, how many milliseconds the clock of a replica is ahead; negative: behind. */
  readonly clockShiftsMs?: readonly number[];
}

/** One process of several over one database and one store. */
export interface Replica {
  /** Of itself, over plain http: past the balancer. */
  readonly url: string;
  readonly pid: number;
  /** What all processes that were started here wrote to standard error. */
  log(): string;
  /** Ends it as a crash does; the balancer finds out by itself. */
  kill(): Promise<void>;
  /** Starts it anew, with nothing of what it had in memory or in its folder. @param settings besides those it always has */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
}

const clockShift = path.join(import.meta.dirname, 'clock-shift.mjs');

/** The built program several times, over PostgreSQL and S3, behind a balancer that gives each request to the next one. */
export class Replicas {
  readonly balancer: Balancer;
  readonly servers: ReplicaServers;
  readonly all: readonly Replica[];
  readonly #folder: string;
  readonly #processes: RegistryProcess[] = [];
  readonly #environment: Readonly<Record<string, string>>;

  private constructor(parts: {
    readonly balancer: Balancer;
    readonly servers: ReplicaServers;
    readonly folder: string;
    readonly options: ReplicasOptions;
  }) {
    const { balancer, servers, folder, options } = parts;
    this.balancer = balancer;
    this.servers = servers;
    this.#folder = folder;
    this.#environment = {
      ...servers.settings,
      ...options.settings,
      ...(options.publicUrl !== undefined && { WEIR_PUBLIC_URL: options.publicUrl }),
    };
    this.all = Array.from({ length: options.count }, (_, position) => this.#replica(position, options));
  }

  /** Starts all of them at once, as a deployment does, with a database that is still empty. */
  static async start(options: ReplicasOptions): Promise<Replicas> {
    const servers = await startReplicaServers();
    const balancer = await Balancer.start(options);
    const folder = await mkdtemp(path.join(tmpdir(), 'weir-replicas-'));
    const replicas = new Replicas({ balancer, servers, folder, options });
    try {
      await Promise.all(replicas.all.map((replica) => replica.start()));
    } catch (error) {
      await replicas.stop();
      throw error;
    }
    return replicas;
  }

  /** Where clients come: the balancer. */
  get url(): string {
    return this.balancer.url;
  }

  /** What the replicas wrote to standard error. */
  log(): string {
    return this.all.map((replica, position) => `replica ${position}:\n${replica.log()}`).join('\n');
  }

  /** Runs the program with the settings of the replicas, on another machine as it were: `weir fsck`. */
  readonly run = async (args: readonly string[], input = ''): Promise<Outcome> => {
    const home = await mkdtemp(path.join(this.#folder, 'home-'));
    return tryRun(process.execPath, [path.join(root, 'bin', 'weir.cjs'), ...args], {
      environment: {
        PATH: searchPath,
        LANG: 'C.UTF-8',
        HOME: home,
        WEIR_DATA_DIR: path.join(home, 'data'),
        ...this.#environment,
      },
      workingDirectory: home,
      input,
    });
  };

  /** Ends everything, whatever state it is in, and removes all traces. */
  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((running) => running.kill()));
    await this.balancer.stop();
    await this.servers.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #replica(position: number, { publicUrl, clockShiftsMs = [] }: ReplicasOptions): Replica {
    const earlier: RegistryProcess[] = [];
    let url = '';
    const running = (): RegistryProcess => {
      const process = this.#processes[position];
      if (process === undefined) throw new Error(`replica ${position} was not started`);
      return process;
    };
    return {
      get url() {
        return url;
      },
      get pid() {
        return running().pid;
      },
      log: () => earlier.map((process) => process.log()).join(''),
      kill: () => running().kill(),
      start: async (settings = {}) => {
        const home = await mkdtemp(path.join(this.#folder, `replica-${position}-`));
        const dataDir = path.join(home, 'data');
        await mkdir(dataDir);
        // One that has a public URL says that it serves there, and not where it listens.
        const port = publicUrl === undefined ? undefined : await freePort();
        const clockShiftMs = clockShiftsMs[position] ?? 0;
        const started = await startRegistryProcess({
          dataDir,
          environment: {
            ...this.#environment,
            ...settings,
            ...(port !== undefined && { WEIR_LISTEN: `127.0.0.1:${port}` }),
            WEIR_TEST_CLOCK_SHIFT_MS: String(clockShiftMs),
          },
          ...(clockShiftMs !== 0 && { preload: [clockShift] }),
        });
        earlier.push(started);
        this.#processes[position] = started;
        url = port === undefined ? started.url : `http://127.0.0.1:${port}`;
        this.balancer.setTarget(position, url);
      },
    };
  }
}
