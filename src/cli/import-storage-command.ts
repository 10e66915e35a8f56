import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { projectDefaults } from '../access/default-policy.js';
import { ServiceAccountTokens } from '../auth/service-account-tokens.js';
import { SigningKeys } from '../auth/signing-keys.js';
import type { Config } from '../config.js';
import { ConfigReader } from '../distribution/config-reader.js';
import { KyselyBlobRecords } from '../metadata/kysely-blob-records.js';
import { KyselyKeyRecords } from '../metadata/kysely-key-records.js';
import { KyselyObjectStore } from '../metadata/kysely-object-store.js';
import { KyselyRepositoryStore } from '../metadata/kysely-repository-store.js';
import { KyselyUploadRecords } from '../metadata/kysely-upload-records.js';
import type { OpenedDatabase } from '../metadata/opened-database.js';
import { DistributionStorage, NoStorageError } from '../moving/distribution-storage.js';
import { FileDigests } from '../moving/file-digests.js';
import { ImagePlacement, importActor } from '../moving/image-placement.js';
import { ImportTally, type ImportCounts, type LeftOut } from '../moving/import-tally.js';
import { StorageBlobs } from '../moving/storage-blobs.js';
import { StorageImport, type ImportProgress } from '../moving/storage-import.js';
import { WriteRoom } from '../moving/write-room.js';
import { OciError } from '../oci/errors.js';
import { parseRepositoryName } from '../oci/repository-name.js';
import { namespaceKey, projectAnnotations } from '../projects/namespace-object.js';
import { ProjectContents } from '../projects/project-contents.js';
import { createProject } from '../projects/project-service.js';
import { ServiceAccountSecrets } from '../projects/service-account-secrets.js';
import { openBlobStore, openDatabase } from '../registry-files.js';
import { openSecretBox } from '../secret-keys.js';
import { TagPolicies } from '../streams/tag-policies.js';
import { isWildcardMatch } from '../oci/wildcards.js';
import { configOf } from './config-of.js';
import { exitCodes } from './exit-codes.js';
import { UsageError } from './usage-error.js';

const progressMs = 2_000;
/** Of what was left out, so many are printed. */
const maxShown = 50;

interface ImportOptions {
  readonly project?: string;
  readonly repositories?: string;
  readonly copy?: true;
  readonly report?: string;
}

/** `weir import-storage`: takes over what another registry kept in a folder. */
export function importStorageCommand(): Command {
  return new Command('import-storage')
    .argument('<dir>', 'the storage folder, such as /var/lib/registry, or docker/registry/v2 inside of it')
    .description(
      'take over the storage folder of a registry:2, registry:3 or docker-registry (works while the registry runs)',
    )
    .option('--project <name>', 'put every repository into this project: team/app becomes <name>/team/app')
    .option('--repositories <glob>', 'only repositories whose name fits, where * and ? also stand for a /')
    .option('--copy', 'copy blobs in any case, instead of sharing the files of the folder where that can be')
    .option('--report <file>', 'write all that was left out to a file, a JSON object a line')
    .addHelpText(
      'after',
      `
Without --project, app goes to the default project and team/app to project team; projects that are
not there are made. Tags, the earlier images of each tag and images without a tag are all taken, byte
for byte, and every blob is hashed on the way. What is damaged is left out with all that needs it.
Docker's schema 1, which no client pushes any more, is left out, too.

Blobs are not copied where the folder is on the file system of the data folder: both then have the
same files. Either may be deleted without harm to the other, but nothing may write into them; no
registry does. To be run as the user that the registry runs as.

The registry may run meanwhile, and what is imported is there at once; writes take a little longer.
The other registry is best stopped or read-only, or what is pushed to it meanwhile may be left out.
The command can be broken off and run again at any time: it goes on with what is not there yet. Tags
that somebody has changed here since are left as they are.

Exit codes: ${exitCodes.ok} all taken, ${exitCodes.failure} something was left out, or a failure, ${exitCodes.usage} not valid`,
    )
    .action(async (dir: string, options: ImportOptions, command: Command) => {
      const config = configOf(command);
      const nameOf = naming(config, options.project);
      const storage = await openStorage(dir);
      const report = await openReport(options.report);
      const shown: LeftOut[] = [];
      const tally = new ImportTally((item) => {
        report.write(item);
        if (shown.length < maxShown) shown.push(item);
      });
      const progress = process.stderr.isTTY ? progressBar() : progressLines();
      try {
        await importStorage({ config, storage, tally, nameOf, options, onProgress: progress.show });
      } finally {
        progress.end();
        await report.close();
      }
      const { counts } = tally;
      for (const item of shown) process.stdout.write(`left out: ${describeLeftOut(item)}\n`);
      if (counts.leftOut > shown.length) {
        process.stdout.write(`left out: ${counts.leftOut - shown.length} more; --report FILE writes all of them\n`);
      }
      process.stdout.write(`${describeCounts(counts)}\n`);
      process.exitCode = counts.leftOut > 0 ? exitCodes.failure : exitCodes.ok;
    });
}

interface ImportRun {
  readonly config: Config;
  readonly storage: DistributionStorage;
  readonly tally: ImportTally;
  readonly nameOf: ReturnType<typeof naming>;
  readonly options: ImportOptions;
  readonly onProgress: (progress: ImportProgress) => void;
}

