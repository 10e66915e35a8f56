import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyOperation, checkRegister, precedes, type Operation } from './replicas/linearizability-checker.js';

const write = (value: string, invokedAt: number, respondedAt: number): Operation => ({
  kind: 'write',
  value,
  invokedAt,
  respondedAt,
});
const remove = (invokedAt: number, respondedAt: number): Operation => ({
  kind: 'remove',
  value: undefined,
  invokedAt,
  respondedAt,
});
const read = (value: string | undefined, invokedAt: number, respondedAt: number): Operation => ({
  kind: 'read',
  value,
  invokedAt,
  respondedAt,
});

describe('good histories are found good', () => {
  test.each<{ name: string; history: Operation[] }>([
    { name: 'nothing', history: [] },
    { name: 'a read of nothing', history: [read(undefined, 0, 1)] },
    { name: 'a read of what was written before', history: [write('a', 0, 1), read('a', 2, 3)] },
    { name: 'a read that saw a write under way', history: [write('a', 0, 9), read('a', 1, 2), read('a', 3, 4)] },
    { name: 'a read that did not see it yet', history: [write('a', 0, 9), read(undefined, 1, 2), read('a', 3, 4)] },
    {
      name: 'two writes at once, the first to begin last',
      history: [write('a', 0, 9), write('b', 1, 8), read('a', 10, 11)],
    },
    { name: 'a removal of what is there', history: [write('a', 0, 1), remove(2, 3), read(undefined, 4, 5)] },
    { name: 'a write without an answer that never was', history: [write('a', 0, Infinity), read(undefined, 1, 2)] },
    {
      name: 'a write without an answer that came late',
      history: [write('a', 0, Infinity), write('b', 1, 2), read('b', 3, 4), read('a', 5, 6)],
    },
    {
      name: 'a removal without an answer that came late',
      history: [write('a', 0, 1), remove(2, Infinity), read('a', 3, 4), read(undefined, 5, 6)],
    },
  ])('$name', ({ history }) => {
    expect(checkRegister(history)).toEqual({ isLinearizable: true });
  });

  test('what is there before everything may be seen, and removed', () => {
    expect(checkRegister([read('a', 0, 1), remove(2, 3)], 'a')).toEqual({ isLinearizable: true });
  });
});

describe('planted violations are found', () => {
  test.each<{ name: string; history: Operation[]; stuck: Operation[] }>([
    {
      name: 'a stale read',
      history: [write('a', 0, 1), write('b', 2, 3), read('a', 4, 5)],
      stuck: [read('a', 4, 5)],
    },
    {
      name: 'a lost write',
      history: [write('a', 0, 1), read(undefined, 2, 3)],
      stuck: [read(undefined, 2, 3)],
    },
    {
      name: 'a read that goes back',
      history: [write('a', 0, 1), write('b', 2, 9), read('b', 3, 4), read('a', 5, 6)],
      stuck: [read('a', 5, 6)],
    },
    {
      name: 'a write without an answer that comes and goes and comes back',
      history: [write('a', 0, Infinity), read('a', 1, 2), write('b', 3, 4), read('a', 5, 6)],
      stuck: [read('a', 5, 6)],
    },
    {
      name: 'a value that nobody has written',
      history: [write('a', 0, 1), read('c', 2, 3)],
      stuck: [read('c', 2, 3)],
    },
    {
      name: 'a value that was seen before it was written',
      history: [read('a', 0, 1), write('a', 2, Infinity)],
      stuck: [read('a', 0, 1)],
    },
    {
      name: 'two removals of one value',
      history: [write('a', 0, 1), remove(2, 5), remove(3, 6)],
      stuck: [remove(3, 6)],
    },
    {
      name: 'a removed value that is back',
      history: [write('a', 0, 1), remove(2, 3), read('a', 4, 5)],
      stuck: [read('a', 4, 5)],
    },
  ])('$name', ({ history, stuck }) => {
    expect(checkRegister(history)).toMatchObject({ isLinearizable: false, stuck });
  });
});

