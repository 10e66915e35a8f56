/** What somebody asked of a register that holds a value or nothing, and what came of it. */
export interface Operation {
  /**
   * `write` puts the value there, whatever was there before; `remove` was told that something was there and that it is gone;
   * `read` saw the value, undefined being nothing. One that has no answer did what it does, or nothing.
   */
  readonly kind: 'write' | 'remove' | 'read';
  readonly value: string | undefined;
  /** On a clock that never goes back, the same for all of a history. */
  readonly invokedAt: number;
  /** Infinity: no answer came; it may take effect at any time after `invokedAt`, or never. */
  readonly respondedAt: number;
}

/** Whether there is one order of all operations that explains what each of them was told. */
export type Verdict =
  | { readonly isLinearizable: true }
  | {
      readonly isLinearizable: false;
      /** The longest order that explains anything, */
      readonly explained: readonly Operation[];
      /** and what would have to come next, none of which can. */
      readonly stuck: readonly Operation[];
    };

/**
 * Looks for an order of the operations in which each takes effect at one moment between its beginning and its end, and each is
 * told what is so at that moment (Herlihy and Wing, "Linearizability"). The search is that of Wing and Gong, and no
 * configuration is looked at twice (Lowe, "Testing for Linearizability").
 *
 * @param initial what the register holds before everything
 */
export function checkRegister(operations: readonly Operation[], initial?: string): Verdict {
  return new Search(withKnownEnds(operations, initial), initial).run();
}

/** Whose beginning is after whose end does not come first. */
export function precedes(first: Operation, second: Operation): boolean {
  return first.respondedAt < second.invokedAt;
}

/** @returns what is there after an operation; `impossible` when it would have been told something else */
export function applyOperation(
  { kind, value, respondedAt }: Operation,
  state: string | undefined,
): { readonly state: string | undefined } | 'impossible' {
  switch (kind) {
    case 'write':
      return { state: value };
    case 'remove':
      return state === undefined && respondedAt !== Infinity ? 'impossible' : { state: undefined };
    case 'read':
      return state === value ? { state } : 'impossible';
  }
}

/** A write without an answer that was seen, the only one of its value, took effect before the first who saw it was told. */
function withKnownEnds(operations: readonly Operation[], initial: string | undefined): Operation[] {
  const writes = new Map<string | undefined, number>();
  for (const { kind, value } of operations) if (kind === 'write') writes.set(value, (writes.get(value) ?? 0) + 1);
  const seenAt = firstSeen(operations);
  return operations
    .filter(({ kind, respondedAt }) => kind !== 'read' || respondedAt !== Infinity)
    .map((operation) => {
      const { kind, value, invokedAt, respondedAt } = operation;
      const seen = seenAt.get(value);
      const isCertain = kind === 'write' && seen !== undefined && seen >= invokedAt;
      if (respondedAt !== Infinity || !isCertain || writes.get(value) !== 1 || value === initial) return operation;
      return { ...operation, respondedAt: seen };
    });
}

/** By value, when the first who saw it was told. */
function firstSeen(operations: readonly Operation[]): Map<string | undefined, number> {
  const seenAt = new Map<string | undefined, number>();
  for (const { kind, value, respondedAt } of operations) {
    if (kind === 'read') seenAt.set(value, Math.min(seenAt.get(value) ?? Infinity, respondedAt));
  }
  return seenAt;
}

interface Step {
  readonly operation: Operation;
  /** Its position among the answered ones; undefined for one without an answer. */
  readonly answered: number | undefined;
  readonly open: number | undefined;
  readonly before: string | undefined;
}

