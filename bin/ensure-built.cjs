'use strict';
// In a checkout, `weir` installs its packages and compiles itself when they are missing or out of date, so that one
// command is the whole set-up. CommonJS without dependencies, because it runs before there are any.
const { createHash } = require('node:crypto');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const installedStamp = path.join(root, 'node_modules', '.weir-installed');
const builtStamp = path.join(root, 'dist', '.weir-built');

/** A published package ships dist/ and no sources: there is nothing to install or compile. */
function isCheckout() {
  return fs.existsSync(path.join(root, 'src')) && fs.existsSync(path.join(root, 'package-lock.json'));
}

/** Installs the locked npm packages, better-sqlite3's native part included, unless that was done for this lock file. */
function ensureInstalled() {
  if (!isCheckout()) return;
  const stamp = `${hashFiles([path.join(root, 'package-lock.json')])} abi ${process.versions.modules}\n`;
  if (readIfThere(installedStamp) === stamp) return;
  say('installing packages (first start, or the lock file changed) ...');
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  say('preparing better-sqlite3 (compiled here, about a minute, where no prebuilt binary can be fetched) ...');
  run('npm', ['rebuild', 'better-sqlite3'], { ...process.env, ...nodeHeaders() });
  fs.writeFileSync(installedStamp, stamp);
}

/** Compiles src/ into dist/ unless dist/ was made from these very sources. */
function ensureBuilt() {
  if (!isCheckout()) return;
  const sources = fs.readdirSync(path.join(root, 'src'), { recursive: true, withFileTypes: true });
  const files = sources
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
  const stamp = hashFiles([
    ...files.sort(),
    ...['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => path.join(root, name)),
  ]);
  if (readIfThere(builtStamp) === stamp) return;
  say('compiling ...');
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  run(process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']);
  fs.writeFileSync(builtStamp, stamp);
}

/** node-gyp would download Node's headers; most installations of Node carry them beside the program. */
function nodeHeaders() {
  const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  return fs.existsSync(path.join(prefix, 'include', 'node', 'node.h')) ? { npm_config_nodedir: prefix } : {};
}

function hashFiles(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash.update(path.relative(root, file)).update('\0').update(fs.readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function readIfThere(file) {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined;
}

function run(command, args, env = process.env) {
  // Standard output stays the program's own: what a build says goes to standard error.
  const result = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (result.status !== 0) {
    say(`failed: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}

function say(text) {
  process.stderr.write(`weir: ${text}\n`);
}

module.exports = { ensureInstalled, ensureBuilt };
