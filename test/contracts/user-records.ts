import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { Database } from '../../src/metadata/schema.js';
import type { RefreshTokenRecord, UserRecord, UserRecords } from '../../src/metadata/user-records.js';

/**
 * Everything that any UserRecords must do.
 *
 * @param openDatabase opens an empty database, migrated
 */
export function userRecordsContract(name: string, openDatabase: () => Promise<Database>): void {
  describe(`${name} has records of users that`, () => {
    let db: Database;
    let users: UserRecords;
    beforeEach(async () => {
      db = await openDatabase();
      users = new KyselyUserRecords(db);
    });
    afterEach(() => db.destroy());

    const now = new Date('2026-01-01T00:00:00Z');
    const later = new Date('2026-02-01T00:00:00Z');
    const ada: UserRecord = { name: 'ada', passwordHash: '$2b$10$ada', role: 'admin' };
    const grace: UserRecord = { name: 'grace', passwordHash: '$2b$10$grace', role: 'user' };
    const tokenOf = (user: UserRecord, hash = `token of ${user.name}`): RefreshTokenRecord => ({
      hash,
      user: user.name,
      client: 'docker',
      expiresAt: later,
    });

    test('are found by name, exactly as it is written', async () => {
      expect(await users.addUser(ada)).toBe(true);
      expect(await users.findUser('ada')).toEqual(ada);
      expect(await users.findUser('Ada')).toBeUndefined();
      expect(await users.findUser('ad')).toBeUndefined();
    });

    test('are not replaced by adding one of the same name', async () => {
      await users.addUser(ada);
      expect(await users.addUser({ ...grace, name: 'ada' })).toBe(false);
      expect(await users.findUser('ada')).toEqual(ada);
    });

    test('are added once when several add the same name at once', async () => {
      const added = await Promise.all(Array.from({ length: 5 }, () => users.addUser(ada)));
      expect(added.filter((won) => won)).toHaveLength(1);
    });

    test('are replaced by putting one of the same name, with hash and role', async () => {
      await users.putUser(ada);
      await users.putUser({ ...grace, name: 'ada' });
      expect(await users.findUser('ada')).toEqual({ ...grace, name: 'ada' });
      expect(await users.listUsers()).toHaveLength(1);
    });

    test('are listed by name, and counted when they are administrators', async () => {
      expect(await users.listUsers()).toEqual([]);
      for (const user of [grace, ada, { ...ada, name: 'bob' }]) await users.addUser(user);
      const admins = [grace, ada, ada].filter((user) => user.role === 'admin').length;
      expect((await users.listUsers()).map((user) => user.name)).toEqual(['ada', 'bob', 'grace']);
      expect(admins).toBeGreaterThan(0);
      expect(await users.countAdmins()).toBe(admins);
    });

    test('are gone when they were removed', async () => {
      await users.addUser(ada);
      expect(await users.removeUser('ada')).toBe(true);
      expect(await users.removeUser('ada')).toBe(false);
      expect(await users.findUser('ada')).toBeUndefined();
    });

    describe('come from a file, and', () => {
      const fromFile: UserRecord = { name: 'fred', passwordHash: '$2b$10$fred', role: 'user' };
      const listed = async () => (await users.listUsers()).map((user) => user.name);

      test('are found like any other', async () => {
        expect(await users.replaceFileUsers([fromFile])).toEqual([]);
        expect(await users.findUser('fred')).toEqual(fromFile);
      });

      test('are those of the file as it was read last', async () => {
        await users.replaceFileUsers([fromFile, { ...fromFile, name: 'gone' }]);
        expect(await users.replaceFileUsers([{ ...fromFile, passwordHash: '$2b$10$new' }, grace])).toEqual([]);
        expect(await users.listUsers()).toEqual([{ ...fromFile, passwordHash: '$2b$10$new' }, grace]);
        await users.replaceFileUsers([]);
        expect(await users.listUsers()).toEqual([]);
      });

      test('leave those who were made here as they are, and name them when the file has them too', async () => {
        await users.addUser(ada);
        await users.putUser(grace);
        expect(await users.replaceFileUsers([fromFile, { ...fromFile, name: 'ada' }])).toEqual(['ada']);
        expect(await users.findUser('ada')).toEqual(ada);
        await users.replaceFileUsers([]);
        expect(await listed()).toEqual(['ada', 'grace']);
      });

      test('are in the file twice: the last line counts', async () => {
        await users.replaceFileUsers([fromFile, { ...fromFile, passwordHash: '$2b$10$second' }]);
        expect(await users.listUsers()).toEqual([{ ...fromFile, passwordHash: '$2b$10$second' }]);
      });

      test('are all taken or none', async () => {
        await users.replaceFileUsers([fromFile]);
        const broken = { ...grace, passwordHash: null } as unknown as UserRecord;
        await expect(users.replaceFileUsers([{ ...fromFile, name: 'new' }, broken])).rejects.toThrow();
        expect(await listed()).toEqual(['fred']);
      });

      test('have refresh tokens until they leave or their password changes, and keep them otherwise', async () => {
        await users.replaceFileUsers([fromFile, grace]);
        await users.addUser(ada);
        for (const user of [fromFile, grace, ada]) await users.addRefreshToken(tokenOf(user));
        const known = async () => {
          const found: string[] = [];
          for (const { name } of [fromFile, grace, ada]) {
            if ((await users.findRefreshToken(`token of ${name}`, now)) !== undefined) found.push(name);
          }
          return found;
        };
        await users.replaceFileUsers([fromFile, grace]);
        expect(await known()).toEqual(['fred', 'grace', 'ada']);
        await users.replaceFileUsers([fromFile, { ...grace, passwordHash: '$2b$10$new' }]);
        expect(await known()).toEqual(['fred', 'ada']);
        await users.replaceFileUsers([{ ...grace, passwordHash: '$2b$10$new' }]);
        await users.replaceFileUsers([fromFile]);
        expect(await known()).toEqual(['ada']);
      });

      test('can be taken over by hand for as long as the file stays the same', async () => {
        await users.replaceFileUsers([fromFile]);
        await users.putUser({ ...fromFile, passwordHash: '$2b$10$by.hand' });
        expect(await users.findUser('fred')).toMatchObject({ passwordHash: '$2b$10$by.hand' });
        expect(await users.replaceFileUsers([fromFile])).toEqual([]);
        expect(await users.findUser('fred')).toEqual(fromFile);
      });
    });

    describe('are given refresh tokens, which', () => {
      beforeEach(async () => {
        for (const user of [ada, grace]) {
          await users.addUser(user);
          await users.addRefreshToken(tokenOf(user));
        }
      });

      test('are found by their hash until they expire', async () => {
        expect(await users.findRefreshToken('token of ada', now)).toEqual(tokenOf(ada));
        expect(await users.findRefreshToken('token of ada', new Date(later.getTime() - 1))).toEqual(tokenOf(ada));
        expect(await users.findRefreshToken('token of ada', later)).toBeUndefined();
        expect(await users.findRefreshToken('unknown', now)).toBeUndefined();
      });

      test('may be several for one user', async () => {
        await users.addRefreshToken(tokenOf(ada, 'second'));
        expect(await users.findRefreshToken('token of ada', now)).toBeDefined();
        expect(await users.findRefreshToken('second', now)).toBeDefined();
      });

      test('go with the password they were given for, and no other', async () => {
        await users.putUser({ ...ada, passwordHash: '$2b$10$new' });
        expect(await users.findRefreshToken('token of ada', now)).toBeUndefined();
        expect(await users.findRefreshToken('token of grace', now)).toBeDefined();
      });

      test('go with their user, also when one of that name comes again', async () => {
        await users.removeUser('ada');
        await users.addUser(ada);
        expect(await users.findRefreshToken('token of ada', now)).toBeUndefined();
        expect(await users.findRefreshToken('token of grace', now)).toBeDefined();
      });

      test('are not given to somebody who is not there', async () => {
        await expect(users.addRefreshToken(tokenOf({ ...ada, name: 'nobody' }))).rejects.toThrow();
      });

      test('are removed when they have expired', async () => {
        await users.addRefreshToken({ ...tokenOf(ada, 'old'), expiresAt: now });
        expect(await users.removeExpiredRefreshTokens(new Date(now.getTime() - 1))).toBe(0);
        expect(await users.removeExpiredRefreshTokens(now)).toBe(1);
        expect(await users.removeExpiredRefreshTokens(now)).toBe(0);
        expect(await users.findRefreshToken('token of ada', now)).toBeDefined();
      });
    });
  });
}
