import { open, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkRegistry, type CheckCounts, type Finding } from '../../src/distribution/fsck.js';
import { KyselyInspection } from '../../src/metadata/kysely-inspection.js';
import type { Database } from '../../src/metadata/schema.js';
import {
  content,
  imageIndex,
  imageManifest,
  pushBlob,
  pushImage,
  pushManifest,
  referrer,
  emptyJson,
  sha512,
  startUpload,
  type Content,
  type PushedImage,
} from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

let registry: TestRegistry;
let db: Database;

beforeAll(async () => {
  registry = await startRegistry({ WEIR_POLICY_SPARSE: 'images' });
  db = await registry.openDatabase();
  // Damage is what the database would otherwise not allow.
  await sql`pragma foreign_keys = off`.execute(db);
});
afterAll(() => registry.stop());

async function check(readBlobs = true): Promise<{ readonly findings: Finding[]; readonly counts: CheckCounts }> {
  const findings: Finding[] = [];
  const counts = await checkRegistry(new KyselyInspection(db), await registry.openBlobStore(), {
    readBlobs,
    onFinding: (finding) => findings.push(finding),
  });
  return { findings, counts };
}

/** What a check finds after the damage that it did not find before. */
async function findingsOf(damage: () => Promise<unknown>, readBlobs = true): Promise<string[]> {
  const describe = async () =>
    (await check(readBlobs)).findings.map(({ severity, problem }) => `${severity}: ${problem}`);
  const before = await describe();
  await damage();
  return (await describe()).filter((finding) => !before.includes(finding));
}

async function locationOf({ digest }: Content): Promise<string> {
  const { location } = await db
    .selectFrom('blob')
    .select('location')
    .where('digest', '=', digest as never)
    .executeTakeFirstOrThrow();
  return location;
}

async function fileOf(blob: Content): Promise<string> {
  return join(registry.dataDir, 'blobs', await locationOf(blob));
}

let count = 0;
/** An image in a repository of its own, made of bytes of its own. */
async function freshImage(): Promise<PushedImage & { readonly repository: string }> {
  count += 1;
  const repository = `fsck/r${count}`;
  return { repository, ...(await pushImage(registry, repository, 'v1', repository)) };
}

test('a healthy registry has no findings, and everything is counted', async () => {
  const image = await freshImage();
  const { repository } = image;
  await pushManifest(registry, repository, imageIndex([image]), 'index');
  await pushBlob(registry, repository, emptyJson.bytes);
  await pushManifest(registry, repository, referrer(image, 'application/vnd.example'), sha512Of(image));
  const moved = imageManifest(image.config, [image.layer, image.layer]);
  await pushManifest(registry, repository, moved, 'v1');
  await pushManifest(registry, repository, image, 'v1');
  await pushManifest(registry, repository, image, 'deleted');
  await registry.fetch(`/v2/${repository}/manifests/deleted`, { method: 'DELETE' });
  // Policy lets this one in without what it refers to.
  await pushManifest(registry, repository, imageManifest(content('absent')), 'sparse');
  const session = await startUpload(registry, repository);
  await registry.fetch(session, { method: 'PATCH', body: 'on its way' });
  await pushBlob(registry, repository, '');

  const { findings, counts } = await check();
  expect(findings).toEqual([]);
  const bytes = image.config.bytes.length + image.layer.bytes.length + emptyJson.bytes.length;
  expect(counts).toEqual({ tags: 3, images: 5, blobs: 4, bytes, files: 4 });
  expect((await check(false)).findings).toEqual([]);
  await registry.fetch(session, { method: 'DELETE' });

  function sha512Of(subject: PushedImage): string {
    return sha512(referrer(subject, 'application/vnd.example').bytes);
  }
});

