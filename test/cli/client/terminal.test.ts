import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { askFor } from '../../../src/cli/client/terminal.js';
import { UsageError } from '../../../src/cli/usage-error.js';

/** Somebody who types, and what they get to see. */
function sitAt(): {
  readonly input: PassThrough & { isTTY: true };
  readonly output: PassThrough;
  readonly seen: () => string;
} {
  const output = new PassThrough();
  const input = Object.assign(new PassThrough(), { isTTY: true as const });
  return { input, output, seen: () => String(output.read() ?? '') };
}

describe('somebody who is asked', () => {
  test('sees what they type', async () => {
    const { input, output, seen } = sitAt();
    const answer = askFor({ input, output }, 'User name: ', { isShown: true });
    input.write('ada\r');
    expect(await answer).toBe('ada');
    expect(seen()).toMatch(/User name: .*ada/s);
  });

  test('does not see a password they type', async () => {
    const { input, output, seen } = sitAt();
    const answer = askFor({ input, output }, 'Password: ', { isShown: false });
    input.write('se\u007fecret\r');
    expect(await answer).toBe('secret');
    expect(seen()).toBe('Password: \n');
  });

  test.each([
    { name: 'ends the input', typed: '\u0004' },
    { name: 'interrupts', typed: '\u0003' },
  ])('and $name has answered nothing', async ({ typed }) => {
    const { input, output } = sitAt();
    const answer = askFor({ input, output }, 'Password: ', { isShown: false });
    input.write(typed);
    await expect(answer).rejects.toThrow(UsageError);
  });

  test('has to be there', async () => {
    const output = new PassThrough();
    await expect(askFor({ input: new PassThrough(), output }, 'Password: ', { isShown: false })).rejects.toThrow(
      'nobody is there to be asked "Password:"; give it on the command line or by pipe',
    );
    expect(output.read()).toBeNull();
  });
});
