import { randomBytes } from 'node:crypto';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DeleteObjectsCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { run, tryRun, type Outcome } from '../../conformance/support/command.js';
import { root, searchPath } from '../../scripts/tools.mjs';
import { compareWithLedger } from '../faults/comparison.js';
import type { Ledger } from '../faults/ledger.js';
import { makeSharedLayers, Pusher } from '../faults/load.js';
import { Random } from '../faults/random.js';
import { RegistryClient, sha256 } from '../faults/registry-client.js';
import { startRegistryProcess, type RegistryProcess } from '../faults/registry-process.js';
import { startPostgres, type TestPostgres } from '../support/postgres.js';
import { startS3, type TestS3 } from '../support/s3.js';
import { DrillLedger } from './drill-ledger.js';

const seed = process.env['WEIR_TEST_DRILL_SEED'] ?? String(Date.now());
const pushers = 4;
/**
 * What nothing refers to is collected after so long: while the backup runs, what was deleted before it began. Longer than the
 * backup takes, even on a machine that has much else to do.
 */
const graceSeconds = 25;

/** A registry that can be copied, lost and made again. */
interface Drilled {
  readonly replicas: number;
  /** What replicas and scripts are told. */
  readonly environment: Readonly<Record<string, string>>;
  /** Loses everything. */
  wipe(): Promise<void>;
}

let folder = '';
let running: RegistryProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-drill-'));
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') {
    for (const [index, replica] of running.entries()) console.error(`Log of replica ${index}:\n${replica.log()}`);
  }
  await killAll();
  await rm(folder, { recursive: true, force: true });
});

describe('SQLite and a folder', () => {
  const drilled = (): Drilled => ({
    replicas: 1,
    environment: { WEIR_DATA_DIR: path.join(folder, 'data') },
    wipe: () => rm(path.join(folder, 'data'), { recursive: true }),
  });

  test('come back from a backup that was made under load', () => drill(drilled()));

  test('are not restored over a registry that is there', async () => {
    const site = drilled();
    await serve(site);
    const client = new RegistryClient(running[0]!.url);
    await pushBlob(client, 'drill/app', Buffer.from('bytes'));
    client.close();
    await stopAll();
    await script(site, 'backup.sh');
    expect(await tryScript(site, 'restore.sh')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('there is a registry in') as string,
    });
  });

  test('are not restored from a backup that lacks bytes', async () => {
    const site = drilled();
    await serve(site);
    const client = new RegistryClient(running[0]!.url);
    const digest = await pushBlob(client, 'drill/app', Buffer.from('bytes'));
    client.close();
    await stopAll();
    expect(await script(site, 'backup.sh')).toContain('/backup/blobs: 1 copied (5 bytes)');
    await delay(1000);
    expect(await script(site, 'backup.sh'), 'the second backup').toContain('/backup/blobs: 0 copied (0 bytes)');
    const kept = (await readdir(path.join(folder, 'backup', 'blobs'), { recursive: true })).filter((name) =>
      name.includes('/'),
    );
    expect(kept, digest).toHaveLength(1);
    await rm(path.join(folder, 'backup', 'blobs', kept[0]!));
    await site.wipe();
    expect(await tryScript(site, 'restore.sh')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(`${kept[0]!} is not in`) as string,
    });
    await expect(access(path.join(folder, 'data', 'weir.sqlite'))).rejects.toThrow('ENOENT');
  });
});

describe('PostgreSQL and S3', () => {
  let postgres: TestPostgres | undefined;
  let s3: TestS3 | undefined;

  beforeAll(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
  });
  afterAll(async () => {
    await Promise.all([postgres?.stop(), s3?.stop()]);
  });

  test('come back from a backup that was made under load', async () => {
    const [url, bucket] = [await postgres!.createDatabase(), await s3!.createBucket()];
    const { endpoint, region, accessKeyId, secretAccessKey } = s3!;
    await drill({
      replicas: 2,
      environment: {
        WEIR_DATA_DIR: path.join(folder, 'data'),
        WEIR_DATABASE_URL: url,
        WEIR_SECRETS_KEYS: randomBytes(32).toString('base64'),
        WEIR_BLOBSTORE_KIND: 's3',
        WEIR_BLOBSTORE_S3_BUCKET: bucket,
        WEIR_BLOBSTORE_S3_PREFIX: 'registry',
        WEIR_BLOBSTORE_S3_ENDPOINT: endpoint,
        WEIR_BLOBSTORE_S3_REGION: region,
        WEIR_BLOBSTORE_S3_PATH_STYLE: 'true',
        WEIR_BLOBSTORE_S3_ACCESS_KEY_ID: accessKeyId,
        WEIR_BLOBSTORE_S3_SECRET_ACCESS_KEY: secretAccessKey,
      },
      wipe: async () => {
        await rm(path.join(folder, 'data'), { recursive: true, force: true });
        const lose = 'drop schema public cascade; create schema public';
        await run('psql', ['--no-psqlrc', `--dbname=${url}`, `--command=${lose}`], {
          environment: programEnvironment(),
        });
        const client = new S3Client({
          endpoint,
          region,
          forcePathStyle: true,
          credentials: { accessKeyId, secretAccessKey },
        });
        for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket: bucket })) {
          const Objects = Contents.map(({ Key }) => ({ Key }));
          if (Objects.length > 0) await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
        }
        client.destroy();
      },
    });
  });
});

