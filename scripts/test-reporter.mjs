// A vitest reporter: what ran, in few words, for test.mjs. vitest's own JSON lacks the reason why a test was skipped.
import { writeFileSync } from 'node:fs';

export default class TestReporter {
  onTestRunEnd(testModules, unhandledErrors) {
    const report = { passed: 0, failed: [], skipped: [] };
    for (const testModule of testModules) addModule(report, testModule);
    for (const error of unhandledErrors) report.failed.push(`unhandled error: ${error.message}`);
    writeFileSync(process.env.WEIR_TEST_REPORT, JSON.stringify(report));
  }
}

function addModule(report, testModule) {
  const failedBefore = report.failed.length;
  for (const test of testModule.children.allTests()) {
    const name = `${testModule.relativeModuleId} > ${test.fullName}`;
    const result = test.result();
    if (result.state === 'passed') report.passed += 1;
    else if (result.state === 'failed') report.failed.push(`${name}${reasonOf(result.errors)}`);
    else report.skipped.push({ name, reason: result.note ?? `marked "${test.options.mode}"` });
  }
  // A file that does not load, or a hook that throws, fails no test: its tests count as skipped, or are not there.
  if (testModule.state() === 'failed' && report.failed.length === failedBefore) {
    report.failed.push(`${testModule.relativeModuleId} (outside of its tests)`);
  }
}

/** The beginning of what a test failed with, for a reader who has only the end of a log. */
function reasonOf(errors = []) {
  const lines = errors.flatMap(({ message, cause }) => `${message}\n${cause?.message ?? ''}`.split('\n'));
  const said = lines.filter((line) => line.trim() !== '').slice(0, reasonLines);
  return said.map((line) => `\n    ${line.slice(0, reasonWidth)}`).join('');
}

const reasonLines = 8;
const reasonWidth = 500;
