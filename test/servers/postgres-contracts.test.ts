import { sql } from 'kysely';
import { afterAll, beforeAll } from 'vitest';
import { KyselyImagePulls } from '../../src/metadata/kysely-image-pulls.js';
import { KyselyImageSources } from '../../src/metadata/kysely-image-sources.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { KyselyUpstreamBudgets } from '../../src/metadata/kysely-upstream-budgets.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import type { Database } from '../../src/metadata/schema.js';
import { auditRecordsContract } from '../contracts/audit-records.js';
import { blobRecordsContract } from '../contracts/blob-records.js';
import { imagePullsContract } from '../contracts/image-pulls.js';
import { imageSourcesContract } from '../contracts/image-sources.js';
import { imageStoreContract } from '../contracts/image-store.js';
import { inspectionContract } from '../contracts/inspection.js';
import { objectStoreContract } from '../contracts/object-store.js';
import { repositoryStoreContract } from '../contracts/repository-store.js';
import { uploadRecordsContract } from '../contracts/upload-records.js';
import { upstreamBudgetsContract } from '../contracts/upstream-budgets.js';
import { userRecordsContract } from '../contracts/user-records.js';
import { emptyDatabase, startPostgres, type TestPostgres } from '../support/postgres.js';
import { addProjects } from '../support/projects.js';

let server: TestPostgres;
let databases: readonly [Database, Database];
let end: () => Promise<unknown>;
beforeAll(async () => {
  server = await startPostgres();
  const url = await server.createDatabase();
  const [here, there] = [await openPostgres(url, { poolSize: 8 }), await openPostgres(url, { poolSize: 8 })];
  const destroy = [here, there].map(({ db }) => db.destroy.bind(db));
  end = () => Promise.all(destroy.map((each) => each()));
  // The same connections for all tests, which end what they were given.
  for (const { db } of [here, there]) Object.assign(db, { destroy: () => Promise.resolve() });
  databases = [here.db, there.db];
});
afterAll(async () => {
  await end();
  await server.stop();
});

const openWith = async (projects: readonly string[]) => {
  await emptyDatabase(databases[0]);
  return addProjects(databases[0], projects);
};
const openEmpty = () => openWith(['team', 'other', 'a', 'b', 'c', 'a-a', 'a-b', 'ab', 'a1']);

repositoryStoreContract('PostgreSQL', openEmpty);
blobRecordsContract('PostgreSQL', openEmpty);
uploadRecordsContract('PostgreSQL', openEmpty);
userRecordsContract('PostgreSQL', openEmpty);
objectStoreContract('PostgreSQL', openEmpty);
inspectionContract('PostgreSQL', openEmpty, async (db, work) => {
  const all = sql<{ readonly tablename: string }>`select tablename from pg_tables where schemaname = 'public'`;
  const { rows } = await all.execute(db);
  for (const { tablename } of rows) await sql`alter table ${sql.table(tablename)} disable trigger all`.execute(db);
  await work();
  for (const { tablename } of rows) await sql`alter table ${sql.table(tablename)} enable trigger all`.execute(db);
});
auditRecordsContract('PostgreSQL', () => openWith([]));
imageStoreContract('PostgreSQL', () => openWith(['team', 'other']));
imageSourcesContract(
  'PostgreSQL',
  () => openWith(['team']),
  (db) => new KyselyImageSources(db),
);
imagePullsContract('PostgreSQL', async (now) => {
  const db = await openWith(['hub', 'hub2']);
  return {
    pulls: new KyselyImagePulls(db),
    repositories: new KyselyRepositoryStore(db, now),
    countRows: async () => (await db.selectFrom('image_pull').selectAll().execute()).length,
    close: () => db.destroy(),
  };
});
upstreamBudgetsContract('PostgreSQL', async (now) => {
  const [here, there] = databases;
  await emptyDatabase(here);
  return {
    here: new KyselyUpstreamBudgets(here, now),
    there: new KyselyUpstreamBudgets(there, now),
    close: () => Promise.resolve(),
  };
});
