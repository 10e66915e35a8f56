import { spawn } from 'node:child_process';

export interface Command {
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
  /** Written to the standard input, which is empty otherwise. */
  readonly input?: string;
}

export interface Outcome {
  /** `undefined` when a signal ended the program. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const timeoutMs = 240_000;

/** Runs a program to its end, whatever that is. It is killed after four minutes. */
export function tryRun(program: string, args: readonly string[], command: Command): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: command.environment,
      cwd: command.workingDirectory,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ exitCode: code ?? undefined, stdout: textOf(stdout), stderr: textOf(stderr) });
    });
    // A program may end without reading its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(command.input ?? '');
  });
}

/**
 * Runs a program that must succeed.
 *
 * @returns its standard output
 * @throws {Error} with all its output when it fails
 */
export async function run(program: string, args: readonly string[], command: Command): Promise<string> {
  const { exitCode, stdout, stderr } = await tryRun(program, args, command);
  if (exitCode === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')}: exit code ${exitCode ?? '(killed)'}\n${stdout}${stderr}`);
}

/**
 * Runs a program that must fail.
 *
 * @returns all its output, in which the reason is to be found
 * @throws {Error} when it succeeds
 */
export async function runRefused(program: string, args: readonly string[], command: Command): Promise<string> {
  const { exitCode, stdout, stderr } = await tryRun(program, args, command);
  if (exitCode !== 0) return stdout + stderr;
  throw new Error(`${program} ${args.join(' ')}: succeeded, and should not have\n${stdout}${stderr}`);
}

function textOf(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString('utf8');
}
