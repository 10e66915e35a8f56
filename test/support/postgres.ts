import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CompiledQuery } from 'kysely';
import pg from 'pg';
import type { Database } from '../../src/metadata/schema.js';
import { freePort } from './free-port.js';

/** A PostgreSQL server of a test's own, on the loopback interface. */
export interface TestPostgres {
  /** Of the database that is always there. */
  readonly url: string;
  /** Makes an empty database. @returns its URL */
  createDatabase(): Promise<string>;
  /** Stops the server and starts it again, with the same databases on the same port. */
  restart(options?: PostgresRestart): Promise<void>;
  stop(): Promise<void>;
}

export interface PostgresRestart {
  /** `fast`: connections are ended and all is written; `immediate`: as after a crash. Default fast. */
  readonly mode?: 'fast' | 'immediate';
  /** Milliseconds between the end and the beginning. */
  readonly downMs?: number;
}

/** PostgreSQL refuses to run as root; nobody owns nothing else. */
const nobody = 65534;
const startTimeoutMs = 60_000;

/**
 * Starts a server. The caller stops it.
 *
 * @param options.fsync whether commits wait for the disk; false by default
 */
export async function startPostgres(options: { readonly fsync?: boolean } = {}): Promise<TestPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-postgres-'));
  const owner = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  if (owner.uid !== undefined) await chown(folder, nobody, nobody);
  const data = join(folder, 'data');
  const initdb = spawn(
    program('initdb'),
    ['-D', data, '-U', 'weir', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', '--no-instructions'],
    { ...owner, cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const [code] = (await once(initdb, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`initdb ended with ${code}`);
  const port = await freePort();
  await writeFile(
    join(data, 'postgresql.auto.conf'),
    [
      `port = ${port}`,
      `listen_addresses = '127.0.0.1'`,
      `unix_socket_directories = ''`,
      `max_connections = 300`,
      `shared_buffers = 64MB`,
      `fsync = ${options.fsync === true ? 'on' : 'off'}`,
      `full_page_writes = ${options.fsync === true ? 'on' : 'off'}`,
    ].join('\n'),
  );
  const urlOf = (database: string) => `postgres://weir@127.0.0.1:${port}/${database}`;
  const url = urlOf('postgres');
  let log = '';
  let server: ChildProcess;
  const killServer = () => server.kill('SIGQUIT');

  const start = async () => {
    server = spawn(program('postgres'), ['-D', data], { ...owner, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    server.stderr!.on('data', (text: Buffer) => (log = (log + text.toString()).slice(-20_000)));
    const until = Date.now() + startTimeoutMs;
    while (!(await answers(url))) {
      if (server.exitCode !== null || Date.now() > until) throw new Error(`PostgreSQL did not start:\n${log}`);
      await sleep(20);
    }
  };
  const end = async (mode: 'fast' | 'immediate') => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await ended;
  };

  await start();
  process.once('exit', killServer);
  let databases = 0;
  return {
    url,
    createDatabase: async () => {
      const name = `weir_${(databases += 1)}`;
      await execute(url, `create database ${name} template template0`);
      return urlOf(name);
    },
    restart: async ({ mode = 'fast', downMs = 0 } = {}) => {
      await end(mode);
      await sleep(downMs);
      await start();
    },
    stop: async () => {
      await end('immediate');
      process.off('exit', killServer);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Takes everything out of a database that was migrated, which is quicker than to make another one. */
export async function emptyDatabase(db: Database): Promise<void> {
  const statements = `begin;
    set local session_replication_role = replica;
    do $$ declare name text; begin
      for name in select tablename from pg_tables where schemaname = 'public' and tablename not like 'kysely%'
      loop
        if name <> 'sequence' then execute format('delete from %I', name); end if;
      end loop;
    end $$;
    update sequence set value = 0;
    commit`;
  await db.executeQuery(CompiledQuery.raw(statements));
}

/** Runs one statement on a connection of its own. */
export async function execute(url: string, statement: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(statement)).rows;
  } finally {
    await client.end();
  }
}

async function answers(url: string): Promise<boolean> {
  return execute(url, 'select 1').then(
    () => true,
    () => false,
  );
}

/** On the path, or where Debian keeps the programs of its newest version. */
function program(name: string): string {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(debian, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} of PostgreSQL is not installed (apt install postgresql)`);
  return found;
}
