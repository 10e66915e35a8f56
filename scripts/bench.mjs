// npm run bench: Weir beside other registries. Here is what must be there before; bench/ does the work.
import { spawnSync } from 'node:child_process';
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
    findDistribution: () => findProgram('registry') ?? installDistribution(),
    findDockerRegistry: () => findProgram('docker-registry'),
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
function installDistribution() {
  if (!findProgram('go')) return undefined;
  console.error(`go install ${pins.go.registry} (about a minute) ...`);
  run('go', ['install', pins.go.registry], { ...process.env, GOBIN: goBin });
  return findProgram('registry');
}

function run(command, args, env = process.env) {
  // Standard output is for the table.
  return spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] }).status === 0;
}
