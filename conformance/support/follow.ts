import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from './command.js';

/** A program that goes on until it is stopped, such as one that watches. */
export interface Followed {
  /** Resolves once its output matches. @throws {Error} with that output when it ends, or a minute passes, before */
  waitFor(pattern: RegExp): Promise<void>;
  /** @returns all its output */
  stop(): Promise<string>;
}

const patienceMs = 60_000;

/** Starts a program without waiting for its end. */
export function follow(program: string, args: readonly string[], command: Command): Followed {
  const child = spawn(program, args, {
    env: command.environment,
    cwd: command.workingDirectory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let isOver = false;
  const ended = once(child, 'close').then(
    () => (isOver = true),
    () => (isOver = true),
  );
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  return {
    waitFor: async (pattern) => {
      const deadline = Date.now() + patienceMs;
      while (!pattern.test(output)) {
        if (isOver || Date.now() > deadline) {
          const what = `${isOver ? 'ended' : 'was waited for in vain'} before ${String(pattern)}`;
          throw new Error(`${program} ${args.join(' ')}: ${what}\n${output}`);
        }
        await delay(50);
      }
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
      return output;
    },
  };
}
