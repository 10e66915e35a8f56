import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import bcrypt from 'bcrypt';
import { LRUCache } from 'lru-cache';
import { OciError } from '../oci/errors.js';
import type { UserRecord, UserRecords } from '../metadata/user-records.js';

const cost = 10;
/** bcrypt looks at no more than this many bytes, and would take two passwords with the same beginning for one. */
const maxPasswordBytes = 72;
const maxParallelChecks = 2;
const maxWaitingChecks = 200;
const remembered = { max: 10_000, ttl: 5 * 60_000 };

/** Failures of one account from one address, and of one address whatever the account, in a window of time. */
const maxFailuresOfAccount = 10;
const maxFailuresOfAddress = 100;
const failureWindowMs = 5 * 60_000;

/** @throws {RangeError} when the password is empty or longer than bcrypt can tell apart */
export async function hashPassword(password: string): Promise<string> {
  const size = Buffer.byteLength(password);
  if (size === 0 || size > maxPasswordBytes) {
    throw new RangeError(`a password has 1 to ${maxPasswordBytes} bytes; this one has ${size}`);
  }
  return bcrypt.hash(password, cost);
}

/** A password somebody can type from a screen: 24 letters and digits, about 140 bits. */
export function generatePassword(): string {
  const letters = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';
  return Array.from(randomBytes(24), (byte) => letters[byte % letters.length]).join('');
}

/** `$2y$` (htpasswd's spelling) and `$2a$` are the same algorithm as `$2b$`, which is the name our library takes. */
export function normalizeHash(hash: string): string | undefined {
  return /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash) ? `$2b$${hash.slice(4)}` : undefined;
}

/**
 * Checks passwords of local users. bcrypt is slow on purpose, so what was found right is remembered for a few minutes
 * (as a keyed hash, and only while the user's own hash stays the same), and only a few checks run at a time: a flood of
 * guesses must not take the threads that write blobs.
 */
export class PasswordChecker {
  readonly #users: UserRecords;
  readonly #key = randomBytes(32);
  readonly #right = new LRUCache<string, Buffer>(remembered);
  /** What a name that is not there is compared with, so that it takes as long as a name that is. */
  readonly #nobody = bcrypt.hashSync(generatePassword(), cost);
  /** Failed logins by account and address, and by address alone; others of the account are not kept out. */
  readonly #failures = new LRUCache<string, number>({ max: 20_000, ttl: failureWindowMs, noUpdateTTL: true });
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(users: UserRecords) {
    this.#users = users;
  }

  /**
   * @param address of the client: after some failures, its guesses for that account are not looked at for a while
   * @returns the user, when there is one of that name with that password
   * @throws {OciError} TOOMANYREQUESTS when more checks are waiting than make sense, or too many have failed
   */
  async check(name: string, password: string, address: string): Promise<UserRecord | undefined> {
    const user = await this.#users.findUser(name);
    const proof = createHmac('sha256', this.#key)
      .update(`${user?.passwordHash ?? ''}\0${password}`)
      .digest();
    const ofAccount = `${address}\0${name}`;
    // Remembered for the address only: from elsewhere, a guess must not be tried past the limit of failures.
    const known = this.#right.get(ofAccount);
    if (user !== undefined && known !== undefined && timingSafeEqual(known, proof)) return user;
    this.#refuseAfterFailures(ofAccount, address);
    if (Buffer.byteLength(password) > maxPasswordBytes) return undefined;
    const right = await this.#inTurn(async () => {
      // Those who came at the same time may have failed in the meantime.
      this.#refuseAfterFailures(ofAccount, address);
      const isRight = await bcrypt.compare(password, user?.passwordHash ?? this.#nobody);
      if (isRight && user !== undefined) return true;
      for (const key of [ofAccount, address]) this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
      return false;
    });
    if (!right || user === undefined) return undefined;
    this.#failures.delete(ofAccount);
    this.#right.set(ofAccount, proof);
    return user;
  }

  /** Whether there is such a user makes no difference: names are counted, not users. */
  #refuseAfterFailures(ofAccount: string, address: string): void {
    const isOver =
      (this.#failures.get(ofAccount) ?? 0) >= maxFailuresOfAccount ||
      (this.#failures.get(address) ?? 0) >= maxFailuresOfAddress;
    if (!isOver) return;
    const remaining = Math.max(this.#failures.getRemainingTTL(ofAccount), this.#failures.getRemainingTTL(address));
    throw new OciError('TOOMANYREQUESTS', 'too many failed logins; try again later', {
      headers: { 'Retry-After': String(Math.max(1, Math.ceil(remaining / 1000))) },
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= maxParallelChecks) {
      if (this.#waiting.length >= maxWaitingChecks) {
        throw new OciError('TOOMANYREQUESTS', 'too many logins at once; try again in a moment', {
          headers: { 'Retry-After': '5' },
        });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
