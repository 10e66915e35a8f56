import { Command } from 'commander';
import { checkRegistry } from '../distribution/fsck.js';
import { KyselyInspection } from '../metadata/kysely-inspection.js';
import { openBlobStore, openDatabase } from '../registry-files.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';

const progressMs = 2_000;

/** `weir fsck`: checks that nothing is lost. */
export function fsckCommand(): Command {
  return new Command('fsck')
    .description('check every tag, image and blob; exit code 3 when something is lost (works while the registry runs)')
    .option('--quick', 'compare the sizes of blobs, not their digests')
    .action(async (options: { readonly quick?: true }, command: Command) => {
      const config = configOf(command);
      const { db } = await openDatabase(config);
      let lost = 0;
      let notes = 0;
      let toldAt = Date.now();
      try {
        const counts = await checkRegistry(new KyselyInspection(db), await openBlobStore(config), {
          readBlobs: options.quick !== true,
          onFinding: ({ severity, problem }) => {
            if (severity === 'lost') lost += 1;
            else notes += 1;
            process.stdout.write(`${severity}: ${problem}\n`);
          },
          onProgress: (soFar) => {
            if (Date.now() - toldAt < progressMs) return;
            toldAt = Date.now();
            process.stderr.write(`checked ${soFar.tags} tags, ${soFar.images} images, ${soFar.blobs} blobs so far\n`);
          },
        });
        process.stdout.write(
          `checked ${counts.tags} tags, ${counts.images} images, ${counts.blobs} blobs (${counts.bytes} bytes), ` +
            `${counts.files} files: ${lost} lost, ${notes} notes\n`,
        );
      } finally {
        await db.destroy();
      }
      process.exitCode = lost > 0 ? exitCodes.lost : exitCodes.ok;
    });
}
