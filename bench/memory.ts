import fs from 'node:fs';

/** Resident memory in bytes of a process and its children, now and at its highest. */
export interface Memory {
  readonly resident: number;
  readonly peak: number;
}

/**
 * Reads what Linux keeps about a process tree.
 *
 * The peak of several processes is the sum of their peaks, even if those were at different times, so it never flatters.
 *
 * @returns `undefined` where there is no /proc or the process is gone
 */
export function readMemory(pid: number): Memory | undefined {
  let resident = 0;
  let peak = 0;
  try {
    for (const member of processTree(pid)) {
      const status = fs.readFileSync(`/proc/${member}/status`, 'utf8');
      resident += kibibytes(status, 'VmRSS');
      peak += kibibytes(status, 'VmHWM');
    }
  } catch {
    return undefined;
  }
  return { resident, peak };
}

/** A process and all that descend from it. @throws {Error} when one is gone */
export function processTree(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return [pid, ...children.flatMap((child) => processTree(Number(child)))];
}

function kibibytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
}
