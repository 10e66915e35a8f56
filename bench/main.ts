import fs from 'node:fs';
import path from 'node:path';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { coldPullShortfalls, formatColdPull, measureColdPull } from './cold-pull.js';
import { compare } from './comparison.js';
import { type Registry, distribution, existing, killRegistries, weir } from './registries.js';
import type { Credentials } from './registry-client.js';
import { type Product, type ReplicatedRegistry, measureReplicas } from './replicas.js';
import { formatReplicas, replicasJson, replicasShortfalls } from './replicas-report.js';
import { startPostgres, startS3 } from './replicas-servers.js';
import { findShortfalls, formatReport, toJson } from './report.js';
import { fullSizes, quickSizes } from './rows.js';
import { formatSchedule, measureSchedule, scheduleShortfalls } from './schedule.js';
import { formatStreams, measureStreams, streamsShortfalls } from './streams.js';
import { formatWatch, measureWatch, watchShortfalls } from './watch.js';

/** Where the registries come from; asked only for those that take part. */
export interface Programs {
  /** Folder of this checkout. */
  readonly checkout: string;
  readonly buildWeir: () => void;
  /** Path of distribution's `registry`, installed when missing; `undefined` when that cannot be had. */
  readonly findDistribution: () => string | undefined;
  /** Path of Debian's `docker-registry`; `undefined` when it is not installed. */
  readonly findDockerRegistry: () => string | undefined;
  /** Folder of PostgreSQL's `initdb` and `postgres`; `undefined` when they are not installed. */
  readonly findPostgres: () => string | undefined;
  /** Path of `versitygw`, installed when missing; `undefined` when that cannot be had. */
  readonly findS3Server: () => string | undefined;
}

interface Options {
  readonly rounds: number;
  readonly only?: string;
  readonly quick: boolean;
  readonly without: readonly string[];
  readonly against: readonly URL[];
  readonly user?: Credentials;
  readonly json?: string;
  readonly check: boolean;
  readonly dir: string;
  readonly profile?: string;
  readonly watch?: number;
  readonly seconds: number;
}

interface StreamsOptions extends Options {
  readonly streams: number;
  readonly tags: number;
}

interface ScheduleOptions extends Options {
  readonly tags: number;
  readonly interval: number;
  readonly moved: number;
}

interface ColdPullOptions extends Options {
  readonly clients: number;
  readonly layers: number;
  readonly size: number;
}

const ours = ['weir', 'distribution', 'docker-registry'];

/**
 * Runs the benchmark as the command line says.
 *
 * @param args arguments after the program's name
 * @returns exit code
 */
