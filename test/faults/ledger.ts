import type { Manifest } from '../../conformance/support/image.js';

/** A change that was asked for; it takes its place in time when the answer comes, if ever. */
interface Attempt<State> {
  readonly state: State;
  readonly startedAt: number;
  /** Infinity while there is no answer. */
  endedAt: number;
}

/** What a request that is under way will have changed. */
export interface Change {
  acknowledge(): void;
  /** The registry said that it did nothing. */
  refuse(): void;
}

/** Counts events, not time. */
let clock = 0;

/** Something that requests change, several at once: knows which states it may be in, by what was acknowledged when. */
export class Register<State> {
  #attempts: Attempt<State>[] = [];

  constructor(initial: State) {
    this.settle(initial);
  }

  begin(state: State): Change {
    const attempt = { state, startedAt: ++clock, endedAt: Infinity };
    this.#attempts.push(attempt);
    return {
      acknowledge: () => {
        attempt.endedAt = ++clock;
      },
      refuse: () => {
        this.#attempts = this.#attempts.filter((other) => other !== attempt);
      },
    };
  }

  /** Every state that no acknowledged change has certainly replaced. */
  possible(): Set<State> {
    const lastStart = Math.max(...this.#attempts.filter(isAcknowledged).map(({ startedAt }) => startedAt));
    return new Set(this.#attempts.filter(({ endedAt }) => endedAt > lastStart).map(({ state }) => state));
  }

  /** What was unknown has been looked at: from now on only this counts. */
  settle(state: State): void {
    this.#attempts = [{ state, startedAt: ++clock, endedAt: ++clock }];
  }
}

/** A manifest that was pushed, or may have been. */
export interface PushedManifest {
  readonly digest: string;
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly manifest: Manifest;
}

/** A blob that a repository has acknowledged. */
export interface AcknowledgedBlob {
  readonly repository: string;
  readonly digest: string;
  readonly size: number;
  /** Whether it must be there although no image refers to it: its grace time is a long one. */
  readonly kept: boolean;
}

/** An upload session that did not come to its end. */
export interface OpenSession {
  readonly repository: string;
  readonly location: string;
  /** All that would have been sent. */
  readonly bytes: Buffer;
  readonly digest: string;
  /** As with {@link AcknowledgedBlob}, once it has become a blob. */
  readonly kept: boolean;
  /** As many bytes as the registry said it has. */
  received: number;
  /** Whether the request that ends it was sent. */
  finishing: boolean;
}

/** Everything a registry was asked for and what it acknowledged, to be compared with what it has after a crash. */
export class Ledger {
  readonly tags = new Map<string, Register<string | undefined>>();
  readonly images = new Map<string, Register<boolean>>();
  readonly manifests = new Map<string, PushedManifest>();
  readonly blobs = new Map<string, AcknowledgedBlob>();
  /** Blobs whose push had no answer. */
  readonly unknownBlobs = new Map<string, { readonly repository: string; readonly digest: string }>();
  readonly sessions = new Set<OpenSession>();
  /** Keys of tags and images that were changed since the last {@link forgetTouched}. */
  readonly touched = new Set<string>();
  readonly violations: string[] = [];
  acknowledgedManifests = 0;
  acknowledgedBlobs = 0;
  acknowledgedDeletes = 0;

  pushManifest(repository: string, pushed: PushedManifest, tags: readonly string[]): Change {
    this.manifests.set(pushed.digest, pushed);
    const changes = [
      this.#image(repository, pushed.digest).begin(true),
      ...tags.map((tag) => this.#tag(repository, tag).begin(pushed.digest)),
    ];
    return together(changes, () => (this.acknowledgedManifests += 1));
  }

  deleteTag(repository: string, tag: string): Change {
    return together([this.#tag(repository, tag).begin(undefined)], () => (this.acknowledgedDeletes += 1));
  }

  /** @param tags all that may be on the manifest, in this repository */
  deleteManifest(repository: string, digest: string, tags: readonly string[]): Change {
    const changes = [
      this.#image(repository, digest).begin(false),
      ...tags.map((tag) => this.#tag(repository, tag).begin(undefined)),
    ];
    return together(changes, () => (this.acknowledgedDeletes += 1));
  }

  pushBlob(blob: AcknowledgedBlob): Change {
    const key = `${blob.repository}@${blob.digest}`;
    const earlier = this.blobs.get(key);
    // Pushing it again sets a new grace time, be it acknowledged or not.
    if (earlier !== undefined && !blob.kept) this.blobs.set(key, blob);
    this.unknownBlobs.set(key, blob);
    return {
      acknowledge: () => {
        this.acknowledgedBlobs += 1;
        this.unknownBlobs.delete(key);
        this.blobs.set(key, blob);
      },
      refuse: () => this.unknownBlobs.delete(key),
    };
  }

  /** An image of these blobs is being deleted, and its blobs with it. */
  releaseBlobs(repository: string, digests: readonly string[]): void {
    for (const digest of digests) {
      const key = `${repository}@${digest}`;
      const blob = this.blobs.get(key);
      if (blob !== undefined) this.blobs.set(key, { ...blob, kept: false });
    }
  }

  /** Tags that may be there, of one repository, with the image each may lead to. Call it when all is settled. */
  tagsOf(repository: string): string[] {
    return [...this.tags]
      .filter(([key, register]) => key.startsWith(`${repository}:`) && !register.possible().has(undefined))
      .map(([key]) => key.slice(repository.length + 1))
      .sort();
  }

  forgetTouched(): void {
    this.touched.clear();
    this.unknownBlobs.clear();
    this.sessions.clear();
  }

  #tag(repository: string, tag: string): Register<string | undefined> {
    return this.#register(this.tags, `${repository}:${tag}`, undefined);
  }

  #image(repository: string, digest: string): Register<boolean> {
    return this.#register(this.images, `${repository}@${digest}`, false);
  }

  #register<State>(registers: Map<string, Register<State>>, key: string, initial: State): Register<State> {
    this.touched.add(key);
    const register = registers.get(key) ?? new Register(initial);
    registers.set(key, register);
    return register;
  }
}

function isAcknowledged({ endedAt }: { readonly endedAt: number }): boolean {
  return endedAt !== Infinity;
}

function together(changes: readonly Change[], count: () => void): Change {
  return {
    acknowledge: () => {
      count();
      for (const change of changes) change.acknowledge();
    },
    refuse: () => {
      for (const change of changes) change.refuse();
    },
  };
}
