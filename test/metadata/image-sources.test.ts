import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { KyselyImageSources } from '../../src/metadata/kysely-image-sources.js';
import type { Database } from '../../src/metadata/schema.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { imageSourcesContract } from '../contracts/image-sources.js';
import { addProjects } from '../support/projects.js';

let folder: string;
let db: Database | undefined;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterEach(() => db?.destroy());
afterAll(() => rm(folder, { recursive: true, force: true }));

imageSourcesContract(
  'SQLite',
  async () => (db = await addProjects(await openSqlite(join(folder, `${(files += 1)}.sqlite`)), ['team'])),
  (database) => new KyselyImageSources(database),
);
