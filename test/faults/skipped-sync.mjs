// Loaded before Weir (node --import): leaves out one of the syncs that durability rests on, so that the checker of
// power-loss.test.ts has something to find. WEIR_TEST_SKIPPED_SYNC names it.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const skipped = process.env.WEIR_TEST_SKIPPED_SYNC;

const handle = await fs.promises.open(process.execPath);
const fileHandle = Object.getPrototypeOf(handle);
await handle.close();
const { sync, datasync } = fileHandle;

function skipSyncs(isSkipped) {
  const unlessSkipped = (original) =>
    async function () {
      const isDatabase = fs.readlinkSync(`/proc/self/fd/${this.fd}`).endsWith('-wal');
      if (!isSkipped(await this.stat(), isDatabase)) await original.call(this);
    };
  fileHandle.sync = unlessSkipped(sync);
  fileHandle.datasync = unlessSkipped(datasync);
}

switch (skipped) {
  case 'file':
    skipSyncs((stats, isDatabase) => stats.isFile() && !isDatabase);
    break;
  case 'folder':
    skipSyncs((stats) => stats.isDirectory());
    break;
  case 'database':
    skipSyncs((_stats, isDatabase) => isDatabase);
    break;
  case 'before the rename': {
    skipSyncs((stats, isDatabase) => stats.isFile() && !isDatabase);
    const { open, rename } = fs.promises;
    fs.promises.rename = async (from, to) => {
      await rename(from, to);
      if (path.basename(path.dirname(from)) !== 'uploads') return;
      const file = await open(to);
      await sync.call(file);
      await file.close();
    };
    syncBuiltinESMExports();
    break;
  }
  default:
    throw new Error(`WEIR_TEST_SKIPPED_SYNC: ${skipped}`);
}
