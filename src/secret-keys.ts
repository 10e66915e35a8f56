import { join } from 'node:path';
import { SecretBox } from './projects/secret-box.js';

/** The part of the configuration that tells where the keys are that secrets are encrypted with. */
export interface SecretKeysConfig {
  readonly dataDir: string;
  readonly secrets: { readonly keys: readonly string[] };
  readonly database: { readonly url: string };
}

/**
 * What is wrong when several machines may share a database and none of them is told with which key its secrets are
 * encrypted; undefined when nothing is.
 */
export function missingSecretKeys({ secrets, database }: Omit<SecretKeysConfig, 'dataDir'>): string | undefined {
  if (secrets.keys.length > 0 || !/^postgres(ql)?:/.test(database.url)) return undefined;
  return (
    'secrets.keys: is not set, and with database.url on PostgreSQL it has to be: every process encrypts secrets, signing ' +
    'keys and the own CA with it. Make one with "openssl rand -base64 32" and give it to all of them ' +
    '(WEIR_SECRETS_KEYS); a registry that was moved from SQLite goes on with the keys in its dataDir/keys/secrets.key'
  );
}

/**
 * Opens the keys that secrets are encrypted with: those of the configuration, or of a file in the data folder, which is
 * made when there is none.
 *
 * @throws {Error} when only the configuration could tell and does not
 */
export async function openSecretBox(config: SecretKeysConfig): Promise<SecretBox> {
  if (config.secrets.keys.length > 0) return SecretBox.parse(config.secrets.keys);
  const missing = missingSecretKeys(config);
  if (missing !== undefined) throw new Error(missing);
  return SecretBox.open(join(config.dataDir, 'keys', 'secrets.key'));
}
