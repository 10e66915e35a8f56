import { setTimeout as delay } from 'node:timers/promises';
import type { ApiAccess } from './tag-events.js';
import { fetchApi } from './replica-client.js';

/** One line of a watch (metav1.WatchEvent). */
interface WatchLine {
  readonly type: string;
  readonly object: { readonly metadata: { readonly name: string; readonly resourceVersion: string } };
}

/** What was told of a stream, and when it came. */
export interface ToldChange {
  readonly stream: string;
  readonly version: number;
  /** On the clock of `performance.now()`. */
  readonly at: number;
}

/** Follows the image streams of a project from the beginning on; where a watch breaks off, another one goes on. */
export class StreamWatch {
  readonly #access: ApiAccess;
  readonly #path: string;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #version: number;
  /** How many connections it took. */
  connections = 0;
  readonly told: ToldChange[] = [];
  /** What no watch should say. */
  readonly violations: string[] = [];
  /** Called with each change that is told. */
  onChange: (change: ToldChange) => void = () => undefined;

  private constructor(access: ApiAccess, project: string, version: number) {
    this.#access = access;
    this.#path = `/apis/image.openshift.io/v1/namespaces/${project}/imagestreams`;
    this.#version = version;
    this.#running = this.#follow();
  }

  /** Everything after this moment is told. */
  static async start(access: ApiAccess, project: string): Promise<StreamWatch> {
    const path = `/apis/image.openshift.io/v1/namespaces/${project}/imagestreams`;
    const list = await fetchApi<{ metadata: { resourceVersion: string } }>(access, path);
    return new StreamWatch(access, project, Number(list.metadata.resourceVersion));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #follow(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#watchOnce().catch(() => undefined);
      await delay(20);
    }
  }

  async #watchOnce(): Promise<void> {
    this.connections += 1;
    const response = await fetch(`${this.#access.url}${this.#path}?watch=1&resourceVersion=${this.#version}`, {
      headers: { authorization: `Bearer ${this.#access.token}` },
      signal: this.#stopping.signal,
    });
    if (response.status >= 500) return;
    if (!response.ok) {
      this.violations.push(`a watch from ${this.#version} on is answered with ${response.status}`);
      return;
    }
    let rest = '';
    const decoder = new TextDecoder();
    for await (const bytes of response.body!) {
      const lines = (rest + decoder.decode(bytes as Uint8Array, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) if (line !== '') this.#take(line);
    }
  }

  #take(line: string): void {
    const { type, object } = JSON.parse(line) as WatchLine;
    if (type === 'ERROR') {
      this.violations.push(`a watch from ${this.#version} on says ${line}`);
      return;
    }
    const version = Number(object.metadata.resourceVersion);
    if (type === 'BOOKMARK') {
      this.#version = Math.max(this.#version, version);
      return;
    }
    if (version <= this.#version) this.violations.push(`a watch tells of version ${version} after ${this.#version}`);
    this.#version = version;
    const change = { stream: object.metadata.name, version, at: performance.now() };
    this.told.push(change);
    this.onChange(change);
  }
}
