import { stat } from 'node:fs/promises';
import type { UserRecords } from '../metadata/user-records.js';
import { readHtpasswd, type RefusedLine } from './users.js';

/**
 * Users from an htpasswd file, read again whenever the file is another: who is in it can log in, and who has left it
 * cannot. Users that were made here stay as they are, and a line of the file for one of those is refused.
 */
export class HtpasswdFile {
  readonly #path: string;
  readonly #users: UserRecords;
  /** Of the file that was read last. */
  #stamp = '';

  constructor(path: string, users: UserRecords) {
    this.#path = path;
    this.#users = users;
  }

  /**
   * @returns lines that could not be taken; undefined when nothing has changed
   * @throws when the file cannot be read; the users stay as they were
   */
  async refresh(): Promise<readonly RefusedLine[] | undefined> {
    const { mtimeMs, size, ino } = await stat(this.#path);
    const stamp = `${mtimeMs} ${size} ${ino}`;
    if (stamp === this.#stamp) return undefined;
    const { users, refused } = await readHtpasswd(this.#path, 'user');
    const taken = await this.#users.replaceFileUsers(users);
    this.#stamp = stamp;
    return [...refused, ...taken.map((name) => ({ line: 0, reason: `user ${name} is not from the file` }))];
  }
}