/** Backup under load, wipe, restore; then all that was acknowledged before the backup is there, and the registry goes on. */
async function drill(site: Drilled): Promise<void> {
  console.log(`restore drill: seed ${seed} (WEIR_TEST_DRILL_SEED)`);
  const ledger = new DrillLedger();
  await serve(site);
  let ending = false;
  const clients = running.map(({ url }) => new RegistryClient(url));
  const sharedLayers = makeSharedLayers(new Random(seed));
  const load = Array.from({ length: pushers }, (_, index) =>
    new Pusher({
      client: clients[index % clients.length]!,
      ledger,
      random: new Random(`${seed} pusher ${index}`),
      name: `p${index}`,
      sharedLayers,
      collecting: true,
      isEnding: () => ending,
    }).run(),
  );
  // What is deleted in the first seconds is due while the backup is made.
  await delay((graceSeconds + 2) * 1000);
  const acknowledged = ledger.beginBackup();
  const pushedBefore = ledger.acknowledgedManifests;
  const told = await script(site, 'backup.sh');
  const expected = ledger.endBackup();
  const pushedMeanwhile = ledger.acknowledgedManifests - pushedBefore;
  await delay(1000);
  ending = true;
  await Promise.all(load);
  expect(ledger.violations).toEqual([]);
  for (const client of clients) client.close();
  await killAll();

  await site.wipe();
  await script(site, 'restore.sh');
  expect(await fsck(site)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining(': 0 lost, 0 notes') as string,
  });
  await serve(site);
  await compare(expected);
  expect(expected.violations).toEqual([]);
  expect(pushedMeanwhile, 'manifests acknowledged while the backup ran').toBeGreaterThan(0);

  const client = new RegistryClient(running[0]!.url);
  await pushBlob(client, 'faults/one', new Random('after the restore').bytes(9_000_000));
  client.close();
  await stopAll();
  expect(await fsck(site)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(': 0 lost, ') as string });
  console.log(
    `restore drill: ${pushedBefore} manifests were acknowledged before the backup and ${pushedMeanwhile} while it ran; ` +
      `${acknowledged} tags acknowledged before it, 0 lost; ${told.trim().split('\n').at(-1) ?? ''}`,
  );
}

async function compare(expected: Ledger): Promise<void> {
  const client = new RegistryClient(running.at(-1)!.url);
  await client.expect(200, 'GET', '/v2/');
  await compareWithLedger({
    client,
    ledger: expected,
    random: new Random(seed),
    olderImages: Infinity,
    collecting: true,
  });
  client.close();
}

async function pushBlob(client: RegistryClient, repository: string, bytes: Buffer): Promise<string> {
  const digest = sha256(bytes);
  await client.pushBlob({ repository, bytes, digest, way: 'POST then PUT' });
  return digest;
}

async function serve({ environment, replicas }: Drilled): Promise<void> {
  for (let index = 0; index < replicas; index += 1) {
    const dataDir = environment['WEIR_DATA_DIR']!;
    running.push(
      await startRegistryProcess({
        dataDir: index === 0 ? dataDir : `${dataDir}-${index}`,
        environment: {
          ...environment,
          WEIR_DATA_DIR: index === 0 ? dataDir : `${dataDir}-${index}`,
          WEIR_COLLECTION_GRACE_SECONDS: String(graceSeconds),
          WEIR_COLLECTION_INTERVAL_SECONDS: '1',
        },
      }),
    );
  }
}

async function stopAll(): Promise<void> {
  for (const replica of running) await replica.stop();
  running = [];
}

async function killAll(): Promise<void> {
  for (const replica of running) await replica.kill();
  running = [];
}

function fsck({ environment }: Drilled): Promise<Outcome> {
  return tryRun(process.execPath, [path.join(root, 'bin', 'weir.cjs'), 'fsck'], {
    environment: { ...programEnvironment(), ...environment },
    workingDirectory: folder,
  });
}

/** Runs one of the scripts that operators are told to run, as they would. */
function tryScript({ environment }: Drilled, name: 'backup.sh' | 'restore.sh'): Promise<Outcome> {
  return tryRun(path.join(root, 'deploy', 'backup', name), [path.join(folder, 'backup')], {
    environment: {
      ...programEnvironment(),
      ...environment,
      NODE: process.execPath,
      WEIR_COLLECTION_GRACE_SECONDS: String(graceSeconds),
    },
    workingDirectory: folder,
  });
}

async function script(site: Drilled, name: 'backup.sh' | 'restore.sh'): Promise<string> {
  const { exitCode, stdout, stderr } = await tryScript(site, name);
  expect({ exitCode, stderr }, stdout).toEqual({ exitCode: 0, stderr: '' });
  return stdout;
}

function programEnvironment(): Record<string, string> {
  return { PATH: searchPath, LANG: 'C.UTF-8', HOME: folder };
}
