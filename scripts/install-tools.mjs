// Installs the programs of tools.json that are missing or were installed from another pin.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findProgram, goBin, goTool, pins } from './tools.mjs';

/**
 * Installs what it can and says on standard output what it does.
 *
 * @returns for each program that is still missing, why
 */
export function installTools() {
  const reasons = new Map([...installDebianPackages(), ...installGoPrograms()]);
  const missing = [...Object.keys(pins.debian), ...Object.keys(pins.go)].filter((name) => !findProgram(name));
  return missing.map((name) => ({ name, reason: reasons.get(name) ?? 'its package does not provide it' }));
}

function installDebianPackages() {
  const reasons = new Map();
  // A program's second package is tried only where the first one was installed and did not bring it.
  for (const choice of [0, 1]) {
    const wanted = Object.keys(pins.debian).filter((name) => !findProgram(name) && !reasons.has(name));
    const missing = wanted.filter((name) => pins.debian[name].length > choice);
    const packages = [...new Set(missing.map((name) => pins.debian[name][choice]))];
    const reason = packages.length > 0 && whyPackagesFail(packages);
    if (reason) for (const name of missing) reasons.set(name, reason);
  }
  return reasons;
}

function whyPackagesFail(packages) {
  const install = ['apt-get', 'install', '--yes', '--no-install-recommends', ...packages].join(' ');
  if (!existsSync('/usr/bin/apt-get')) return `no apt-get here; install by other means: ${packages.join(' ')}`;
  if (process.getuid() !== 0) return `not root; run: sudo ${install}`;
  const start = Date.now();
  console.log(install);
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const isInstalled = run('sh', ['-c', `${withoutStartingServices}\napt-get update\n${install}`], environment);
  console.log(`apt-get: ${isInstalled ? 'installed' : 'FAILED'}, ${seconds(start)}`);
  return isInstalled ? undefined : `${install}: failed`;
}

/**
 * Debian starts a service as soon as its package is installed, unless this script answers 101, "action forbidden". The
 * shell removes it and not this program, because the shell still does so when the user interrupts both.
 */
const withoutStartingServices = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod +x $policy
fi`;

function installGoPrograms() {
  const reasons = new Map();
  for (const [name, pin] of Object.entries(pins.go)) {
    const stampFile = path.join(path.dirname(goBin), 'stamps', name);
    if (findProgram(name) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === pin) continue;
    const reason = whyGoInstallFails(name, pin);
    if (reason) {
      // A program of another version than the pinned one would be worse than none.
      rmSync(goTool(name), { force: true });
      reasons.set(name, reason);
      continue;
    }
    mkdirSync(path.dirname(stampFile), { recursive: true });
    writeFileSync(stampFile, pin);
  }
  return reasons;
}

function whyGoInstallFails(name, pin) {
  if (!findProgram('go')) return 'Go is not on the PATH; install Go 1.26.7 or later: https://go.dev/doc/install';
  const start = Date.now();
  console.log(`go install ${pin} ...`);
  const isInstalled = run('go', ['install', pin], { ...process.env, GOBIN: goBin });
  console.log(`${name}: ${isInstalled ? 'installed' : 'FAILED'}, ${seconds(start)}`);
  return isInstalled ? undefined : `go install ${pin} failed`;
}

function run(command, args, env) {
  return spawnSync(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

function seconds(start) {
  return `${((Date.now() - start) / 1000).toFixed(1)} s`;
}
