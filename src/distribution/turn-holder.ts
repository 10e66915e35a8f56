import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

/** Which machine this is since it was started, and whose numbers of processes; undefined where that cannot be told. */
const processSpace = readProcessSpace();

function readProcessSpace(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}.${readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')}`;
  } catch {
    return undefined;
  }
}

/** A name for who has a turn: of one request of this process. */
export function newHolder(): string {
  return `${processSpace ?? ''}/${process.pid}/${randomBytes(12).toString('hex')}`;
}

/**
 * Whether the process that a holder belongs to has ended for sure: it need not be waited for. Of processes of other machines
 * nothing is known.
 *
 * @param isOurs whether the holder has a turn in this process
 */
export function isHolderGone(holder: string, isOurs: boolean): boolean {
  const [space, pid] = holder.split('/');
  if (processSpace === undefined || space !== processSpace) return false;
  // One of an earlier process that had our number.
  if (Number(pid) === process.pid) return !isOurs;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}
