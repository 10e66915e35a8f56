// The foreign programs that the tests and the benchmark run: where they are. Their pins stand in tools.json.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** The checkout. */
export const root = path.dirname(import.meta.dirname);

/**
 * The pins: for each Debian program its package (in order of preference), for each Go program `path@version`, for each
 * Python its packages; of kubectl the oldest version that will do and the one that is built where there is none.
 */
export const pins = JSON.parse(readFileSync(new URL('tools.json', import.meta.url), 'utf8'));

/** Where the Go programs are installed; inside the checkout, so that no other version on the PATH is taken for them. */
export const goBin = path.join(root, '.cache', 'go', 'bin');

/**
 * Where the pinned Go program is, or will be once it is installed.
 *
 * @throws {Error} when tools.json does not pin it
 */
export function goTool(name) {
  if (!Object.hasOwn(pins.go, name)) throw new Error(`${name} is not among the Go programs of scripts/tools.json`);
  return path.join(goBin, name);
}

/** Where kubectl is once it was built here. */
export const builtKubectl = path.join(goBin, 'kubectl');

/** The virtual environment of a pinned Python: its directory, its interpreter, and the file that says what is in it. */
export function pythonEnvironment(name) {
  const directory = path.join(root, '.cache', 'python', name);
  return { directory, python: path.join(directory, 'bin', 'python'), stampFile: path.join(directory, 'installed') };
}

/**
 * The program's path, or `undefined` where it is not installed. A pinned Go program or Python is looked for in its own
 * place only; a kubectl on the PATH must not be too old.
 */
export function findProgram(name) {
  if (Object.hasOwn(pins.go, name)) return isExecutable(goTool(name)) ? goTool(name) : undefined;
  if (Object.hasOwn(pins.python, name)) {
    const { python, stampFile } = pythonEnvironment(name);
    return existsSync(stampFile) && isExecutable(python) ? python : undefined;
  }
  if (name === 'kubectl') return findRecentKubectl() ?? (isExecutable(builtKubectl) ? builtKubectl : undefined);
  return findOnPath(name);
}

/** The kubectl on the PATH, unless it is older than its pin. */
export function findRecentKubectl() {
  const program = findOnPath('kubectl');
  if (program === undefined) return undefined;
  if (!kubectlAges.has(program)) kubectlAges.set(program, isRecentKubectl(program));
  return kubectlAges.get(program) ? program : undefined;
}

/** Asked once: tests look for their programs again and again. */
const kubectlAges = new Map();

function isRecentKubectl(program) {
  const { stdout } = spawnSync(program, ['version', '--client', '--output=json'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  const [major, minor] = releaseOf(/"gitVersion": *"([^"]+)"/.exec(stdout ?? '')?.[1]);
  const [oldestMajor, oldestMinor] = releaseOf(pins.kubectl.oldest);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

/** `v1.32.4-dispatcher` is [1, 32]; what is no version is older than any. */
function releaseOf(version = '') {
  const [, major = 0, minor = 0] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  return [Number(major), Number(minor)];
}

function findOnPath(name) {
  return searchPath
    .split(path.delimiter)
    .map((directory) => path.join(directory, name))
    .find(isExecutable);
}

/** The PATH with the directories of system programs (dockerd, newuidmap), which a user's own PATH may lack. */
export const searchPath = [process.env.PATH ?? '', '/usr/sbin', '/sbin'].filter(Boolean).join(path.delimiter);

/** On a build server nothing may be left out quietly: what would be skipped elsewhere is a failure there. */
export const isBuildServer = !['', '0', 'false'].includes(process.env.CI ?? '');

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
