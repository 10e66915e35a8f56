import { randomUUID } from 'node:crypto';
import { KyselyObjectStore } from '../../src/metadata/kysely-object-store.js';
import { namespacesResource } from '../../src/metadata/object-store.js';
import type { Database } from '../../src/metadata/schema.js';

/**
 * Makes projects in an empty database, bare of roles: something to put repositories and objects into.
 *
 * @param lookups by which they are found
 */
export async function addProjects(
  db: Database,
  names: readonly string[],
  lookups: readonly string[] = [],
): Promise<Database> {
  const result = await new KyselyObjectStore(db).commit(
    names.map((name) => ({
      kind: 'create',
      resource: namespacesResource,
      lookups,
      object: {
        metadata: { name, uid: randomUUID(), creationTimestamp: '2026-01-01T00:00:00Z' },
        status: { phase: 'Active' },
      },
    })),
  );
  if (result.kind === 'refused') throw new Error(`no projects: ${result.reason}`);
  return db;
}
