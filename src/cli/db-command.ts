import { join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import type { Config } from '../config.js';
import type { Database } from '../metadata/schema.js';
import { findPostgresUse, isSqliteInUse } from '../moving/database-copy-users.js';
import { copyDatabase, DatabaseCopyError, type CopiedRows, type CopyProgress } from '../moving/database-copy.js';
import { openDatabase } from '../registry-files.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';
import { UsageError } from './usage-error.js';

const progressMs = 2_000;
/** Rows are counted and tables are looked through, which takes longer than what a request asks for. */
const statementTimeoutSeconds = 3600;

/** `weir db`: where the metadata is. */
export function dbCommand(): Command {
  const db = new Command('db').description('manage the database');
  db.command('move')
    .description(
      'copy the database into an empty one, SQLite or PostgreSQL, and compare the two (the registry is stopped)',
    )
    .requiredOption('--to <url>', '"sqlite", or postgres://user@host:port/name of an empty database')
    .addHelpText(
      'after',
      `
What is copied is the database that database.url tells of; it stays as it is. Stop every process of the
registry before: the command refuses while one is connected, and nobody can write while it copies. All
is one transaction, so that a copy is either whole, and was read again and found to be the same, or not
there at all; whatever goes wrong, run it again. Blobs stay where they are; see "weir blobs move".

The password of PostgreSQL is best not written into the URL, which others can see: PGPASSWORD, or a
~/.pgpass, tells it as well.

Exit codes: ${exitCodes.ok} copied, ${exitCodes.failure} a failure, and nothing was copied, ${exitCodes.usage} not valid`,
    )
    .action((options: { readonly to: string }, command: Command) => moveDatabase(configOf(command), options.to));
  return db;
}

async function moveDatabase(config: Config, to: string): Promise<void> {
  if (to !== 'sqlite' && !isPostgres(to)) {
    throw new UsageError('--to: expected "sqlite" or postgres://user@host:port/name');
  }
  if (to === config.database.url) throw new UsageError('--to: this is the database that is to be moved');
  await requireUnused(config);
  const source = await openDatabase(at(config, config.database.url));
  try {
    await requireSharedKeys(source.db);
    const target = await openDatabase(at(config, to));
    const progress = process.stderr.isTTY ? progressBar() : progressLines();
    try {
      const copied = await copyDatabase(source.db, target.db, {
        onProgress: progress.show,
        // Somebody may have started it meanwhile. A SQLite file that is being copied lets nobody start.
        beforeCommit: () => (isPostgres(config.database.url) ? requireUnused(config) : Promise.resolve()),
      });
      progress.end();
      process.stdout.write(describe(config, to, copied));
    } catch (error) {
      if (!(error instanceof DatabaseCopyError)) throw error;
      throw new UsageError(`${error.message}\n${advice(config, to)}`);
    } finally {
      progress.end();
      await target.db.destroy();
    }
  } finally {
    await source.db.destroy();
  }
}

function isPostgres(url: string): boolean {
  return /^postgres(ql)?:\/\/[^/]/.test(url);
}

/** The configuration with another database, to which this command is known by a name of its own. */
function at(config: Config, url: string): Config {
  const named = isPostgres(url) ? new URL(url) : undefined;
  named?.searchParams.set('application_name', 'weir-db-move');
  return { ...config, database: { ...config.database, url: named?.href ?? url, statementTimeoutSeconds } };
}

function sqlitePath({ dataDir }: Config): string {
  return join(dataDir, 'weir.sqlite');
}

/** @throws {UsageError} while a registry, or another command, is connected to the database */
async function requireUnused(config: Config): Promise<void> {
  const { url } = config.database;
  if (!isPostgres(url)) {
    if (isSqliteInUse(sqlitePath(config))) {
      throw new UsageError(`${sqlitePath(config)} is in use: stop the registry, and run this again`);
    }
    return;
  }
  const { pids, addresses } = await findPostgresUse(url);
  if (pids.length > 0) {
    throw new UsageError(
      `the database is in use, by ${pids.length} connections from ${addresses.join(', ')}: stop every process of the ` +
        'registry, and run this again',
    );
  }
}

/**
 * What an earlier version kept in files is in the database since this one was started once.
 *
 * @throws {UsageError} when it was not
 */
async function requireSharedKeys(db: Database): Promise<void> {
  const isUsed = await db.selectFrom('user').select('name').limit(1).executeTakeFirst();
  if (isUsed === undefined) throw new UsageError('the database is empty: there is nothing to move');
  const key = await db.selectFrom('key').select('id').limit(1).executeTakeFirst();
  if (key !== undefined) return;
  throw new UsageError(
    'the keys that tokens are signed with are not in the database yet: start the registry of this version once, stop it, ' +
      'and run this again',
  );
}

function advice(config: Config, to: string): string {
  return to === 'sqlite'
    ? `An empty database is made where there is no ${sqlitePath(config)}: move that file away, with those beside it that ` +
        'begin with its name.'
    : 'An empty database is made by "createdb --encoding=UTF8 --template=template0 name".';
}

function describe({ dataDir, secrets }: Config, to: string, copied: readonly CopiedRows[]): string {
  const width = Math.max(...copied.map(({ table }) => table.length));
  const lines = copied.map(
    ({ table, rows, digest }) => `${table.padEnd(width)} ${String(rows).padStart(10)}  ${digest.slice(0, 16)}  same`,
  );
  const total = copied.reduce((sum, { rows }) => sum + rows, 0);
  const changed = copied.reduce((sum, { changedTexts }) => sum + changedTexts, 0);
  return [
    `${'table'.padEnd(width)} ${'rows'.padStart(10)}  ${'SHA-256'.padEnd(16)}  read again`,
    ...lines,
    `${copied.length} tables with ${total} rows are the same on both sides`,
    ...(changed > 0 ? [`in ${changed} rows U+FFFD stands for a zero character, which PostgreSQL does not take`] : []),
    '',
    'To go on with it, set in the configuration of every process, and start them:',
    to === 'sqlite'
      ? `  database.url (WEIR_DATABASE_URL): sqlite, with dataDir ${dataDir}`
      : '  database.url (WEIR_DATABASE_URL): the URL that was given to --to, with the password',
    secrets.keys.length > 0
      ? '  secrets.keys (WEIR_SECRETS_KEYS): as before'
      : `  secrets.keys (WEIR_SECRETS_KEYS): what is in ${join(dataDir, 'keys', 'secrets.key')}`,
    'The database of before is as it was: keep it until all is well, and let no registry run on it.',
    '',
  ].join('\n');
}

interface ShownProgress {
  readonly show: (progress: CopyProgress) => void;
  readonly end: () => void;
}

/** For somebody who watches. */
function progressBar(): ShownProgress {
  const bar = new SingleBar({
    format: '{bar} {percentage}%, {step} {table}, {eta_formatted} to go',
    stream: process.stderr,
    // It would stay hidden when the command is broken off.
    hideCursor: false,
    etaBuffer: 200,
  });
  return {
    show: ({ table, step, done, total }) => {
      if (!bar.isActive) bar.start(total, done, { table, step });
      bar.update(done, { table, step });
    },
    end: () => {
      bar.stop();
    },
  };
}

/** For a log. */
function progressLines(): ShownProgress {
  let toldAt = Date.now();
  return {
    show: ({ table, step, done, total }) => {
      if (Date.now() - toldAt < progressMs) return;
      toldAt = Date.now();
      process.stderr.write(`${step} ${table}: ${Math.floor((done / total) * 100)} % of all\n`);
    },
    end: () => undefined,
  };
}
