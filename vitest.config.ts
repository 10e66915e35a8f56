import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      // The inner loop: rules, and the HTTP API of a registry inside the test process.
      { test: { name: 'fast', include: ['test/**/*.test.ts'], exclude: ['test/faults/**'], testTimeout: 20_000 } },
      // The built program, killed and traced.
      { test: { name: 'faults', include: ['test/faults/**/*.test.ts'], testTimeout: 900_000, hookTimeout: 120_000 } },
      // The built program, spoken to by the official suite and by real clients.
      {
        test: { name: 'conformance', include: ['conformance/**/*.test.ts'], testTimeout: 600_000, hookTimeout: 300_000 },
      },
    ],
  },
});
