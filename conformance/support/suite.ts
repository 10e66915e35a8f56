import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { findProgram, isBuildServer } from '../../scripts/tools.mjs';
import { startWeir, type Weir, type WeirOptions } from './weir.js';
import { makeWorkspace, type Workspace } from './workspace.js';

/**
 * A suite that needs foreign programs. Where one is missing, a single test stands for the suite: skipped with the
 * reason, or failed on a build server.
 */
export function describeWithPrograms(name: string, programs: readonly string[], suite: () => void): void {
  const missing = programs.filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) describe(name, suite);
  else skipLoudly(name, `not installed: ${missing.join(', ')}`);
}

/** One test in place of a suite that cannot run here. */
export function skipLoudly(name: string, reason: string): void {
  test(name, (context) => {
    if (isBuildServer) throw new Error(reason);
    context.skip(reason);
  });
}

/** The path of a program that {@link describeWithPrograms} found. */
export function installedProgram(name: string): string {
  const program = findProgram(name);
  if (program === undefined) throw new Error(`${name} is not installed`);
  return program;
}

/** What a suite has while its tests run. */
export interface Site {
  readonly weir: Weir;
  readonly workspace: Workspace;
}

/** Starts a Weir for the tests of the enclosing suite and removes all traces afterwards. A failed test shows its log. */
export function siteWithWeir(options: WeirOptions = {}): Site {
  const workspace = makeWorkspace();
  let weir: Weir | undefined;
  const runningWeir = (): Weir => {
    if (weir === undefined) throw new Error('Weir runs only while the tests of its suite do');
    return weir;
  };
  beforeAll(async () => {
    weir = await startWeir(workspace, options);
  });
  afterEach((context) => {
    if (context.task.result?.state === 'fail') console.error(`Log of Weir:\n${runningWeir().log()}`);
  });
  afterAll(async () => {
    try {
      await weir?.stop();
    } finally {
      await workspace.remove();
    }
  });
  return {
    workspace,
    get weir() {
      return runningWeir();
    },
  };
}
