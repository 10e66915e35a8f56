import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Memory that may be waiting to be freed. */
const collectEveryBytes = 16 * 1024 * 1024;

setFlagsFromString('--expose-gc');
// What little of the heap lives long is marked in one go when it has grown, which takes some tens of milliseconds.
setFlagsFromString('--no-incremental-marking');
const collect = runInNewContext('gc') as (options: { readonly type: 'minor' }) => void;
let received = 0;

/**
 * Counts bytes that came from a socket and were written, and gives their memory back now and then.
 *
 * Each piece that a socket gives has memory of its own, outside of the heap, which is freed with the small object that
 * stands for it. There are too few of these to fill the young generation. So V8, left alone, begins to mark the whole heap
 * for every 16 to 32 MiB received, on all cores, and that costs a third of the processor time of a large push. To collect
 * the young generation takes a millisecond and frees all of it.
 */
export function countReceivedMemory(bytes: number): void {
  received += bytes;
  if (received < collectEveryBytes) return;
  received = 0;
  collect({ type: 'minor' });
}
