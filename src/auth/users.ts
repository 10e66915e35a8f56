import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import bcrypt from 'bcrypt';
import { syncFolder, writeFileDurably } from '../durable-files.js';
import type { UserRecord, UserRecords } from '../metadata/user-records.js';
import { generatePassword, hashPassword, normalizeHash } from './passwords.js';

/** The user that the first start makes. */
export const adminName = 'admin';

/** @throws {RangeError} when a user cannot have this name: it must fit into Basic credentials and not look like a system name */
export function parseUserName(name: string): string {
  if (/^[^\s:/%\p{Cc}]{1,128}$/u.test(name) && !/^system$/i.test(name)) return name;
  throw new RangeError(
    `${JSON.stringify(name)} is not a user name: expected 1 to 128 characters without spaces, ":", "/" or "%"`,
  );
}

/**
 * Makes user `admin` when nobody is an administrator, as at the first start. Of several processes that start at the same
 * time, on this machine or another, one makes it, and only its password is left in a file.
 *
 * @param passwordPath where a generated password is left, readable by its owner only
 * @returns whether `passwordPath` holds the password
 */
export async function ensureAdmin(
  users: UserRecords,
  password: string | undefined,
  passwordPath: string,
): Promise<{ readonly generated: boolean }> {
  if ((await users.countAdmins()) > 0) {
    await finishFirstStart(users, passwordPath);
    return { generated: await isAdminPassword(users, passwordPath) };
  }
  const chosen = password ?? generatePassword();
  const passwordHash = await hashPassword(chosen);
  // Not yet by its name: another process may be the one whose password counts.
  const candidate = `${passwordPath}.${randomUUID()}`;
  if (password === undefined) await writeFileDurably(candidate, `${chosen}\n`, 0o600);
  const isMade = await users.addUser({ name: adminName, passwordHash, role: 'admin' });
  if (password !== undefined) return { generated: false };
  if (isMade) await putInPlace(candidate, passwordPath);
  else await rm(candidate, { force: true });
  return { generated: isMade };
}

/** Gives the password its place that a first start left when it died after it had made the user. */
async function finishFirstStart(users: UserRecords, passwordPath: string): Promise<void> {
  const folder = dirname(passwordPath);
  const prefix = `${basename(passwordPath)}.`;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix)) continue;
    const candidate = join(folder, name);
    if (await isAdminPassword(users, candidate)) await putInPlace(candidate, passwordPath);
    else await rm(candidate, { force: true });
  }
}

/** Whether a file holds the password that user `admin` has now, which may have been changed from anywhere. */
async function isAdminPassword(users: UserRecords, path: string): Promise<boolean> {
  const admin = await users.findUser(adminName);
  if (admin === undefined || !existsSync(path)) return false;
  return bcrypt.compare((await readFile(path, 'utf8')).trim(), admin.passwordHash);
}

async function putInPlace(candidate: string, path: string): Promise<void> {
  try {
    await rename(candidate, path);
  } catch (error) {
    // Another process has done it already.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await syncFolder(dirname(path));
}

/** A line of an htpasswd file that could not be taken, and why. */
export interface RefusedLine {
  readonly line: number;
  readonly reason: string;
}

/** Reads users from an htpasswd file (`htpasswd -B`); hashes other than bcrypt are refused. */
export async function readHtpasswd(
  path: string,
  role: UserRecord['role'],
): Promise<{ readonly users: readonly UserRecord[]; readonly refused: readonly RefusedLine[] }> {
  const users: UserRecord[] = [];
  const refused: RefusedLine[] = [];
  for (const [index, text] of (await readFile(path, 'utf8')).split(/\r?\n/).entries()) {
    if (text.trim() === '' || text.startsWith('#')) continue;
    const colon = text.indexOf(':');
    const passwordHash = normalizeHash(text.slice(colon + 1).trim());
    try {
      const name = parseUserName(text.slice(0, Math.max(colon, 0)));
      if (passwordHash === undefined) throw new RangeError('the hash is not bcrypt; make it with "htpasswd -B"');
      users.push({ name, passwordHash, role });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refused.push({ line: index + 1, reason: error.message });
    }
  }
  return { users, refused };
}