async function importStorage({ config, storage, tally, nameOf, options, onProgress }: ImportRun): Promise<void> {
  const database = await openDatabase(config);
  const { db, now } = database;
  const digests = new FileDigests();
  const store = await openBlobStore(config);
  try {
    const records = new KyselyBlobRecords(db, now);
    const room = new WriteRoom();
    const blobs = new StorageBlobs({
      storage,
      digests,
      store,
      blobs: records,
      uploads: new KyselyUploadRecords(db, now),
      principal: importActor.name,
      graceMs: config.collection.graceSeconds * 1000,
      now,
      mayShare: options.copy !== true,
      tally,
      room,
    });
    const repositories = new KyselyRepositoryStore(db);
    const placement = new ImagePlacement({
      repositories,
      configs: new ConfigReader(records, store),
      sparse: config.policy.sparse,
      tally,
      room,
    });
    const { repositories: glob = '*' } = options;
    await new StorageImport({
      storage,
      repositories,
      blobs,
      placement,
      findRules: new TagPolicies(new KyselyObjectStore(db)).find,
      ensureProject: projectMaker(config, database),
      nameOf,
      isWanted: (repository) => isWildcardMatch(glob, repository),
      tally,
      onProgress,
    }).run();
  } finally {
    await digests.close();
    await store.close();
    await db.destroy();
  }
}

/** How repositories are to be called here. */
function naming({ defaultProject }: Config, project: string | undefined) {
  if (project !== undefined) {
    try {
      parseRepositoryName(`${project}/app`);
    } catch (error) {
      if (error instanceof OciError) throw new UsageError(`${project} cannot be the name of a project`);
      throw error;
    }
  }
  return (repository: string) =>
    parseRepositoryName(project === undefined ? repository : `${project}/${repository}`, defaultProject);
}

async function openStorage(dir: string): Promise<DistributionStorage> {
  try {
    return await DistributionStorage.open(dir);
  } catch (error) {
    if (error instanceof NoStorageError) throw new UsageError(error.message);
    throw error;
  }
}

/** Makes projects as the API does, with their roles and service accounts. */
function projectMaker(config: Config, { db, now }: OpenedDatabase): (project: string) => Promise<void> {
  const store = new KyselyObjectStore(db, now);
  let contents: Promise<ProjectContents> | undefined;
  return async (project) => {
    if ((await store.find(namespaceKey(project))) !== undefined) return;
    contents ??= projectContents(config, { db, now }, store);
    const annotations = { [projectAnnotations.requester]: importActor.name };
    await createProject(store, await contents, project, { annotations, now: now() });
  };
}

async function projectContents(
  config: Config,
  { db, now }: Pick<OpenedDatabase, 'db' | 'now'>,
  store: KyselyObjectStore,
): Promise<ProjectContents> {
  const box = await openSecretBox(config);
  const earlierFolder = join(config.dataDir, 'keys', 'service-accounts');
  const keys = await SigningKeys.open(new KyselyKeyRecords(db, box), 'service-account-tokens', { earlierFolder, now });
  const tokens = new ServiceAccountTokens(keys, now);
  const registryHosts = config.publicUrl === undefined ? [] : [new URL(config.publicUrl).host];
  const secrets = new ServiceAccountSecrets({ store, box, tokens, registryHosts, now });
  return new ProjectContents((namespace, admin) => projectDefaults(namespace, now(), admin), secrets);
}

interface Report {
  readonly write: (item: LeftOut) => void;
  readonly close: () => Promise<void>;
}

/** @throws {Error} when the file cannot be written */
async function openReport(path: string | undefined): Promise<Report> {
  if (path === undefined) return { write: () => undefined, close: () => Promise.resolve() };
  const file = createWriteStream(path, { mode: 0o600 });
  await once(file, 'open');
  return {
    write: (item) => {
      file.write(`${JSON.stringify(item)}\n`);
    },
    close: async () => {
      file.end();
      await once(file, 'close');
    },
  };
}

interface ShownProgress {
  readonly show: (progress: ImportProgress) => void;
  readonly end: () => void;
}

/** For somebody who watches. */
function progressBar(): ShownProgress {
  const bar = new SingleBar({
    format: '{bar} {value}/{total} images, {tags} tags, {blobs} blobs, {left} left out, {eta_formatted} to go',
    stream: process.stderr,
    // It would stay hidden when the command is broken off.
    hideCursor: false,
    etaBuffer: 200,
  });
  return {
    show: ({ counts: { tags, blobs, leftOut }, done, total }) => {
      const told = {
        tags: tags.taken + tags.there,
        blobs: blobs.linked.count + blobs.copied.count + blobs.there.count,
        left: leftOut,
      };
      if (!bar.isActive) bar.start(total, done, told);
      bar.setTotal(total);
      bar.update(done, told);
    },
    end: () => {
      bar.stop();
    },
  };
}

/** For a log. */
function progressLines(): ShownProgress {
  let toldAt = Date.now();
  return {
    show: ({ counts, done, total }) => {
      if (Date.now() - toldAt < progressMs) return;
      toldAt = Date.now();
      process.stderr.write(`${done} of ${total} images so far: ${describeCounts(counts)}\n`);
    },
    end: () => undefined,
  };
}

function describeLeftOut({ kind, repository = '', tag, digest, why }: LeftOut): string {
  const name = tag !== undefined ? `${repository}:${tag}` : [repository, digest].filter(Boolean).join('@');
  return `${kind} ${name}: ${why}`;
}

function describeCounts({ repositories, tags, images, blobs, leftOut }: ImportCounts): string {
  const { linked, copied, there } = blobs;
  return (
    `${repositories} repositories, ${tags.taken} tags (and ${tags.there} there already), ` +
    `${images.taken} images (and ${images.there}), ${linked.count} blobs linked (${linked.bytes} bytes), ` +
    `${copied.count} copied (${copied.bytes} bytes), ${there.count} there already (${there.bytes} bytes): ` +
    `${leftOut} left out`
  );
}
