import { defineConfig } from 'vitest/config';

// Who may do what, in full: every route and resource for everybody, hostile input, and what other registries were attacked by.
const accessTests = [
  'test/auth/**/*.test.ts',
  'test/access/**/*.test.ts',
  'test/security/**/*.test.ts',
  'test/api-access.test.ts',
  'test/routes-access.test.ts',
  'test/distribution/bad-input.test.ts',
];
// Images of other registries, and other registries as they should not be: much of it is waiting.
const upstreamTests = [
  'test/upstream/**/*.test.ts',
  'test/imports/**/*.test.ts',
  'test/pullthrough/**/*.test.ts',
  'test/moving/**/*.test.ts',
  'test/cli/client/import-registry.test.ts',
  'test/distribution/archive-*.test.ts',
];
// Many random steps beside a model of what should come of them.
const modelTests = ['test/streams/stream-model.test.ts', 'test/linearizability-checker.test.ts'];
// Processes that start, stop, are killed and wait for each other's locks.
const programTests = [
  'test/faults/**/*.test.ts',
  'test/cli/program.test.ts',
  'test/serve.test.ts',
  'test/metadata/sqlite.test.ts',
];
// Against servers that others wrote: PostgreSQL, and one that speaks S3.
const serverTests = ['test/servers/**/*.test.ts'];
// What a client sees must not depend on the database.
const onPostgresTests = ['test/distribution/**/*.test.ts', 'test/streams/**/*.test.ts', 'test/kube/**/*.test.ts'];
// Several processes of the built program over one database and one store.
const replicaTests = ['test/replicas/**/*.test.ts'];

export default defineConfig({
  test: {
    // One a core: what the tests wait for is mostly the disk and the other end of a socket.
    maxWorkers: '100%',
    projects: [
      // The inner loop: rules, and the HTTP API of a registry inside the test process.
      // Loading the same modules anew for each file would take longer than the tests.
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: [...programTests, ...accessTests, ...upstreamTests, ...modelTests, ...serverTests, ...replicaTests],
          isolate: false,
          testTimeout: 20_000,
        },
      },
      { test: { name: 'access', include: accessTests, isolate: false, testTimeout: 20_000 } },
      { test: { name: 'upstream', include: upstreamTests, isolate: false, testTimeout: 60_000 } },
      { test: { name: 'model', include: modelTests, testTimeout: 900_000, hookTimeout: 60_000 } },
      { test: { name: 'servers', include: serverTests, testTimeout: 120_000, hookTimeout: 120_000 } },
      {
        test: {
          name: 'postgres',
          include: onPostgresTests,
          // Damage that only SQLite allows, and two registries on one folder.
          exclude: [
            'test/distribution/fsck.test.ts',
            'test/distribution/read-only.test.ts',
            ...modelTests,
            ...accessTests,
            ...upstreamTests,
          ],
          globalSetup: './test/support/postgres-setup.ts',
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      { test: { name: 'replicas', include: replicaTests, testTimeout: 900_000, hookTimeout: 120_000 } },
      // The built program, called, killed and traced.
      { test: { name: 'faults', include: programTests, testTimeout: 900_000, hookTimeout: 120_000 } },
      // The built program, spoken to by the official suite and by real clients.
      {
        test: {
          name: 'conformance',
          include: ['conformance/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
