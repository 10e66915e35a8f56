import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { imageStoreContract } from '../contracts/image-store.js';
import { addProjects } from '../support/projects.js';

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

imageStoreContract('SQLite', async () =>
  addProjects(await openSqlite(join(folder, `${(files += 1)}.sqlite`)), ['team', 'other']),
);
