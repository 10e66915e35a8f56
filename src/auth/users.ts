import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { writeFileDurably } from '../durable-files.js';
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
 * Makes user `admin` when nobody is an administrator, as at the first start.
 *
 * @param passwordPath where a generated password is left, readable by its owner only
 * @returns whether `passwordPath` holds the password
 */
export async function ensureAdmin(
  users: UserRecords,
  password: string | undefined,
  passwordPath: string,
): Promise<{ readonly generated: boolean }> {
  if ((await users.countAdmins()) > 0) return { generated: existsSync(passwordPath) };
  // A file left by a first start that died holds a password nobody could have used.
  const chosen = password ?? generatePassword();
  if (password === undefined) await writeFileDurably(passwordPath, `${chosen}\n`, 0o600);
  await users.addUser({ name: adminName, passwordHash: await hashPassword(chosen), role: 'admin' });
  return { generated: password === undefined };
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