class Search {
  /** In the order of their beginnings. */
  readonly #answered: readonly Operation[];
  readonly #open: readonly Operation[];
  /** Of each of them, what it does: of those that do the same, the one that began first comes first. */
  readonly #deeds: readonly string[];
  readonly #seenValues: ReadonlyMap<string | undefined, unknown>;
  readonly #isTaken: boolean[];
  readonly #isOpenTaken: boolean[];
  readonly #seen = new Set<string>();
  /** All answered operations before this position are taken. */
  #low = 0;
  #left: number;
  #state: string | undefined;
  #best: { readonly explained: readonly Operation[]; readonly stuck: readonly Operation[] } = {
    explained: [],
    stuck: [],
  };

  constructor(operations: readonly Operation[], initial: string | undefined) {
    const byBeginning = [...operations].sort((one, other) => one.invokedAt - other.invokedAt);
    this.#answered = byBeginning.filter(({ respondedAt }) => respondedAt !== Infinity);
    this.#open = byBeginning.filter(({ respondedAt }) => respondedAt === Infinity);
    this.#seenValues = firstSeen(operations);
    this.#deeds = this.#open.map(({ kind, value }) =>
      kind === 'write' && this.#seenValues.has(value) ? `write ${value ?? ''}` : kind,
    );
    this.#isTaken = this.#answered.map(() => false);
    this.#isOpenTaken = this.#open.map(() => false);
    this.#left = this.#answered.length;
    this.#state = initial;
  }

  run(): Verdict {
    const steps: Step[] = [];
    const choices: Step[][] = [this.#choices()];
    while (this.#left > 0) {
      const choice = choices.at(-1)!.shift();
      if (choice === undefined) {
        this.#remember(steps);
        choices.pop();
        const last = steps.pop();
        if (last === undefined) return { isLinearizable: false, ...this.#best };
        this.#undo(last);
        continue;
      }
      this.#take(choice);
      const configuration = this.#configuration();
      if (this.#seen.has(configuration)) {
        this.#undo(choice);
        continue;
      }
      this.#seen.add(configuration);
      steps.push(choice);
      choices.push(this.#choices());
    }
    return { isLinearizable: true };
  }

  /** What may come next, the most promising first. */
  #choices(): Step[] {
    const { candidates, until } = this.#candidates();
    const steps: Step[] = [];
    for (const answered of candidates) {
      const operation = this.#answered[answered]!;
      if (applyOperation(operation, this.#state) === 'impossible') continue;
      const step = { operation, answered, open: undefined, before: this.#state };
      // A read that is right changes nothing for anyone: if there is an order at all, there is one in which it comes now.
      if (operation.kind === 'read') return [step];
      steps.push(step);
    }
    const deeds = new Set<string>();
    for (const [open, operation] of this.#open.entries()) {
      if (this.#isOpenTaken[open]! || operation.invokedAt > until || deeds.has(this.#deeds[open]!)) continue;
      deeds.add(this.#deeds[open]!);
      if (this.#isUseful(operation)) steps.push({ operation, answered: undefined, open, before: this.#state });
    }
    return steps;
  }

  /** A value that nobody saw explains no more than that there was something to be removed. */
  #isUseful({ kind, value }: Operation): boolean {
    if (kind === 'remove') return this.#state !== undefined;
    return this.#seenValues.has(value) ? this.#state !== value : this.#state === undefined;
  }

  /** Answered operations that none of the others has to come before, and when the first of those ends. */
  #candidates(): { readonly candidates: readonly number[]; readonly until: number } {
    const candidates: number[] = [];
    let until = Infinity;
    for (let index = this.#low; index < this.#answered.length; index += 1) {
      const { invokedAt, respondedAt } = this.#answered[index]!;
      if (invokedAt > until) break;
      if (this.#isTaken[index]) continue;
      candidates.push(index);
      until = Math.min(until, respondedAt);
    }
    return { candidates: candidates.filter((index) => this.#answered[index]!.invokedAt <= until), until };
  }

  #take({ operation, answered, open, before }: Step): void {
    const result = applyOperation(operation, before);
    if (result !== 'impossible') this.#state = result.state;
    if (open !== undefined) this.#isOpenTaken[open] = true;
    if (answered === undefined) return;
    this.#isTaken[answered] = true;
    this.#left -= 1;
    while (this.#isTaken[this.#low]) this.#low += 1;
  }

  #undo({ answered, open, before }: Step): void {
    this.#state = before;
    if (open !== undefined) this.#isOpenTaken[open] = false;
    if (answered === undefined) return;
    this.#isTaken[answered] = false;
    this.#left += 1;
    this.#low = Math.min(this.#low, answered);
  }

  #configuration(): string {
    const ahead: number[] = [];
    // Few are taken before one that began earlier: no more than were under way at once.
    for (let index = this.#low, missing = this.#answered.length - this.#left - this.#low; missing > 0; index += 1) {
      if (!this.#isTaken[index]) continue;
      ahead.push(index);
      missing -= 1;
    }
    const open = this.#isOpenTaken.map((isTaken) => (isTaken ? '1' : '0')).join('');
    return `${this.#low} ${ahead.join(',')} ${open} ${this.#state ?? ''}`;
  }

  #remember(steps: readonly Step[]): void {
    if (this.#best.stuck.length > 0 && steps.length <= this.#best.explained.length) return;
    this.#best = {
      explained: steps.map(({ operation }) => operation),
      stuck: this.#candidates().candidates.map((index) => this.#answered[index]!),
    };
  }
}
