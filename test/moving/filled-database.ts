import { randomBytes } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import type { Database, Schema } from '../../src/metadata/schema.js';
import { digestOf } from '../../src/oci/digest.js';

const at = 1_767_225_600_000;

/** Puts rows into every table, more than are read at once in those that grow, with all that is hard to copy. */
export async function fillDatabase(database: Database): Promise<void> {
  await database.transaction().execute(fill);
}

async function fill(db: Transaction<Schema>): Promise<void> {
  await sql`update sequence set value = 4242 where name = 'resource_version'`.execute(db);
  await sql`insert into key values ('registry-tokens', 'k1', 'sealed', ${at})`.execute(db);
  await sql`insert into "user" values ('ada', 'hash', 'admin', ${at}, 'local'), ('Äda', 'hash', 'user', ${at}, 'file')`.execute(
    db,
  );
  await sql`insert into refresh_token values ('h', 'ada', 'docker', ${at})`.execute(db);
  await rows(120, (index) =>
    sql`
    insert into object values ('secrets', ${`n${index % 7}`}, ${`name-${index}`}, ${`uid-${index}`}, ${index}, null,
      ${JSON.stringify({ data: 'ü€😀\u0001', index })})`.execute(db),
  );
  await sql`insert into object_lookup values ('secrets', 'value', 'n1', 'name-1')`.execute(db);
  await rows(120, (index) =>
    sql`
    insert into change values (${index * 3}, 'secrets', '', 'name', 'ADDED', '{}', null, ${at})`.execute(db),
  );
  for (const [id, name] of [
    [3, 'a/app'],
    [7, 'a-a/app'],
    [9, 'a/App'],
    [4_294_967_296, 'b/app'],
  ] as const) {
    await sql`insert into repository (id, name, created_at) values (${id}, ${name}, ${at})`.execute(db);
  }
  await rows(25, async (index) => {
    const bytes = index === 0 ? Buffer.alloc(0) : randomBytes(index * 1000);
    const digest = digestOf(bytes);
    await sql`insert into image (digest, media_type, size, bytes, created_at)
      values (${digest}, 'application/vnd.oci.image.manifest.v1+json', ${bytes.length}, ${bytes}, ${at})`.execute(db);
    await sql`insert into image_summary values (${digest}, 1, '["linux/arm64"]', '1', '{"config":"é"}')`.execute(db);
    await sql`insert into image_signature values (${digest}, 'name', '{}', ${at})`.execute(db);
    await sql`insert into image_reference values (${digest}, 0, 'config', ${digestOf('config')}, 1)`.execute(db);
    await sql`insert into repository_image values (7, ${digest}, null, 0, ${at})`.execute(db);
    await sql`insert into tag (repository_id, name, scheduled, image, sequence, first_sequence, changed_at, size, sort_name)
      values (7, ${`t${index}`}, 0, ${digest}, 1, 1, ${at}, ${5 * 1024 ** 4 + 1}, 't')`.execute(db);
  });
  // One page ends in the middle of a tag's events, and another one in the middle of a repository's.
  await rows(1300, (index) =>
    sql`
    insert into tag_event (repository_id, tag, sequence, cause, principal, at, principal_kind, reason, version, project)
    values (${index < 800 ? 7 : 9}, ${index < 300 ? 'Tag' : 'tag'}, ${index}, 'push', 'ada', ${at + index}, 'user',
      ${index % 2 === 0 ? 'because\nof "quotes"' : null}, ${index}, 'a')`.execute(db),
  );
  await sql`insert into tag_import (repository_id, tag, source, failures) values (7, '', 'quay.io/app', 0)`.execute(db);
  await sql`insert into upstream_budget (registry, used, window_start, last_used_at)
    values ('docker.io', 1, ${at}, ${at})`.execute(db);
  await sql`insert into image_pull values (7, 'sha256:1', ${at})`.execute(db);
  await rows(600, async (index) => {
    const digest = digestOf(`blob ${index}`);
    await sql`insert into blob values (${digest}, ${index}, ${`aa/${index}`}, ${at})`.execute(db);
    await sql`insert into repository_blob values (7, ${digest}, ${at}, ${index % 3 === 0 ? at : null})`.execute(db);
  });
  await sql`insert into discarded_location values ('aa/gone', ${at})`.execute(db);
  await sql`insert into upload (id, repository, principal, algorithm, size, digest_so_far, started_at, updated_at, store_state)
    values ('abc', 'a/app', 'ada', 'sha256', 5, 'sha256:5', ${at}, ${at}, 's3:{}')`.execute(db);
  await rows(20, (index) =>
    sql`
    insert into audit_record (id, at, request_id, principal, address, user_agent, verb, api_group, resource, namespace, name,
      method, path, outcome, code)
    values (${index + 1}, ${at}, 'r', 'ada', '::1', 'docker', 'get', '', 'x', '', '', 'GET', '/', 'allowed', 200)`.execute(
      db,
    ),
  );
}

async function rows(count: number, insert: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < count; index += 1) await insert(index);
}