describe('of a blob, it finds', () => {
  test('that its file is gone', async () => {
    const { layer } = await freshImage();
    const location = await locationOf(layer);
    expect(await findingsOf(async () => rm(await fileOf(layer)))).toEqual([
      `lost: blob ${layer.digest} has no bytes (at ${location})`,
    ]);
  });

  test('that its file was cut short, also at a quick look', async () => {
    const { layer } = await freshImage();
    const location = await locationOf(layer);
    expect(await findingsOf(async () => truncate(await fileOf(layer), 5), false)).toEqual([
      `lost: blob ${layer.digest} has 5 bytes instead of ${layer.bytes.length} (at ${location})`,
    ]);
  });

  test('that its file grew', async () => {
    const { layer } = await freshImage();
    const longer = layer.bytes.length + 1;
    const [finding] = await findingsOf(async () => truncate(await fileOf(layer), longer));
    expect(finding).toContain(`has ${longer} bytes instead of ${layer.bytes.length}`);
  });

  test('that a byte is another one, when it reads the bytes', async () => {
    const { layer } = await freshImage();
    const flip = async () => {
      const file = await open(await fileOf(layer), 'r+');
      await file.write(Buffer.from([layer.bytes[3]! ^ 1]), 0, 1, 3);
      await file.close();
    };
    expect(await findingsOf(flip, false)).toEqual([]);
    const { findings } = await check();
    expect(findings).toContainEqual({
      severity: 'lost',
      problem: expect.stringContaining(`blob ${layer.digest} has bytes of digest sha256:`) as string,
    });
  });

  test('that a byte of a sha512 blob is another one', async () => {
    const digest = sha512('of sha512');
    await registry.fetch(`/v2/fsck/long/blobs/uploads/?digest=${digest}`, { method: 'POST', body: 'of sha512' });
    const [finding] = await findingsOf(async () =>
      writeFile(await fileOf({ bytes: Buffer.alloc(0), digest }), 'OF sha512'),
    );
    expect(finding).toContain(`blob ${digest} has bytes of digest sha512:`);
  });

  test('that the repository lost the link to it', async () => {
    const { layer, digest, repository } = await freshImage();
    const damage = () =>
      db
        .deleteFrom('repository_blob')
        .where('digest', '=', layer.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: image ${digest} of ${repository} lacks its layer ${layer.digest}`,
    ]);
  });

  test('that the record of it is gone, and that its bytes now belong to nobody', async () => {
    const { config, digest, repository } = await freshImage();
    const location = await locationOf(config);
    const damage = async () => {
      await db
        .deleteFrom('repository_blob')
        .where('digest', '=', config.digest as never)
        .execute();
      await db
        .deleteFrom('blob')
        .where('digest', '=', config.digest as never)
        .execute();
    };
    expect(await findingsOf(damage)).toEqual([
      `lost: image ${digest} of ${repository} lacks its config ${config.digest}`,
      `note: bytes at ${location} belong to no blob and to no upload`,
    ]);
  });
});

describe('of a tag, it finds', () => {
  test('that it was moved without an event', async () => {
    const image = await freshImage();
    const other = await pushManifest(registry, image.repository, imageManifest(image.config), 'v2');
    const damage = () =>
      db
        .updateTable('tag')
        .set({ image: other.digest as never })
        .where('image', '=', image.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: tag ${image.repository}:v1 is not where its newest event (1) says`,
    ]);
  });

  test('that it is behind its newest event', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .insertInto('tag_event')
        .columns(['repository_id', 'tag', 'sequence', 'image', 'cause', 'principal', 'at'])
        .expression(
          db
            .selectFrom('tag_event')
            .select(['repository_id', 'tag', sql<number>`2`.as('sequence'), 'image', 'cause', 'principal', 'at'])
            .where('image', '=', image.digest as never),
        )
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: tag ${image.repository}:v1 is not where its newest event (2) says`,
    ]);
  });

  test('that its events are gone', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .deleteFrom('tag_event')
        .where('image', '=', image.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: tag ${image.repository}:v1 is not where its newest event (0) says`,
    ]);
  });

  test('that it is gone, though its newest event has an image', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .deleteFrom('tag')
        .where('image', '=', image.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: tag ${image.repository}:v1 has a newest event with an image, but points nowhere`,
    ]);
  });

  test('that its image is not in the repository', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .deleteFrom('repository_image')
        .where('image', '=', image.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([
      `lost: tag ${image.repository}:v1 points at ${image.digest}, which is not in the repository`,
    ]);
  });
});

describe('of an image, it finds', () => {
  test('that its bytes are others', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .updateTable('image')
        .set({ bytes: Buffer.from(image.bytes.toString().replace('amd64', 'arm64').replace('2', '3')) })
        .where('digest', '=', image.digest as never)
        .execute();
    expect(await findingsOf(damage)).toEqual([`lost: image ${image.digest} does not have the bytes of its digest`]);
  });

  test('that its row is gone while a repository links it', async () => {
    const image = await freshImage();
    const damage = () =>
      db
        .deleteFrom('image')
        .where('digest', '=', image.digest as never)
        .execute();
    const findings = await findingsOf(damage);
    expect(findings.filter((finding) => finding.startsWith('lost: ') && finding.includes(image.digest))).not.toEqual(
      [],
    );
  });

  test('that a manifest of an index was deleted, which is no loss', async () => {
    const image = await freshImage();
    const child = await pushManifest(registry, image.repository, imageManifest(image.config));
    const index = await pushManifest(registry, image.repository, imageIndex([child]), 'index');
    const damage = () => registry.fetch(`/v2/${image.repository}/manifests/${child.digest}`, { method: 'DELETE' });
    expect(await findingsOf(damage)).toEqual([
      `note: image ${index.digest} of ${image.repository} lacks its manifest ${child.digest}`,
    ]);
  });
});

describe('of the files, it finds', () => {
  test('one that belongs to nothing', async () => {
    const damage = () => writeFile(join(registry.dataDir, 'blobs', 'ab', `ab${'0'.repeat(38)}`), 'stray');
    expect(await findingsOf(damage)).toEqual([
      `note: bytes at ab/ab${'0'.repeat(38)} belong to no blob and to no upload`,
    ]);
  });

  test('nothing wrong with one that waits for its deletion', async () => {
    const { layer } = await freshImage();
    const orphan = await pushBlob(registry, 'fsck/orphan', `after ${layer.digest}`);
    const damage = () => registry.fetch(`/v2/fsck/orphan/blobs/${orphan.digest}`, { method: 'DELETE' });
    expect(await findingsOf(damage)).toEqual([]);
  });
});
