import type { Insertable } from 'kysely';
import { compileQuery, type RunQuery } from './compiled-query.js';
import type { Database, UserTable } from './schema.js';
import type { RefreshTokenRecord, UserRecord, UserRecords } from './user-records.js';

/** UserRecords in SQL. */
export class KyselyUserRecords implements UserRecords {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #findUser: RunQuery<UserRecord, { name: string }>;
  readonly #findCreation: RunQuery<{ created_at: number }, { name: string }>;

  constructor(db: Database, now: () => Date = () => new Date()) {
    this.#db = db;
    this.#now = now;
    this.#findCreation = compileQuery(db, (parameter) =>
      db.selectFrom('user').select('created_at').where('name', '=', parameter('name')),
    );
    this.#findUser = compileQuery(db, (parameter) => this.#selectUsers().where('name', '=', parameter('name')));
  }

  findUser(name: string): Promise<UserRecord | undefined> {
    return this.#findUser({ name });
  }

  async findCreationTime(name: string): Promise<Date | undefined> {
    const row = await this.#findCreation({ name });
    return row && new Date(row.created_at);
  }

  listUsers(): Promise<UserRecord[]> {
    return this.#selectUsers().orderBy('name').execute();
  }

  #selectUsers() {
    return this.#db.selectFrom('user').select(['name', 'password_hash as passwordHash', 'role']);
  }

  async countAdmins(): Promise<number> {
    const row = await this.#db
      .selectFrom('user')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('role', '=', 'admin')
      .executeTakeFirstOrThrow();
    return row.count;
  }

  async putUser(user: UserRecord): Promise<void> {
    await this.#db.transaction().execute(async (tx) => {
      const { name, ...changed } = this.#toRow(user);
      await tx
        .insertInto('user')
        .values({ name, ...changed })
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet({ password_hash: changed.password_hash, role: changed.role }),
        )
        .execute();
      await tx.deleteFrom('refresh_token').where('user', '=', name).execute();
    });
  }

  async replaceFileUsers(users: readonly UserRecord[]): Promise<readonly string[]> {
    const wanted = new Map(users.map((user) => [user.name, user]));
    return this.#db.transaction().execute(async (tx) => {
      const existing = await tx.selectFrom('user').select(['name', 'password_hash', 'role', 'source']).execute();
      const taken: string[] = [];
      for (const { name, password_hash, role, source } of existing) {
        const user = wanted.get(name);
        wanted.delete(name);
        if (source === 'local') {
          if (user !== undefined) taken.push(name);
        } else if (user === undefined) {
          await tx.deleteFrom('user').where('name', '=', name).execute();
        } else if (user.passwordHash !== password_hash || user.role !== role) {
          await tx
            .updateTable('user')
            .set({ password_hash: user.passwordHash, role: user.role })
            .where('name', '=', name)
            .execute();
          await tx.deleteFrom('refresh_token').where('user', '=', name).execute();
        }
      }
      for (const user of wanted.values()) {
        await tx
          .insertInto('user')
          .values({ ...this.#toRow(user), source: 'file' })
          .execute();
      }
      return taken;
    });
  }

  async addUser(user: UserRecord): Promise<boolean> {
    const { numInsertedOrUpdatedRows } = await this.#db
      .insertInto('user')
      .values(this.#toRow(user))
      .onConflict((conflict) => conflict.column('name').doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows !== 0n;
  }

  #toRow({ name, passwordHash, role }: UserRecord): Insertable<UserTable> {
    return { name, password_hash: passwordHash, role, created_at: this.#now().getTime() };
  }

  async removeUser(name: string): Promise<boolean> {
    const { numDeletedRows } = await this.#db.deleteFrom('user').where('name', '=', name).executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async addRefreshToken({ hash, user, client, expiresAt }: RefreshTokenRecord): Promise<void> {
    await this.#db
      .insertInto('refresh_token')
      .values({ hash, user, client, expires_at: expiresAt.getTime() })
      .execute();
  }

  async findRefreshToken(hash: string, now: Date): Promise<RefreshTokenRecord | undefined> {
    const row = await this.#db
      .selectFrom('refresh_token')
      .selectAll()
      .where('hash', '=', hash)
      .where('expires_at', '>', now.getTime())
      .executeTakeFirst();
    return row && { hash: row.hash, user: row.user, client: row.client, expiresAt: new Date(row.expires_at) };
  }

  async removeExpiredRefreshTokens(now: Date): Promise<number> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('refresh_token')
      .where('expires_at', '<=', now.getTime())
      .executeTakeFirst();
    return Number(numDeletedRows);
  }
}
