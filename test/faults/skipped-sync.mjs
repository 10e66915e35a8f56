// Loaded before Weir (node --import): leaves out one of the syncs that durability rests on, so that the checker of
// power-loss.test.ts has something to find. WEIR_TEST_SKIPPED_SYNC names it.
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const skipped = process.env.WEIR_TEST_SKIPPED_SYNC;

const handle = await fs.promises.open(process.execPath);
const fileHandle = Object.getPrototypeOf(handle);
await handle.close();
const { sync, datasync } = fileHandle;

function skipSyncs(isSkipped) {
  const unlessSkipped = (original) =>
    async function () {
      if (!isSkipped(await this.stat())) await original.call(this);
    };
  fileHandle.sync = unlessSkipped(sync);
  fileHandle.datasync = unlessSkipped(datasync);
}

switch (skipped) {
  case 'file':
    skipSyncs((stats) => stats.isFile());
    break;
  case 'folder':
    skipSyncs((stats) => stats.isDirectory());
    break;
  case 'database': {
    const Database = createRequire(process.argv[1])('better-sqlite3');
    const { pragma, prepare } = Database.prototype;
    // It is switched while the registry runs as well.
    Database.prototype.prepare = function (source) {
      return prepare.call(this, source.replace(/^pragma synchronous = .*/i, 'pragma synchronous = off'));
    };
    Database.prototype.pragma = function (source, ...rest) {
      return pragma.call(this, source.replace(/^synchronous = .*/, 'synchronous = OFF'), ...rest);
    };
    break;
  }
  case 'before the rename': {
    skipSyncs((stats) => stats.isFile());
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
