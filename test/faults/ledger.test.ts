import { expect, test } from 'vitest';
import { Register } from './ledger.js';

test('the last acknowledged change is the only possible one', () => {
  const register = new Register('first');
  register.begin('second').acknowledge();
  register.begin('third').acknowledge();
  expect([...register.possible()]).toEqual(['third']);
});

test('a change without an answer may have happened or not', () => {
  const register = new Register('first');
  register.begin('second');
  expect([...register.possible()]).toEqual(['first', 'second']);
});

test('of two changes at the same time, either may be the last', () => {
  const register = new Register('first');
  const [second, third] = [register.begin('second'), register.begin('third')];
  third.acknowledge();
  second.acknowledge();
  expect([...register.possible()]).toEqual(['second', 'third']);
});

test('a change without an answer may come after a later one that was acknowledged', () => {
  const register = new Register('first');
  register.begin('second');
  register.begin('third').acknowledge();
  expect([...register.possible()]).toEqual(['second', 'third']);
});

test('a refused change did not happen, and a settled register has one state', () => {
  const register = new Register('first');
  register.begin('second').refuse();
  expect([...register.possible()]).toEqual(['first']);
  register.begin('third');
  register.settle('third');
  expect([...register.possible()]).toEqual(['third']);
});
