import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { missingSecretKeys, openSecretBox } from '../src/secret-keys.js';
import { temporaryFolder } from './support/temporary-folder.js';

const keys = [randomBytes(32).toString('base64')];
const postgres = { url: 'postgres://weir@db.example/weir' };

test('the keys of a SQLite registry are made in its data folder', async () => {
  const config = { dataDir: await temporaryFolder(), secrets: { keys: [] }, database: { url: 'sqlite' } };
  expect(missingSecretKeys(config)).toBeUndefined();
  const sealed = (await openSecretBox(config)).seal('text', 'place');
  expect((await openSecretBox(config)).open(sealed, 'place')).toBe('text');
  expect(await readdir(join(config.dataDir, 'keys'))).toEqual(['secrets.key']);
});

test.each(['sqlite', postgres.url])(
  'those of the configuration are taken with %s, and no file is made',
  async (url) => {
    const config = { dataDir: await temporaryFolder(), secrets: { keys }, database: { url } };
    expect(missingSecretKeys(config)).toBeUndefined();
    const sealed = (await openSecretBox(config)).seal('text', 'place');
    expect((await openSecretBox(config)).open(sealed, 'place')).toBe('text');
    expect(await readdir(config.dataDir)).toEqual([]);
  },
);

test.each(['postgres://db/weir', 'postgresql://db/weir'])(
  'with %s and none configured one is told how',
  async (url) => {
    const config = { dataDir: await temporaryFolder(), secrets: { keys: [] }, database: { url } };
    expect(missingSecretKeys(config)).toMatch(/^secrets\.keys: .*"openssl rand -base64 32".*WEIR_SECRETS_KEYS/);
    await expect(openSecretBox(config)).rejects.toThrow(/^secrets\.keys: /);
    expect(await readdir(config.dataDir)).toEqual([]);
  },
);