export async function main(args: readonly string[], programs: Programs): Promise<number> {
  let work: ((folder: string) => Promise<number>) | undefined;
  const command = describeCommand().action((options: Options) => {
    work = (folder) => run(options, programs, folder);
  });
  const streams = describeStreams().action(() => {
    work = (folder) => runStreams(streams.optsWithGlobals(), programs, folder);
  });
  command.addCommand(streams);
  const schedule = describeSchedule().action(() => {
    work = (folder) => runSchedule(schedule.optsWithGlobals(), programs, folder);
  });
  command.addCommand(schedule);
  const coldPull = describeColdPull().action(() => {
    work = (folder) => runColdPull(coldPull.optsWithGlobals(), programs, folder);
  });
  command.addCommand(coldPull);
  const replicas = describeReplicas().action(() => {
    work = (folder) => runReplicas(replicas.optsWithGlobals(), programs, folder);
  });
  command.addCommand(replicas);
  try {
    command.parse([...args], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
  const options = command.opts<Options>();
  // Not the system's folder for temporary files, which is often in memory.
  const parent = path.resolve(programs.checkout, options.dir);
  fs.mkdirSync(parent, { recursive: true });
  const folder = fs.mkdtempSync(path.join(parent, 'bench-data-'));
  // On exit, because a build that fails ends the process, and so does an error that nobody expected.
  process.once('exit', () => {
    killRegistries();
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  return work!(folder);
}

async function run(options: Options, programs: Programs, folder: string): Promise<number> {
  if (options.watch !== undefined) return runWatch(options.watch, options, programs, folder);
  const only = options.only?.toLowerCase();
  const result = await compare({
    registries: chooseRegistries(options, programs),
    sizes: options.quick ? quickSizes : fullSizes,
    rounds: options.rounds,
    wants: (row) => only === undefined || row.toLowerCase().includes(only),
    folder,
    say,
  });
  if (result.measurements.length === 0) throw new Error(`no row has "${options.only ?? ''}" in its name`);
  process.stdout.write(`\n${formatReport(result)}\n`);
  if (options.json !== undefined) fs.writeFileSync(options.json, toJson(result));
  const shortfalls = findShortfalls(result);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

/** Weir alone: no other registry has anything to watch. */
async function runWatch(clients: number, options: Options, programs: Programs, folder: string): Promise<number> {
  programs.buildWeir();
  const registry = await weir(programs.checkout, profileOptions(options)).start(folder);
  const result = await measureWatch(registry, { clients, seconds: options.seconds, writers: 4 }, say);
  await registry.stop();
  process.stdout.write(`\n${formatWatch(result)}\n`);
  const shortfalls = watchShortfalls(result);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

/** Weir alone, with much in it and with next to nothing. */
async function runStreams(options: StreamsOptions, programs: Programs, folder: string): Promise<number> {
  programs.buildWeir();
  const registry = weir(programs.checkout, profileOptions(options));
  const only = options.only?.toLowerCase();
  const wants = (row: string): boolean => only === undefined || row.toLowerCase().includes(only);
  const { streams, tags, rounds } = options;
  const result = await measureStreams(registry, { streams, tags, rounds, wants }, folder, say);
  if (result.rows.length === 0) throw new Error(`no row has "${options.only ?? ''}" in its name`);
  process.stdout.write(`\n${formatStreams(result)}\n`);
  if (options.json !== undefined) fs.writeFileSync(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
  const shortfalls = streamsShortfalls(result);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

/** Weir alone, with another registry that it has to look at. */
async function runSchedule(options: ScheduleOptions, programs: Programs, folder: string): Promise<number> {
  programs.buildWeir();
  const only = options.only?.toLowerCase();
  const load = {
    tags: options.tags,
    intervalSeconds: options.interval,
    seconds: options.seconds,
    movedPerMinute: options.moved / 100,
    wants: (run: string): boolean => only === undefined || run.toLowerCase().includes(only),
  };
  const start = (environment: Readonly<Record<string, string>>) =>
    weir(programs.checkout, profileOptions(options), environment);
  const runs = await measureSchedule(start, load, folder, say);
  if (runs.length === 0) throw new Error(`no run has "${options.only ?? ''}" in its name`);
  process.stdout.write(`\n${formatSchedule(runs)}\n`);
  if (options.json !== undefined) fs.writeFileSync(options.json, `${JSON.stringify({ load, runs }, undefined, 2)}\n`);
  const shortfalls = scheduleShortfalls(runs, load);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

/** Weir and distribution as caches of another registry, which is a small one of ours. */
async function runColdPull(options: ColdPullOptions, programs: Programs, folder: string): Promise<number> {
  programs.buildWeir();
  const only = options.only?.toLowerCase();
  const load = {
    clients: options.clients,
    layers: options.layers,
    layerSize: options.size * 1024 * 1024,
    rounds: options.rounds,
    wants: (way: string): boolean => only === undefined || way.toLowerCase().includes(only),
  };
  const program = options.without.includes('distribution') ? undefined : programs.findDistribution();
  if (program === undefined) say('distribution is left out');
  const registries = {
    weir: (environment: Readonly<Record<string, string>>) =>
      weir(programs.checkout, profileOptions(options), environment),
    distribution:
      program === undefined
        ? undefined
        : (cacheOf: URL) => distribution('distribution', 'distribution', program, { cacheOf }),
  };
  const runs = await measureColdPull(registries, load, folder, say);
  if (runs.length === 0) throw new Error(`no way has "${options.only ?? ''}" in its name`);
  process.stdout.write(`\n${formatColdPull(runs, load)}\n`);
  if (options.json !== undefined) fs.writeFileSync(options.json, `${JSON.stringify({ load, runs }, undefined, 2)}\n`);
  const shortfalls = coldPullShortfalls(runs);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

/** Weir and distribution with all they keep on other servers: PostgreSQL and S3 of this run. */
async function runReplicas(options: Options, programs: Programs, folder: string): Promise<number> {
  const postgresPrograms = programs.findPostgres();
  if (postgresPrograms === undefined) throw new Error('PostgreSQL is not installed (apt install postgresql)');
  const s3Program = programs.findS3Server();
  if (s3Program === undefined) throw new Error('versitygw is not there and could not be installed');
  const wants = (id: Product): boolean => !options.without.includes(id);
  if (wants('weir')) programs.buildWeir();
  const program = wants('distribution') ? programs.findDistribution() : undefined;
  if (program === undefined) say('distribution is left out');
  const registries: ReplicatedRegistry[] = [
    ...(wants('weir') ? [replicatedWeir(programs.checkout, profileOptions(options))] : []),
    ...(program === undefined ? [] : [replicatedDistribution(program)]),
  ];
  if (registries.length === 0) throw new Error('no registry is left to measure');
  // PostgreSQL runs with the rights of somebody else, who has to get at its folder.
  fs.chmodSync(folder, 0o711);
  const [postgresFolder, s3Folder] = ['postgres', 's3'].map((name) => path.join(folder, name)) as [string, string];
  for (const own of [postgresFolder, s3Folder]) fs.mkdirSync(own);
  const postgres = await startPostgres(postgresPrograms, postgresFolder);
  const s3 = await startS3(s3Program, s3Folder);
  const sizes = options.quick ? quickSizes : fullSizes;
  const only = options.only?.toLowerCase();
  const load = {
    bigBlob: sizes.bigBlob,
    smallBlobs: sizes.smallBlobs,
    rounds: options.rounds,
    wants: (row: string): boolean => only === undefined || row.toLowerCase().includes(only),
  };
  const result = await measureReplicas(registries, { postgres, s3 }, load, folder, say);
  await postgres.program.stop();
  await s3.program.stop();
  if (result.rows.length === 0) throw new Error(`no row has "${options.only ?? ''}" in its name`);
  process.stdout.write(`\n${formatReplicas(result)}\n`);
  if (options.json !== undefined) fs.writeFileSync(options.json, replicasJson(result));
  const shortfalls = replicasShortfalls(result);
  if (shortfalls.length > 0) process.stdout.write(`\nWhere Weir falls short:\n  ${shortfalls.join('\n  ')}\n`);
  return options.check && shortfalls.length > 0 ? 1 : 0;
}

function replicatedWeir(checkout: string, nodeOptions: readonly string[]): ReplicatedRegistry {
  return {
    product: 'weir',
    title: weir(checkout).title,
    replica: ({ bucket, database, password, secretsKey }) =>
      weir(checkout, nodeOptions, {
        WEIR_ADMIN_PASSWORD: password,
        WEIR_SECRETS_KEYS: secretsKey,
        WEIR_DATABASE_URL: database,
        WEIR_BLOBSTORE_KIND: 's3',
        WEIR_BLOBSTORE_S3_BUCKET: bucket.name,
        WEIR_BLOBSTORE_S3_ENDPOINT: bucket.endpoint.origin,
        WEIR_BLOBSTORE_S3_REGION: bucket.region,
        WEIR_BLOBSTORE_S3_ACCESS_KEY_ID: bucket.accessKey,
        WEIR_BLOBSTORE_S3_SECRET_ACCESS_KEY: bucket.secretKey,
      }),
  };
}

function replicatedDistribution(program: string): ReplicatedRegistry {
  return {
    product: 'distribution',
    title: distribution('distribution', 'distribution', program).title,
    replica: ({ bucket }) => distribution('distribution', 'distribution', program, { bucket }),
  };
}

function profileOptions({ profile }: Options): string[] {
  return profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.resolve(profile)}`];
}

function chooseRegistries(options: Options, programs: Programs): Registry[] {
  const registries: Registry[] = [];
  const wants = (id: string): boolean => !options.without.includes(id);
  if (wants('weir')) {
    programs.buildWeir();
    registries.push(weir(programs.checkout, profileOptions(options)));
  }
  if (wants('distribution')) {
    const program = programs.findDistribution();
    if (program === undefined) say('distribution is left out: it could not be installed');
    else registries.push(distribution('distribution', 'distribution', program));
  }
  if (wants('docker-registry')) {
    const program = programs.findDockerRegistry();
    if (program === undefined) say("Debian's docker-registry is left out: package docker-registry is not installed");
    else registries.push(distribution('docker-registry', "Debian's docker-registry", program));
  }
  registries.push(...options.against.map((url) => existing(url, options.user)));
  if (registries.length === 0) throw new Error('no registry is left to measure');
  const missing = ['weir', 'distribution'].filter((id) => !registries.some((registry) => registry.id === id));
  if (options.check && missing.length > 0) throw new Error(`--check needs ${missing.join(' and ')}`);
  return registries;
}

function describeCommand(): Command {
  return new Command('npm run bench --')
    .description(
      'Runs Weir beside other registries on this machine, does the same work on each, and prints how they compare.\n' +
        'A full run takes about ten minutes; the machine should have nothing else to do meanwhile.',
    )
    .option('--rounds <n>', 'how often everything is measured; the table shows medians', parsePositive, 5)
    .option('--only <text>', 'only rows with this text in their name, such as "push" or "manifest"')
    .option('--quick', 'little work, to see that everything runs; the figures mean little', false)
    .option('--without <registry>', `leave one out: ${ours.join(', ')} (repeatable)`, collectRegistry, [])
    .option('--against <url>', 'add a registry that is running already; what is pushed stays there', collectUrl, [])
    .option('--user <name:password>', 'user for the registries given with --against', parseCredentials)
    .option('--json <file>', 'write all samples to a file')
    .option('--check', 'exit with 1 when Weir is slower than distribution, or uses too much memory', false)
    .option('--dir <folder>', 'where the registries keep their data during the run', '.cache')
    .option('--profile <folder>', 'write a CPU profile of Weir, which slows it down')
    .option('--watch <clients>', 'instead: so many clients watch the API of Weir while it is written to', parsePositive)
    .option('--seconds <n>', 'how long is written to what is watched, or a schedule is kept', parsePositive, 30)
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        '  npm run bench -- --quick                                 does it work?',
        '  npm run bench -- --only pull --rounds 3                  the rows about pulling',
        '  npm run bench -- --watch 1000                            a thousand clients watch the API',
        '  npm run bench -- streams                                 100,000 image streams',
        '  npm run bench -- schedule --seconds 240                  10,000 tags that follow another registry',
        '  npm run bench -- cold-pull --rounds 1                    200 clients pull what only another registry has',
        '  npm run bench -- replicas                                processes over PostgreSQL and S3',
        '  npm run bench -- --check --json result.json              for a build server',
        '  npm run bench -- --against http://127.0.0.1:8080 --user me:secret',
        '',
        'Memory, idle and at its peak, is shown for whatever rows ran. --only "at once" pushes many big blobs at once.',
        'Where a row is slow, look at it alone:',
        '  npm run bench -- --only HEAD --rounds 1 --without docker-registry --profile .cache/profile',
      ].join('\n'),
    )
    .exitOverride();
}

function describeStreams(): Command {
  return new Command('streams')
    .summary('instead: how fast image streams are when there are many')
    .description(
      'Instead: how fast image streams are when there are many, and some very big\n' +
        'ones, beside a registry with next to nothing. Of the other options --rounds,\n' +
        '--only, --json, --check, --dir and --profile count here too.\n' +
        'A full run takes about five minutes, 4 GB of disk and 2 GB of memory.',
    )
    .option('--streams <n>', 'how many there are', parsePositive, 100_000)
    .option('--tags <n>', 'how many tags each has', parsePositive, 10)
    .exitOverride();
}

function describeSchedule(): Command {
  return new Command('schedule')
    .summary('instead: how well tags are kept that follow another registry')
    .description(
      'Instead: how well tags are kept that follow another registry on a schedule,\n' +
        'which is a small one of ours: with sources of their own, with shared ones, and\n' +
        'beside a registry that never answers. Of the other options --only, --seconds\n' +
        '(of each of the three, beside about four minutes to set it up), --json,\n' +
        '--check, --dir and --profile count here too.',
    )
    .option('--tags <n>', 'how many there are', parsePositive, 10_000)
    .option('--interval <seconds>', 'how often each is looked for', parsePositive, 60)
    .option('--moved <percent>', 'how many of the sources move each minute', parsePositive, 2)
    .exitOverride();
}

function describeColdPull(): Command {
  return new Command('cold-pull')
    .summary('instead: how fast many clients at once pull an image of another registry')
    .description(
      'Instead: how fast many clients at once pull an image of another registry that\n' +
        'nobody pulled before, and once more when it is here: through a cache project,\n' +
        'through an imported tag, and through distribution as a cache. The other registry\n' +
        'is a small one of ours that counts what it is asked for. Of the other options\n' +
        '--rounds, --only, --without, --json, --check, --dir and --profile count here too.\n' +
        'A round takes about three minutes.',
    )
    .option('--clients <n>', 'how many there are', parsePositive, 200)
    .option('--layers <n>', 'how many layers the image has', parsePositive, 5)
    .option('--size <MiB>', 'of each layer', parsePositive, 20)
    .exitOverride();
}

function describeReplicas(): Command {
  return new Command('replicas')
    .summary('instead: how fast one process or two are over PostgreSQL and S3')
    .description(
      'Instead: how fast blobs are pushed to and pulled from one process or two over\n' +
        'PostgreSQL and S3, beside distribution on the same S3 server, which is versitygw\n' +
        'over a folder. Of the other options --rounds, --only, --quick, --without, --json,\n' +
        '--check, --dir and --profile count here too. A round takes about three minutes and\n' +
        '10 GB of disk.',
    )
    .exitOverride();
}

function parsePositive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('It must be 1 or more.');
  return number;
}

function collectRegistry(id: string, ids: readonly string[]): string[] {
  if (!ours.includes(id)) throw new InvalidArgumentError(`It must be one of ${ours.join(', ')}.`);
  return [...ids, id];
}

function collectUrl(text: string, urls: readonly URL[]): URL[] {
  if (!/^https?:/.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8080');
  }
  return [...urls, new URL(text)];
}

function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(':');
  if (colon < 1) throw new InvalidArgumentError('It must be a user name, a colon and a password.');
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
