import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres.js';

/** Gives the tests of a project a PostgreSQL server: every registry they start has a database of its own there. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres();
  project.provide('databaseServer', server.url);
  return () => server.stop();
}
