import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { clientCommands } from '../../../src/cli/client/commands.js';
import { processTerminal } from '../../../src/cli/client/terminal.js';
import { ClientTerminal } from './client-terminal.js';

const run = promisify(execFile);
const names = clientCommands(processTerminal({})).map((command) => command.name());
const policies = ['list', 'protect', 'require-reason', 'keep', 'remove'];

describe('the help of', () => {
  test.each([...names.map((name) => [name]), ...policies.map((name) => ['policy', name])])(
    '%s %s teaches it by examples, and tells no secret',
    async (...words) => {
      const args = words.filter((word) => typeof word === 'string');
      const terminal = await ClientTerminal.open({ WEIR_TOKEN: 'sha256~secret', WEIR_SERVER: 'reg.example' });
      const { stdout } = await terminal.weir(...args, '--help');
      const [, examples] = stdout.split('Examples:\n');
      expect(examples).toContain(`weir ${args.join(' ')}`);
      expect(stdout).not.toContain('sha256~secret');
    },
  );
});

describe('weir completion', () => {
  async function complete(shell: string, ...words: readonly string[]): Promise<string> {
    const terminal = await ClientTerminal.open();
    const { stdout: script } = await terminal.weir('completion', shell);
    const ask = `COMP_WORDS=(weir ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _weir; echo "\${COMPREPLY[*]}"`;
    const { stdout } = await run('bash', ['--norc', '-c', `${script}\n${ask}`]);
    return stdout.trim();
  }

  test.each([
    { words: ['ro'], found: 'rollback' },
    { words: ['un'], found: 'untag undelete' },
    { words: ['policy', 're'], found: 'require-reason remove' },
    { words: ['policy', 'list', 'shop', '-o', ''], found: 'table json yaml' },
    { words: ['tags', 'shop/app', '--st'], found: '--state' },
    { words: ['tags', '--state', 'p'], found: 'protected' },
    { words: ['completion', '--'], found: '--help' },
    { words: ['history', 'shop/a'], found: '' },
  ])('lets bash complete $words', async ({ words, found }) => {
    expect(await complete('bash', ...words)).toBe(found);
  });

  test.each(['zsh', 'fish'])('tells %s of every command', async (shell) => {
    const terminal = await ClientTerminal.open();
    const { stdout } = await terminal.weir('completion', shell);
    for (const name of [...names, ...policies]) expect(stdout).toContain(name);
  });

  test('is for shells that are known', async () => {
    const terminal = await ClientTerminal.open();
    await expect(terminal.weir('completion', 'cmd')).rejects.toThrow('bash, zsh, fish');
  });
});
