import { Command, InvalidArgumentError, Option } from 'commander';
import { SingleBar } from 'cli-progress';
import { BlobStores, type BlobStoreKind } from '../blobstore/blob-stores.js';
import type { BlobStore } from '../blobstore/blob-store.js';
import type { Config } from '../config.js';
import { KyselyBlobMoves } from '../metadata/kysely-blob-moves.js';
import { KyselyUploadRecords } from '../metadata/kysely-upload-records.js';
import { ByteRate } from '../moving/blob-move-rate.js';
import { BlobMove, type BlobMoveProgress } from '../moving/blob-move.js';
import { WriteRoom } from '../moving/write-room.js';
import { openBlobStore, openDatabase } from '../registry-files.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';
import { UsageError } from './usage-error.js';

const progressMs = 2_000;
const mebibyte = 1024 * 1024;
/** The bytes of before are kept so long for those who have looked up where they are, in seconds. */
const keepSeconds = 600;

interface MoveOptions {
  readonly to: BlobStoreKind;
  readonly parallel: number;
  /** Undefined: as fast as it goes. */
  readonly rate?: number;
}

/** `weir blobs`: where the bytes of blobs are. */
export function blobsCommand(): Command {
  const blobs = new Command('blobs').description('manage where the bytes of blobs are');
  blobs
    .command('move')
    .description('move blobs from the disk to S3, or back (works while the registry runs)')
    .addOption(new Option('--to <kind>', 'where they are to be').choices(['s3', 'disk']).makeOptionMandatory())
    .option('--parallel <n>', 'blobs at a time', parseParallel, 4)
    .option('--rate <bytes>', 'bytes a second at most, such as 50MiB', parseRate)
    .addHelpText(
      'after',
      `
Before, set blobstore.kind to where the blobs are to be and restart every process of the registry: new
bytes go there then, and those of before are read where they are. blobstore.s3.* stays set in both cases.

Each blob is copied and hashed, then its record points at the copy, and the registry deletes the bytes
of before some minutes later. It serves all the time. The command can be broken off and run again at any
time: it goes on with what is left. A blob that is damaged stays where it is and is told of.

Exit codes: ${exitCodes.ok} all moved, ${exitCodes.failure} something is damaged, or a failure, ${exitCodes.usage} not valid`,
    )
    .action((options: MoveOptions, command: Command) => moveBlobs(configOf(command), options));
  return blobs;
}

async function moveBlobs(config: Config, { to, parallel, rate = Infinity }: MoveOptions): Promise<void> {
  if (config.blobstore.kind !== to) {
    throw new UsageError(
      `blobstore.kind is ${config.blobstore.kind}, so new bytes would still go there: set it to ${to}, restart every ` +
        'process of the registry, and run this again',
    );
  }
  const { db, now } = await openDatabase(config);
  const store: BlobStore = await openBlobStore(config);
  const progress = process.stderr.isTTY ? progressBar() : progressLines();
  try {
    if (!(store instanceof BlobStores)) throw new UsageError('blobstore.s3.bucket is not set: which one is it?');
    const counts = await new BlobMove({
      to,
      stores: store,
      moves: new KyselyBlobMoves(db),
      uploads: new KyselyUploadRecords(db, now),
      parallel,
      rate: new ByteRate(rate),
      room: new WriteRoom(),
      keepMs: keptSeconds(config) * 1000,
      now,
      onProgress: progress.show,
      onDamage: ({ digest, location, why }) => {
        process.stdout.write(`damaged: ${digest} ${why} (at ${location}): left where it is\n`);
      },
    }).run();
    progress.end();
    process.stdout.write(
      `${counts.moved} blobs moved (${counts.movedBytes} bytes), ${counts.damaged} damaged, ` +
        `${counts.gone} gone meanwhile\n`,
    );
    process.exitCode = counts.damaged > 0 ? exitCodes.failure : exitCodes.ok;
  } finally {
    progress.end();
    await store.close();
    await db.destroy();
  }
}

/** Clients may have been sent to the bytes themselves. */
function keptSeconds({ blobstore: { s3 } }: Config): number {
  return s3.redirect ? Math.max(keepSeconds, s3.redirectExpireSeconds) : keepSeconds;
}

function parseParallel(text: string): number {
  const parallel = Number(text);
  if (Number.isInteger(parallel) && parallel >= 1 && parallel <= 64) return parallel;
  throw new InvalidArgumentError('expected a number from 1 to 64');
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: mebibyte,
  gib: 1024 * mebibyte,
};

function parseRate(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]i?b)?(?:\/s)?$/i.exec(text) ?? [];
  const rate = Number(number) * units[unit.toLowerCase()]!;
  if (rate > 0) return rate;
  throw new InvalidArgumentError('expected bytes a second, such as 500KiB, 50MiB or 1GB');
}

interface ShownProgress {
  readonly show: (progress: BlobMoveProgress) => void;
  readonly end: () => void;
}

/** For somebody who watches. */
function progressBar(): ShownProgress {
  const bar = new SingleBar({
    format: '{bar} {doneMiB}/{totalMiB} MiB, {blobs}/{totalBlobs} blobs, {damaged} damaged, {eta_formatted} to go',
    stream: process.stderr,
    // It would stay hidden when the command is broken off.
    hideCursor: false,
    etaBuffer: 200,
  });
  return {
    show: ({ doneBytes, totalBytes, moved, damaged, gone, totalBlobs }) => {
      const told = {
        doneMiB: mebibytes(doneBytes),
        totalMiB: mebibytes(totalBytes),
        blobs: moved + damaged + gone,
        totalBlobs,
        damaged,
      };
      if (!bar.isActive) bar.start(totalBytes, doneBytes, told);
      bar.update(doneBytes, told);
    },
    end: () => {
      bar.stop();
    },
  };
}

/** For a log. */
function progressLines(): ShownProgress {
  const startedAt = Date.now();
  let toldAt = startedAt;
  return {
    show: ({ doneBytes, totalBytes, moved, damaged, gone, totalBlobs }) => {
      if (Date.now() - toldAt < progressMs) return;
      toldAt = Date.now();
      const leftSeconds = ((toldAt - startedAt) / 1000) * (totalBytes / Math.max(doneBytes, 1) - 1);
      process.stderr.write(
        `${mebibytes(doneBytes)} of ${mebibytes(totalBytes)} MiB, ${moved + damaged + gone} of ${totalBlobs} blobs ` +
          `so far, ${damaged} damaged, ${Math.round(leftSeconds)} s to go\n`,
      );
    },
    end: () => undefined,
  };
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / mebibyte);
}
