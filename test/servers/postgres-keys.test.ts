import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.js';
import { RegistryTokens } from '../../src/auth/tokens.js';
import { ensureAdmin } from '../../src/auth/users.js';
import { UnreadableKeyError } from '../../src/metadata/key-records.js';
import { KyselyKeyRecords } from '../../src/metadata/kysely-key-records.js';
import { KyselyUserRecords } from '../../src/metadata/kysely-user-records.js';
import type { OpenedDatabase } from '../../src/metadata/opened-database.js';
import { openPostgres } from '../../src/metadata/postgres.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { CertificateAuthority } from '../../src/tls/certificate-authority.js';
import { keyRecordsContract } from '../contracts/key-records.js';
import { emptyDatabase, startPostgres, type TestPostgres } from '../support/postgres.js';
import { temporaryFolder } from '../support/temporary-folder.js';

let server: TestPostgres;
let replicas: readonly OpenedDatabase[];
beforeAll(async () => {
  server = await startPostgres();
  const url = await server.createDatabase();
  replicas = await Promise.all([1, 2, 3].map(() => openPostgres(url, { poolSize: 4 })));
});
afterAll(async () => {
  await Promise.all(replicas.map(({ db }) => db.destroy()));
  await server.stop();
});

const box = new SecretBox([randomBytes(32)]);

keyRecordsContract('PostgreSQL', async () => {
  await emptyDatabase(replicas[0]!.db);
  const [here, there, other] = replicas.map(({ db }) => new KyselyKeyRecords(db, box));
  return {
    here: here!,
    there: there!,
    concurrent: [here!, there!, other!],
    close: () => Promise.resolve(),
  };
});

describe('replicas that start at the same time on an empty PostgreSQL database', () => {
  beforeEach(() => emptyDatabase(replicas[0]!.db));

  test('sign with one key, and take the tokens of each other', async () => {
    const all = await Promise.all(
      replicas.map(({ db, now }) => SigningKeys.open(new KyselyKeyRecords(db, box), 'registry-tokens', { now })),
    );
    const ids = await Promise.all(all.map(async (keys) => (await keys.current()).id));
    expect(new Set(ids).size).toBe(1);
    const tokens = all.map((keys, index) => new RegistryTokens(keys, 300, replicas[index]!.now));
    const { token } = await tokens[0]!.issue({ name: 'ada', basis: { kind: 'nobody' } }, []);
    for (const each of tokens) expect(await each.verify(token)).toBeDefined();
  });

  test('have one certificate authority', async () => {
    const paths = await Promise.all(
      replicas.map(async ({ db, now }) => {
        const keys = new KyselyKeyRecords(db, box);
        const authority = new CertificateAuthority(join(await temporaryFolder(), 'tls'), { keys, now });
        await authority.serverCertificate(['localhost']);
        return authority.certificatePath;
      }),
    );
    const certificates = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
    expect(new Set(certificates).size).toBe(1);
  });

  test('make one administrator, whose password is told where it counts', async () => {
    const paths = await Promise.all(replicas.map(async () => join(await temporaryFolder(), 'admin-password')));
    const results = await Promise.all(
      replicas.map(({ db, now }, index) => ensureAdmin(new KyselyUserRecords(db, now), undefined, paths[index]!)),
    );
    const told = paths.filter((_path, index) => results[index]!.generated);
    expect(told).toHaveLength(1);
    const admin = await new KyselyUserRecords(replicas[0]!.db).findUser('admin');
    expect(await bcrypt.compare((await readFile(told[0]!, 'utf8')).trim(), admin!.passwordHash)).toBe(true);
  });

  test('do not start when their secrets keys are not those of the others', async () => {
    const openWith = (seal: SecretBox) =>
      SigningKeys.open(new KyselyKeyRecords(replicas[0]!.db, seal), 'registry-tokens');
    await openWith(box);
    await expect(openWith(new SecretBox([randomBytes(32)]))).rejects.toThrow(UnreadableKeyError);
  });
});
