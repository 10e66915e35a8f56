// Installs the programs of tools.json that are missing or were installed from another pin.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { builtKubectl, findProgram, findRecentKubectl, goBin, goTool, pins, pythonEnvironment } from './tools.mjs';

/**
 * Installs what it can and says on standard output what it does.
 *
 * @returns for each program that is still missing, why
 */
export function installTools() {
  const reasons = new Map([
    ...installDebianPackages(),
    ...installGoPrograms(),
    ...installKubectl(),
    ...installPythonEnvironments(),
  ]);
  const wanted = [...Object.keys(pins.debian), ...Object.keys(pins.go), 'kubectl', ...Object.keys(pins.python)];
  const missing = wanted.filter((name) => !findProgram(name));
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
  const isInstalled = run('sh', ['-c', `${withoutStartingServices}\napt-get update\n${install}`], { env: environment });
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
    const stampFile = goStamp(name);
    if (findProgram(name) && isStamped(stampFile, pin)) continue;
    const reason = whyGoInstallFails(name, pin);
    if (reason) {
      // A program of another version than the pinned one would be worse than none.
      rmSync(goTool(name), { force: true });
      reasons.set(name, reason);
      continue;
    }
    writeStamp(stampFile, pin);
  }
  return reasons;
}

const withoutGo = 'Go is not on the PATH; install Go 1.26.7 or later: https://go.dev/doc/install';

function whyGoInstallFails(name, pin) {
  if (!findProgram('go')) return withoutGo;
  const start = Date.now();
  console.log(`go install ${pin} ...`);
  const isInstalled = run('go', ['install', pin], { env: { ...process.env, GOBIN: goBin } });
  console.log(`${name}: ${isInstalled ? 'installed' : 'FAILED'}, ${seconds(start)}`);
  return isInstalled ? undefined : `go install ${pin} failed`;
}

/** Only where the PATH has none, or one that is too old. */
function installKubectl() {
  const version = pins.kubectl.source;
  if (findRecentKubectl() || (findProgram('kubectl') && isStamped(goStamp('kubectl'), version))) return [];
  const reason = whyKubectlFails(version);
  if (reason) {
    rmSync(builtKubectl, { force: true });
    return [['kubectl', reason]];
  }
  writeStamp(goStamp('kubectl'), version);
  return [];
}

/**
 * `go install` refuses kubectl, whose module finds its staging modules in its own source tree. A module of ours says
 * instead where they are published: k8s.io/kubernetes v1.36.3 goes with version v0.36.3 of each.
 */
function whyKubectlFails(version) {
  if (!findProgram('go')) return withoutGo;
  const start = Date.now();
  console.log(`go build k8s.io/kubernetes/cmd/kubectl@${version} (minutes) ...`);
  // Of its own, lest Go takes it for a part of a module further up.
  const directory = path.join(path.dirname(goBin), 'kubectl');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const where = { cwd: directory, env: { ...process.env, GOWORK: 'off' } };
  const download = spawnSync('go', ['mod', 'download', '-json', `k8s.io/kubernetes@${version}`], {
    ...where,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (download.status !== 0) return `go mod download k8s.io/kubernetes@${version} failed`;
  const itsModule = readFileSync(JSON.parse(download.stdout).GoMod, 'utf8');
  const staging = [...itsModule.matchAll(/^\s*(k8s\.io\/\S+) => \.\/staging\//gm)].map(([, name]) => name);
  const ownModule = [
    'module kubectl',
    /^go \S+$/m.exec(itsModule)?.[0],
    `require k8s.io/kubernetes ${version}`,
    ...staging.map((name) => `replace ${name} => ${name} ${version.replace(/^v1\./, 'v0.')}`),
  ];
  writeFileSync(path.join(directory, 'go.mod'), `${ownModule.join('\n')}\n`);
  const versionFlag = `-X k8s.io/component-base/version.gitVersion=${version}`;
  const options = ['-mod=mod', '-buildvcs=false', '-ldflags', versionFlag, '-o', builtKubectl];
  const isBuilt = run('go', ['build', ...options, 'k8s.io/kubernetes/cmd/kubectl'], where);
  console.log(`kubectl: ${isBuilt ? 'built' : 'FAILED'}, ${seconds(start)}`);
  return isBuilt ? undefined : `go build k8s.io/kubernetes/cmd/kubectl of ${version} failed`;
}

function installPythonEnvironments() {
  const reasons = new Map();
  for (const [name, packages] of Object.entries(pins.python)) {
    const { directory, stampFile } = pythonEnvironment(name);
    const stamp = `${packages.join('\n')}\n${pythonVersion()}`;
    if (findProgram(name) && isStamped(stampFile, stamp)) continue;
    rmSync(directory, { recursive: true, force: true });
    const reason = whyPythonEnvironmentFails(name, packages);
    if (reason) reasons.set(name, reason);
    // Inside the environment, and last: one without it is incomplete.
    else writeStamp(stampFile, stamp);
  }
  return reasons;
}

function whyPythonEnvironmentFails(name, packages) {
  if (!findProgram('python3')) return 'python3 is not on the PATH';
  const start = Date.now();
  const { directory, python } = pythonEnvironment(name);
  console.log(`pip install ${packages.join(' ')} ...`);
  const create = () => run('python3', ['-m', 'venv', '--clear', directory]);
  // Debian has what fills an environment in a package of its own.
  if (!create()) {
    const reason = whyPackagesFail(['python3-venv']);
    if (reason) return reason;
    if (!create()) return `python3 -m venv ${directory} failed`;
  }
  const install = ['-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check', ...packages];
  const isInstalled = run(python, install);
  console.log(`${name}: ${isInstalled ? 'installed' : 'FAILED'}, ${seconds(start)}`);
  return isInstalled ? undefined : `pip install ${packages.join(' ')} failed`;
}

/** A virtual environment serves only the Python that made it. */
function pythonVersion() {
  const python = findProgram('python3');
  return python ? spawnSync(python, ['--version'], { encoding: 'utf8' }).stdout.trim() : '';
}

function goStamp(name) {
  return path.join(path.dirname(goBin), 'stamps', name);
}

function isStamped(stampFile, stamp) {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
}

function writeStamp(stampFile, stamp) {
  mkdirSync(path.dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, stamp);
}

function run(command, args, options = {}) {
  return spawnSync(command, args, { ...options, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

function seconds(start) {
  return `${((Date.now() - start) / 1000).toFixed(1)} s`;
}
