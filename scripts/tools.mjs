// The foreign programs that the tests and the benchmark run: where they are. Their pins stand in tools.json.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** The checkout. */
export const root = path.dirname(import.meta.dirname);

/** The pins: for each Debian program its package (in order of preference), for each Go program `path@version`. */
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

/** The program's path, or `undefined` where it is not installed. A pinned Go program is looked for in its own place only. */
export function findProgram(name) {
  if (Object.hasOwn(pins.go, name)) return isExecutable(goTool(name)) ? goTool(name) : undefined;
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