test('the verdict is that of trying every order', () => {
  const value = fc.constantFrom('a', 'b', 'c');
  const operation = fc
    .record({
      kind: fc.constantFrom('write' as const, 'write' as const, 'read' as const, 'read' as const, 'remove' as const),
      written: value,
      seen: fc.option(value, { nil: undefined }),
      invokedAt: fc.nat(8),
      takes: fc.oneof({ weight: 4, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.constant(Infinity) }),
    })
    .map(({ kind, written, seen, invokedAt, takes }): Operation => ({
      kind,
      value: kind === 'write' ? written : kind === 'read' ? seen : undefined,
      invokedAt,
      respondedAt: invokedAt + takes,
    }));
  const verdicts = { good: 0, bad: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 6 }), fc.option(value, { nil: undefined }), (history, initial) => {
      const expected = hasOrder(history, initial);
      verdicts[expected ? 'good' : 'bad'] += 1;
      expect(checkRegister(history, initial).isLinearizable).toBe(expected);
    }),
    { numRuns: 3000 },
  );
  expect(Math.min(verdicts.good, verdicts.bad)).toBeGreaterThan(200);
});

test('long histories of many at once are looked through in a moment', () => {
  const histories = fc.sample(fc.infiniteStream(fc.nat(999)), { numRuns: 1, seed: 7 });
  const history = simulate(histories[0]!, 6000);
  expect(checkRegister(history)).toEqual({ isLinearizable: true });
  // One read among thousands that is a little too old.
  const reads = history.filter(({ kind, value }) => kind === 'read' && value !== undefined);
  const [early, late] = [reads[100]!, reads.at(-100)!];
  const spoilt = history.map((operation) => (operation === late ? { ...operation, value: early.value } : operation));
  expect(checkRegister(spoilt)).toMatchObject({ isLinearizable: false });
});

/** Tries every order of every choice of those without an answer. */
function hasOrder(history: readonly Operation[], initial: string | undefined): boolean {
  const answered = history.filter(({ respondedAt }) => respondedAt !== Infinity);
  const open = history.filter(({ respondedAt }) => respondedAt === Infinity);
  for (let choice = 0; choice < 2 ** open.length; choice += 1) {
    const chosen = [...answered, ...open.filter((_, index) => (choice >> index) % 2 === 1)];
    for (const order of permutations(chosen)) {
      if (isInTime(order) && isExplained(order, initial)) return true;
    }
  }
  return false;
}

function isInTime(order: readonly Operation[]): boolean {
  return order.every((later, index) => order.slice(0, index).every((earlier) => !precedes(later, earlier)));
}

function isExplained(order: readonly Operation[], initial: string | undefined): boolean {
  let state = initial;
  for (const operation of order) {
    const result = applyOperation(operation, state);
    if (result === 'impossible') return false;
    state = result.state;
  }
  return true;
}

function* permutations<T>(items: readonly T[]): Generator<readonly T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of permutations(items.filter((_, other) => other !== index))) yield [item, ...rest];
  }
}

/** A register that is asked by eight at once: each asks at some time, is served at a later and told at a still later one. */
function simulate(random: Iterable<number>, count: number): Operation[] {
  const numbers = random[Symbol.iterator]();
  const draw = (): number => numbers.next().value as number;
  const free = Array.from({ length: 8 }, () => 0);
  const asked = Array.from({ length: count }, (_, index) => {
    const who = index % free.length;
    const invokedAt = free[who]! + draw();
    const servedAt = invokedAt + draw() / 1000;
    const respondedAt = servedAt + draw();
    free[who] = respondedAt;
    return { index, invokedAt, servedAt, respondedAt, what: draw(), isAnswered: draw() > 5 };
  });
  let state: string | undefined;
  return asked
    .sort((one, other) => one.servedAt - other.servedAt)
    .map(({ index, invokedAt, respondedAt, what, isAnswered }): Operation => {
      const end = isAnswered ? respondedAt : Infinity;
      if (what < 300) {
        state = `value ${index}`;
        return write(state, invokedAt, end);
      }
      if (what < 360 && state !== undefined) {
        state = undefined;
        return remove(invokedAt, end);
      }
      return read(state, invokedAt, respondedAt);
    });
}
