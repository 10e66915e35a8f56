// npm run bench: Weir beside other registries. Here is what must be there before; bench/ does the work.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { findProgram, goBin, pins, root } from './tools.mjs';

const { ensureInstalled, ensureBuilt } = createRequire(import.meta.url)('../bin/ensure-built.cjs');

ensureInstalled();
compileBench();
const { main } = await import(pathToFileURL(path.join(root, '.cache', 'bench', 'main.js')).href);
try {
  process.exitCode = await main(process.argv.slice(2), {
    checkout: root,
    buildWeir: ensureBuilt,
    findDistribution: () => findProgram('registry') ?? install('registry'),
    findDockerRegistry: () => findProgram('docker-registry'),
    findPostgres,
    findS3Server: () => findProgram('versitygw') ?? install('versitygw'),
  });
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}

function compileBench() {
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const compiled = run(process.execPath, [tsc, '-p', path.join(root, 'bench', 'tsconfig.json')]);
  if (!compiled) process.exit(1);
}

/** Only this one of the pinned programs: the tests' tools take minutes to build. */
function install(name) {
  if (!findProgram('go')) return undefined;
  console.error(`go install ${pins.go[name]} (about a minute) ...`);
  run('go', ['install', pins.go[name]], { ...process.env, GOBIN: goBin });
  return findProgram(name);
}

/** Debian keeps the server's programs beside the PATH, in a folder for each version: the newest. */
function findPostgres() {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = versions.map((version) => path.join(debian, version, 'bin'));
  const onPath = findProgram('initdb');
  if (onPath !== undefined) folders.push(path.dirname(onPath));
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => existsSync(path.join(folder, name))));
}

function run(command, args, env = process.env) {
  // Standard output is for the table.
  return spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] }).status === 0;
}
