import { Ledger, Register, type Change, type PushedManifest } from '../faults/ledger.js';

/** The states that tags and images may be in, by their keys in a ledger. */
interface States {
  readonly tags: Map<string, Set<string | undefined>>;
  readonly images: Map<string, Set<boolean>>;
}

/**
 * A ledger of a registry that is copied while it is changed: knows what the copy may be. A copy is the registry as it was at one
 * moment between the beginning and the end of the backup: what was acknowledged before is in it, unless something asked for since
 * has replaced it, and nothing is in it that was asked for later.
 */
export class DrillLedger extends Ledger {
  #states: States | undefined;

  /** Call it before anything is copied. @returns how many tags are acknowledged to lead to an image by now */
  beginBackup(): number {
    this.#states = { tags: possibleOf(this.tags), images: possibleOf(this.images) };
    return [...this.#states.tags.values()].filter((states) => !states.has(undefined)).length;
  }

  /** Call it when all is copied. @returns what the copy must be compared with */
  endBackup(): Ledger {
    const states = this.#states;
    if (states === undefined) throw new Error('the backup was not begun');
    this.#states = undefined;
    const expected = new Ledger();
    for (const [digest, pushed] of this.manifests) expected.manifests.set(digest, pushed);
    for (const [key, possible] of states.tags) expected.tags.set(key, registerOf(possible));
    for (const [key, possible] of states.images) expected.images.set(key, registerOf(possible));
    for (const key of [...states.tags.keys(), ...states.images.keys()]) expected.touched.add(key);
    return expected;
  }

  override pushManifest(repository: string, pushed: PushedManifest, tags: readonly string[]): Change {
    this.#ask(repository, { digest: pushed.digest, present: true }, tags, pushed.digest);
    return super.pushManifest(repository, pushed, tags);
  }

  override deleteTag(repository: string, tag: string): Change {
    this.#ask(repository, undefined, [tag], undefined);
    return super.deleteTag(repository, tag);
  }

  override deleteManifest(repository: string, digest: string, tags: readonly string[]): Change {
    this.#ask(repository, { digest, present: false }, tags, undefined);
    return super.deleteManifest(repository, digest, tags);
  }

  #ask(
    repository: string,
    image: { readonly digest: string; readonly present: boolean } | undefined,
    tags: readonly string[],
    target: string | undefined,
  ): void {
    if (this.#states === undefined) return;
    if (image !== undefined) add(this.#states.images, `${repository}@${image.digest}`, image.present, false);
    for (const tag of tags) add(this.#states.tags, `${repository}:${tag}`, target, undefined);
  }
}

function possibleOf<State>(registers: ReadonlyMap<string, Register<State>>): Map<string, Set<State>> {
  return new Map([...registers].map(([key, register]) => [key, register.possible()]));
}

/** @param before the state of what had not been asked for before */
function add<State>(states: Map<string, Set<State>>, key: string, state: State, before: State): void {
  const known = states.get(key) ?? new Set([before]);
  states.set(key, known.add(state));
}

/** A register that may be in any of these states: one is settled, and the others had no answer. */
function registerOf<State>(possible: ReadonlySet<State>): Register<State> {
  const [first, ...others] = [...possible] as [State, ...State[]];
  const register = new Register<State>(first);
  for (const state of others) register.begin(state);
  return register;
}
