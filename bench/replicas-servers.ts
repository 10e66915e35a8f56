import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { type Bucket, type Started, freePort, startProgram } from './registries.js';

/** A database server that replicas share. */
export interface Postgres {
  /** Makes an empty database. @returns its URL */
  createDatabase(name: string): Promise<string>;
  readonly program: Started;
}

/** An S3 server that replicas share. */
export interface S3 {
  createBucket(name: string): Promise<Bucket>;
  /** Requests for a bucket so far, by what they did, as in `s3:PutObject`. */
  countRequests(bucket: string): ReadonlyMap<string, number>;
  /** Deletes a bucket with all that is in it. */
  removeBucket(name: string): void;
  readonly program: Started;
}

/** PostgreSQL does not run with root's rights; nobody is there on every machine. */
const nobody = { uid: 65534, gid: 65534 };
const region = 'us-east-1';

/**
 * Starts PostgreSQL as it comes: commits wait for the disk.
 *
 * @param programs folder of `initdb` and `postgres`
 * @param folder where its data are to be, empty
 */
export async function startPostgres(programs: string, folder: string): Promise<Postgres> {
  const owner = process.getuid?.() === 0 ? { owner: nobody } : {};
  if (owner.owner !== undefined) fs.chownSync(folder, nobody.uid, nobody.gid);
  const data = path.join(folder, 'data');
  const made = spawnSync(
    path.join(programs, 'initdb'),
    ['-D', data, '-U', 'weir', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-instructions'],
    { cwd: folder, encoding: 'utf8', ...owner.owner },
  );
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const port = await freePort();
  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '' };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = path.join(programs, 'postgres');
  const program = startProgram({ command, args: ['-D', data, ...args], folder, ...owner });
  const urlOf = (database: string) => `postgres://weir@127.0.0.1:${port}/${database}`;
  await program.until(() => execute(urlOf('postgres'), 'select 1'));
  return {
    program,
    async createDatabase(name) {
      const done = await execute(urlOf('postgres'), `create database ${name}`);
      if (done === undefined) throw new Error(`database ${name} could not be made`);
      return urlOf(name);
    },
  };
}

/**
 * Starts versitygw over a folder, as it comes.
 *
 * @param folder where buckets are to be, empty
 */
export async function startS3(command: string, folder: string): Promise<S3> {
  const buckets = path.join(folder, 'buckets');
  fs.mkdirSync(buckets);
  const [accessKey, secretKey] = ['weir-bench', randomBytes(16).toString('hex')];
  const address = `127.0.0.1:${await freePort()}`;
  const endpoint = new URL(`http://${address}`);
  const accessLog = path.join(folder, 'access-log');
  const program = startProgram({
    command,
    args: ['--port', address, '--region', region, '--quiet', '--access-log', accessLog, 'posix', buckets],
    folder,
    env: { ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey },
  });
  await program.until(() => answers(endpoint));
  return {
    program,
    async createBucket(name) {
      // Versions of the SDK that are to come will want a newer Node; ours is pinned.
      process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
      const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3');
      const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
      const client = new S3Client({ endpoint: endpoint.href, region, forcePathStyle: true, credentials });
      await client.send(new CreateBucketCommand({ Bucket: name }));
      client.destroy();
      return { endpoint, name, region, accessKey, secretKey };
    },
    countRequests: (bucket) => countRequests(accessLog, bucket),
    removeBucket(name) {
      fs.rmSync(path.join(buckets, name), { recursive: true, force: true });
    },
  };
}

/** The log is that of S3: owner, bucket, time in two words, address, requester, id, operation. */
function countRequests(accessLog: string, bucket: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of fs.readFileSync(accessLog, 'utf8').split('\n')) {
    const words = line.split(' ');
    const operation = words[7];
    if (words[1] !== bucket || operation === undefined) continue;
    counts.set(operation, (counts.get(operation) ?? 0) + 1);
  }
  return counts;
}

/** @returns undefined when it could not be done */
async function execute(connectionString: string, statement: string): Promise<true | undefined> {
  const client = new pg.Client({ connectionString });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(statement);
    return true;
  } catch {
    return undefined;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function answers(url: URL): Promise<true | undefined> {
  const response = await fetch(url).catch(() => undefined);
  await response?.body?.cancel();
  return response === undefined ? undefined : true;
}
