import { beforeEach, describe, expect, test } from 'vitest';
import { RememberedAnswers } from '../../src/auth/remembered-answers.js';

describe('an answer that was worked out', () => {
  let version: number;
  let worked: number;
  let answers: RememberedAnswers<string | undefined>;
  beforeEach(() => {
    version = 1;
    worked = 0;
    answers = new RememberedAnswers(() => Promise.resolve(version));
  });
  const work = () => {
    worked += 1;
    return Promise.resolve<string | undefined>(`answer ${worked}`);
  };
  const ask = (key = 'question') => answers.get(key, work);

  test('is given again while the version stays, to those who ask the same', async () => {
    expect([await ask(), await ask(), await ask('another')]).toEqual(['answer 1', 'answer 1', 'answer 2']);
  });

  test('is shared by those who ask while it is worked out', async () => {
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(['answer 1', 'answer 1', 'answer 1']);
  });

  test.each([
    { name: 'grows', next: 2 },
    // As when a backup was put in the place of the database.
    { name: 'goes back', next: 0 },
  ])('is forgotten with all others when the version $name', async ({ next }) => {
    await ask();
    await ask('another');
    version = next;
    expect([await ask(), await ask('another')]).toEqual(['answer 3', 'answer 4']);
  });

  test('before a change is forgotten when the change comes during the work', async () => {
    const before = await answers.get('question', () => {
      version = 2;
      return Promise.resolve('before the change');
    });
    expect(before).toBe('before the change');
    expect(await ask()).toBe('answer 1');
  });

  test('late does not take the place of the one after a change', async () => {
    let finish: (answer: string) => void = () => undefined;
    const late = answers.get('question', () => new Promise((resolve) => (finish = resolve)));
    await Promise.resolve();
    version = 2;
    expect(await ask()).toBe('answer 1');
    finish('before the change');
    expect(await late).toBe('before the change');
    expect(await ask()).toBe('answer 1');
  });

  test('that there is none is not remembered', async () => {
    expect(await answers.get('question', () => Promise.resolve(undefined))).toBeUndefined();
    expect(await ask()).toBe('answer 1');
  });

  test('with a failure is not remembered', async () => {
    await expect(answers.get('question', () => Promise.reject(new Error('the disk is gone')))).rejects.toThrow('disk');
    expect(await ask()).toBe('answer 1');
  });

  test('is not given when the version cannot be read', async () => {
    let isBroken = false;
    const failing = new RememberedAnswers<string | undefined>(() =>
      isBroken ? Promise.reject(new Error('the disk is gone')) : Promise.resolve(1),
    );
    await failing.get('question', work);
    isBroken = true;
    await expect(failing.get('question', work)).rejects.toThrow('disk');
  });

  test('makes room for others when their questions are long', async () => {
    const longKey = (index: number) => `${index}`.padEnd(1024 * 1024, 'x');
    for (let index = 0; index < 32; index += 1) await ask(longKey(index));
    expect(await ask(longKey(31)), 'the last one is still there').toBe('answer 32');
    expect(await ask(longKey(0)), 'the first one is not').toBe('answer 33');
  });
});
