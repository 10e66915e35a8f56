/** A local user. */
export interface UserRecord {
  readonly name: string;
  /** bcrypt, `$2b$`. */
  readonly passwordHash: string;
  readonly role: 'admin' | 'user';
}

/** A refresh token, by the hash of its secret. */
export interface RefreshTokenRecord {
  readonly hash: string;
  readonly user: string;
  /** The `client_id` it was given to. */
  readonly client: string;
  readonly expiresAt: Date;
}

/** Local users and the refresh tokens they were given. */
export interface UserRecords {
  findUser(name: string): Promise<UserRecord | undefined>;
  /** When the user of that name was made; undefined when there is none. */
  findCreationTime(name: string): Promise<Date | undefined>;
  listUsers(): Promise<UserRecord[]>;
  countAdmins(): Promise<number>;

  /** Adds a user, or replaces one of that name together with every refresh token given to the old password. */
  putUser(user: UserRecord): Promise<void>;

  /**
   * Makes the users that come from a file these, whatever they were before; who has left is gone with their refresh
   * tokens.
   *
   * @returns names that users made here have already; they stay as they are
   */
  replaceFileUsers(users: readonly UserRecord[]): Promise<readonly string[]>;

  /** Adds a user. @returns false when there is one of that name */
  addUser(user: UserRecord): Promise<boolean>;

  /** Removes a user and their refresh tokens. @returns false when there is none */
  removeUser(name: string): Promise<boolean>;

  addRefreshToken(token: RefreshTokenRecord): Promise<void>;

  /** The token, unless it has expired. */
  findRefreshToken(hash: string, now: Date): Promise<RefreshTokenRecord | undefined>;

  /** @returns how many expired ones were removed */
  removeExpiredRefreshTokens(now: Date): Promise<number>;
}
