import fs from 'node:fs';
import { processTree } from './memory.js';

/** In which Linux counts processor time: so many are a second. */
const ticksPerSecond = 100;

/**
 * Seconds of processor time that a process tree has used, by those that ended too.
 *
 * @returns `undefined` where there is no /proc or the process is gone
 */
export function readProcessorSeconds(pid: number): number | undefined {
  try {
    return processTree(pid).reduce((sum, member) => sum + ticksOf(member), 0) / ticksPerSecond;
  } catch {
    return undefined;
  }
}

function ticksOf(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name before the last parenthesis may hold anything; see proc(5): utime, stime, and both of children that ended.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}
