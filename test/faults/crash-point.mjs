// Loaded before Weir (node --import): ends the process with SIGKILL at one chosen point of its work, so that what a
// crash there leaves behind can be looked at. WEIR_TEST_CRASH_AT names the point; crash-points.test.ts lists them.
import fs from 'node:fs';
import { ServerResponse } from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const Database = createRequire(process.argv[1])('better-sqlite3');
const point = process.env.WEIR_TEST_CRASH_AT;

function reach(name) {
  if (name !== point) return;
  process.kill(process.pid, 'SIGKILL');
  // Until the signal is delivered nothing more may happen.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const handle = await fs.promises.open(process.execPath);
const fileHandle = Object.getPrototypeOf(handle);
await handle.close();
const kinds = new WeakMap();

const { open, rename, rm } = fs.promises;
fs.promises.open = async (file, ...rest) => {
  const opened = await open(file, ...rest);
  kinds.set(opened, kindOf(String(file)));
  return opened;
};
fs.promises.rename = async (from, to) => {
  if (kindOf(String(to)) === undefined) return rename(from, to);
  reach('before the rename');
  await rename(from, to);
  reach('after the rename');
};
fs.promises.rm = async (file, options) => {
  if (kindOf(String(file)) === 'upload') reach('before an upload is removed');
  await rm(file, options);
  if (kindOf(String(file)) === 'upload') reach('after an upload is removed');
};
syncBuiltinESMExports();

const { sync } = fileHandle;
fileHandle.sync = async function () {
  const kind = kinds.get(this);
  if (kind !== undefined) reach(`before the sync of the ${kind}`);
  await sync.call(this);
  if (kind !== undefined) reach(`after the sync of the ${kind}`);
};

const { prepare } = Database.prototype;
Database.prototype.prepare = function (sql) {
  const statement = prepare.call(this, sql);
  // Look-ups have a connection and transactions of their own, in which nothing is committed.
  if (this.readonly) return statement;
  const name = /^insert into "(blob|repository_blob|image|tag|tag_event)"/.exec(sql)?.[1];
  const kind = name === undefined ? /^(commit)/.exec(sql)?.[1] : `row in ${name}`;
  if (kind === undefined) return statement;
  for (const method of ['all', 'run']) {
    const original = statement[method];
    statement[method] = function (...parameters) {
      if (isPushing) reach(`before the ${kind}`);
      const result = original.apply(this, parameters);
      if (isPushing) reach(`after the ${kind}`);
      return result;
    };
  }
  return statement;
};

// The database is written at the start as well.
let isPushing = false;
const { writeHead } = ServerResponse.prototype;
ServerResponse.prototype.writeHead = function (status, ...rest) {
  if (status === 202) isPushing = true;
  if (status === 201) reach('before the answer');
  return writeHead.call(this, status, ...rest);
};

/** What of the blob store a path is. */
function kindOf(file) {
  const parent = path.basename(path.dirname(file));
  if (parent === 'uploads' && /^[0-9a-f]{40}$/.test(path.basename(file))) return 'upload';
  if (parent === 'blobs' && /^[0-9a-f]{2}$/.test(path.basename(file))) return 'folder';
  if (/^[0-9a-f]{2}$/.test(parent) && /^[0-9a-f]{40}$/.test(path.basename(file))) return 'blob';
  return undefined;
}
