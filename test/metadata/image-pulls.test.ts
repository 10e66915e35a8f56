import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompiledQuery, createQueryId, type RootOperationNode } from 'kysely';
import { describe, expect, test } from 'vitest';
import type { ImagePulls } from '../../src/metadata/image-pulls.js';
import { KyselyImagePulls } from '../../src/metadata/kysely-image-pulls.js';
import { KyselyRepositoryStore } from '../../src/metadata/kysely-repository-store.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { imagePullsContract } from '../contracts/image-pulls.js';
import { app, imagePush } from '../contracts/pushes.js';
import { addProjects } from '../support/projects.js';
import { temporaryFolder } from '../support/temporary-folder.js';

imagePullsContract('SQLite', async (now) => {
  const folder = await mkdtemp(join(tmpdir(), 'weir-test-'));
  const db = await addProjects(await openSqlite(join(folder, 'weir.sqlite')), ['hub', 'hub2']);
  return {
    pulls: new KyselyImagePulls(db),
    repositories: new KyselyRepositoryStore(db, now),
    countRows: async () => (await db.selectFrom('image_pull').selectAll().execute()).length,
    close: async () => {
      await db.destroy();
      await rm(folder, { recursive: true });
    },
  };
});

describe('SQLite finds', () => {
  const before = new Date('2027-01-01T00:00:00Z');
  const { digest } = imagePush({ tags: ['v1'] });

  test.each<{ readonly name: string; readonly run: (pulls: ImagePulls) => Promise<unknown> }>([
    {
      name: 'images that nobody pulls',
      run: (pulls) => pulls.listUnpulled('team', before, { after: undefined, limit: 10 }),
    },
    {
      name: 'a later page of them',
      run: (pulls) => pulls.listUnpulled('team', before, { after: { repository: app, image: digest }, limit: 10 }),
    },
    { name: 'a pull', run: (pulls) => pulls.record([{ repository: app, image: digest, at: before }]) },
    { name: 'pulls of what has left', run: (pulls) => pulls.forgetUnlinked('team', 10) },
  ])('$name by an index, and sorts nothing', async ({ run }) => {
    const db = await addProjects(await openSqlite(join(await temporaryFolder(), 'weir.sqlite')), ['team']);
    await new KyselyRepositoryStore(db).putManifest(imagePush({ tags: ['v1'] }));
    const executed: RootOperationNode[] = [];
    const recorded = db.withPlugin({
      transformQuery: ({ node }) => {
        executed.push(node);
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await run(new KyselyImagePulls(recorded));
    expect(executed.length).toBeGreaterThan(0);
    for (const node of executed.filter(({ kind }) => kind !== 'InsertQueryNode')) {
      const { sql, parameters } = db.getExecutor().compileQuery(node, createQueryId());
      const explained = CompiledQuery.raw(`explain query plan ${sql}`, [...parameters]);
      const { rows } = await db.executeQuery<{ readonly detail: string }>(explained);
      const steps = rows.map((row) => row.detail);
      expect(steps.length, sql).toBeGreaterThan(0);
      expect(
        steps.filter((step) => step.startsWith('SCAN') || step.includes('TEMP B-TREE')),
        sql,
      ).toEqual([]);
    }
    await db.destroy();
  });
});
