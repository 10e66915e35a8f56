// npm test: installs all that the tests need, runs everything, and ends with "N passed, N failed, N skipped".
// With --fast only the tests that need no foreign program. Plain JavaScript on Node alone: it runs before npm install.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { installTools } from './install-tools.mjs';
import { isBuildServer, root } from './tools.mjs';

const { ensureInstalled, ensureBuilt } = createRequire(import.meta.url)('../bin/ensure-built.cjs');
const isFast = process.argv.includes('--fast');
// oc is published neither as a package nor as a Go module that can be installed: those who have built one name it in
// WEIR_TEST_OC. To others its tests are not skipped, they are none of theirs.
const withoutOc = process.env.WEIR_TEST_OC
  ? []
  : ['oc', 'oc-import', 'oc-streams'].flatMap((name) => ['--exclude', `conformance/${name}.test.ts`]);
const passed = { count: 0 };
const failed = [];
const skipped = [];

// In a handler, because installing or building ends the process when it fails: the last line is printed even then.
let currentStep = 'start';
process.on('exit', () => {
  if (currentStep) failed.push(`${currentStep} did not finish`);
  printResult();
});

step('install packages', () => ensureInstalled());
step('build', () => ensureBuilt());
if (!isFast) step('foreign programs', checkTools);
if (!isFast) {
  step('lint', () => checkCommand('lint', ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings', '0']));
  step('format', () => checkCommand('format', ['node_modules/prettier/bin/prettier.cjs', '--check', '.']));
  step('types', () => checkCommand('types', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']));
}
step('tests: fast', () => runTests('fast'));
if (!isFast) step('tests: access', () => runTests('access'));
if (!isFast) step('tests: upstream', () => runTests('upstream'));
if (!isFast) step('tests: model', () => runTests('model'));
if (!isFast) step('tests: servers', () => runTests('servers'));
if (!isFast) step('tests: the same on PostgreSQL', () => runTests('postgres'));
if (!isFast) {
  // One after the other, and file by file: these start servers and time them, and would disturb each other.
  step('tests: conformance', () => runTests('conformance', ['--no-file-parallelism', ...withoutOc]));
  step('tests: faults', () => runTests('faults', ['--no-file-parallelism']));
  step('tests: replicas', () => runTests('replicas', ['--no-file-parallelism']));
}

function step(name, work) {
  currentStep = name;
  const start = Date.now();
  console.log(`\n== ${name}`);
  work();
  console.log(`== ${name}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
  currentStep = undefined;
}

function checkTools() {
  const missing = installTools();
  if (missing.length === 0) passed.count += 1;
  for (const { name, reason } of missing) {
    if (isBuildServer) failed.push(`${name} is missing: ${reason}`);
    else skipped.push({ name: `all that needs ${name}`, reason });
  }
}

function checkCommand(name, args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  if (result.status === 0) {
    passed.count += 1;
    return;
  }
  failed.push(name);
  console.log(`${result.stdout}${result.stderr}${result.error ?? ''}`);
}

function runTests(project, options = []) {
  const reportFile = path.join(root, '.cache', `tests-${project}.json`);
  mkdirSync(path.dirname(reportFile), { recursive: true });
  rmSync(reportFile, { force: true });
  const reporters = ['--reporter=default', '--reporter=./scripts/test-reporter.mjs'];
  const result = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--project', project, ...reporters, ...options],
    { cwd: root, env: { ...process.env, WEIR_TEST_REPORT: reportFile }, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const failedBefore = failed.length;
  const report = readReport(reportFile);
  passed.count += report.passed;
  failed.push(...report.failed);
  skipped.push(...report.skipped);
  if (report.passed + report.failed.length + report.skipped.length === 0) failed.push(`project ${project} ran no test`);
  else if (result.status !== 0 && failed.length === failedBefore) failed.push(`project ${project} (vitest failed)`);
}

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { passed: 0, failed: [], skipped: [] };
  }
}

function printResult() {
  if (skipped.length > 0) console.log('\nSkipped:');
  for (const { name, reason } of skipped) console.log(`  ${name}\n    ${reason}`);
  if (isBuildServer && skipped.length > 0) failed.push('something was skipped, which a build server must not do');
  if (failed.length > 0) console.log('\nFailed:');
  for (const name of failed) console.log(`  ${name}`);
  if (failed.length > 0 || passed.count === 0) process.exitCode = 1;
  console.log(`\n${passed.count} passed, ${failed.length} failed, ${skipped.length} skipped`);
}
