import path from 'node:path';
import { descriptorTarget, stringParameters, type SystemCall } from './trace.js';

/** Something that was told to a client before it was on the disk. */
export interface Violation {
  /** The request and the status of its answer. */
  readonly answer: string;
  readonly missing:
    | 'a place for the blob'
    | 'all bytes of the file'
    | 'the sync of the bytes'
    | 'the rename'
    | 'the sync of the bytes before the rename'
    | 'the sync of the folder after the rename'
    | 'the row after the sync of the folder'
    | 'a change of the database'
    | 'the sync of the database';
  /** The file, folder or digest that is meant. */
  readonly what: string;
}

/** What a check looked at, for a test to see that the trace was understood. */
export interface DurabilityReport {
  readonly violations: readonly Violation[];
  /** Answers 201 to uploads of blobs and to mounts. */
  readonly blobs: number;
  /** Answers 201 to manifests. */
  readonly manifests: number;
  /** Answers 202 that say how much of an upload was received. */
  readonly progress: number;
  /** Other answers 202. */
  readonly others: number;
}

/** Where a registry that was traced kept things. */
export interface TracedRegistry {
  readonly dataDir: string;
  /** `<xx>/<id>` and size of every blob, by digest. */
  readonly blobs: ReadonlyMap<string, { readonly location: string; readonly size: number }>;
  /**
   * Whether requests ran side by side. Then another request's commit may be on its way to the disk when an answer goes out,
   * and only the answer's own is looked for; otherwise there must be none.
   */
  readonly concurrent: boolean;
}

interface Acknowledgement {
  readonly status: 201 | 202;
  readonly begin: number;
  readonly requestLine: string;
  /** Where in the trace the request came in. */
  readonly requested: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
}

/** What happened to one file, wherever it was moved. */
interface FileHistory {
  readonly changes: SystemCall[];
  readonly syncs: SystemCall[];
  readonly renames: SystemCall[];
  bytesWritten: number;
}

const changing = new Set(['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'ftruncate', 'fallocate', 'sendfile']);
const writing = new Set(['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'sendfile']);
const reading = new Set(['read', 'recvfrom', 'recvmsg', 'readv']);
const answering = new Set(['write', 'writev', 'sendto', 'sendmsg']);
const syncing = new Set(['fsync', 'fdatasync']);
const renaming = new Set(['rename', 'renameat', 'renameat2']);

/** The system calls that {@link checkDurability} and {@link findFleetingEntries} need to see. */
export const tracedCalls = [
  ...new Set([...changing, ...reading, ...answering, ...syncing, ...renaming]),
  ...['open', 'openat', 'creat', 'truncate', 'mkdir', 'mkdirat', 'unlink', 'unlinkat', 'link', 'linkat'],
];

/**
 * Checks from a trace that whatever a client was told is there after a power failure. For every answer 201 or 202, in
 * this order and each step over before the next began: the bytes of the blob were synced after their last change, the
 * file was renamed to its final place, the folder was synced, the row was written, the database was synced; only then
 * did the answer go out. A session that was only opened may be lost: there is nothing in it.
 */
export function checkDurability(calls: readonly SystemCall[], registry: TracedRegistry): DurabilityReport {
  const histories = collectHistories(calls);
  const databaseLog = path.join(registry.dataDir, 'weir.sqlite-wal');
  const log = histories.get(databaseLog) ?? emptyHistory();
  const violations: Violation[] = [];
  /** Manifests that were acknowledged under the same name before: pushing them again may change nothing. */
  const known = new Set<string>();
  const count = { blobs: 0, manifests: 0, progress: 0, others: 0 };
  const answers = [...acknowledgements(calls)];
  const commits = registry.concurrent ? [] : commitsOf(log, [...new Set(answers.map(pathOf))]);
  const nameOf = ({ requestLine, status }: Acknowledgement): string => `${requestLine} -> ${status}`;
  const sent = new Map<string, number>();
  for (const answer of answers) sent.set(nameOf(answer), (sent.get(nameOf(answer)) ?? 0) + 1);
  for (const answer of answers) {
    const name = nameOf(answer);
    const report = (missing: Violation['missing'], what: string): void => {
      violations.push({ answer: name, missing, what });
    };
    let since = answer.requested;
    const digest = /\/blobs\/(sha\d+:[0-9a-f]+)$/.exec(answer.headers.get('location') ?? '')?.[1];
    const session = answer.headers.get('docker-upload-uuid');
    if (answer.status === 201 && digest !== undefined) {
      count.blobs += 1;
      const blob = registry.blobs.get(digest);
      if (blob === undefined) report('a place for the blob', digest);
      else since = Math.max(since, checkBlob(blob, answer, registry.dataDir, histories, report));
    } else if (answer.status === 201) {
      count.manifests += 1;
    } else if (session !== undefined) {
      const size = receivedSize(answer);
      if (size === 0) count.others += 1;
      else {
        count.progress += 1;
        checkProgress(path.join(registry.dataDir, 'uploads', session), size, answer, histories, report);
      }
    } else {
      count.others += 1;
    }
    const changes = log.changes.filter(({ begin }) => begin < answer.begin);
    if (!known.has(name) && !changes.some(({ begin }) => begin > since)) {
      const isWaiting = since > answer.requested;
      report(isWaiting ? 'the row after the sync of the folder' : 'a change of the database', databaseLog);
    }
    if (digest === undefined) known.add(name);
    if (isOpening(answer)) continue;
    const location = digest === undefined ? undefined : registry.blobs.get(digest)?.location;
    const texts = [location, digest, answer.headers.get('docker-content-digest')].filter((text) => text !== undefined);
    const committed = registry.concurrent
      ? isOwnCommitSynced(log, answer, { since, texts, isRepeated: sent.get(name)! > 1 })
      : isCommitted(log, commits, answer, answers);
    if (!committed) report('the sync of the database', databaseLog);
  }
  return { violations, ...count };
}

type Report = (missing: Violation['missing'], what: string) => void;

/** @returns where in the trace the blob was in its place for good */
function checkBlob(
  { location, size }: { readonly location: string; readonly size: number },
  answer: Acknowledgement,
  dataDir: string,
  histories: ReadonlyMap<string, FileHistory>,
  report: Report,
): number {
  const file = path.join(dataDir, 'blobs', location);
  const history = histories.get(path.basename(file));
  const renamed = history?.renames.find(({ end }) => end < answer.begin);
  if (history === undefined || renamed === undefined) {
    report('the rename', file);
    return 0;
  }
  if (history.bytesWritten < size) report('all bytes of the file', file);
  const synced = syncAfterChanges(history, answer.begin);
  if (synced === undefined) report('the sync of the bytes', file);
  else if (synced.end > renamed.begin) report('the sync of the bytes before the rename', file);
  const folder = path.dirname(file);
  const folderSynced = histories.get(folder)?.syncs.find(({ begin, end }) => begin > renamed.end && end < answer.begin);
  if (folderSynced === undefined) {
    report('the sync of the folder after the rename', folder);
    return renamed.end;
  }
  return folderSynced.end;
}

function checkProgress(
  file: string,
  size: number,
  answer: Acknowledgement,
  histories: ReadonlyMap<string, FileHistory>,
  report: Report,
): void {
  const history = histories.get(path.basename(file));
  if (history === undefined || history.bytesWritten < size) report('all bytes of the file', file);
  if (history === undefined || syncAfterChanges(history, answer.begin) === undefined) {
    report('the sync of the bytes', file);
  }
}

/** A transaction in the log of the database. */
interface Commit {
  /** Of the frame that ends it. */
  readonly begin: number;
  readonly end: number;
  /** Whether it only adds to the audit log. */
  readonly isAuditRecord: boolean;
}

/**
 * Whether every change of the database before an answer was synced by then. A session that was only opened need not be:
 * as many commits may be open as there were sessions being opened. Nor need audit records, whose loss takes nothing from
 * the client.
 */
function isCommitted(
  log: FileHistory,
  commits: readonly Commit[],
  answer: Acknowledgement,
  answers: readonly Acknowledgement[],
): boolean {
  const syncs = log.syncs.filter(({ end }) => end < answer.begin);
  const synced = Math.max(-1, ...syncs.map(({ begin }) => begin));
  // Without a commit at its end, what was written does not count yet, for nobody.
  const open = commits.filter(
    ({ begin, end, isAuditRecord }) => end > synced && begin < answer.begin && !isAuditRecord,
  );
  if (open.length === 0) return syncs.length > 0;
  const openings = answers.filter(
    (other) =>
      other !== answer &&
      /^POST \S+\/blobs\/uploads/.test(other.requestLine) &&
      other.requested < answer.begin &&
      other.begin > open[0]!.begin,
  );
  return syncs.length > 0 && open.length <= openings.length;
}

/** @param paths of requests, which are written down in audit records and nowhere else */
function commitsOf(log: FileHistory, paths: readonly string[]): Commit[] {
  const commits: SystemCall[][] = [];
  let frames: SystemCall[] = [];
  for (const change of log.changes) {
    const last = commits.at(-1);
    // The page comes after the header that says that its frame ends a commit.
    if (frames.length === 0 && last !== undefined && isCommitFrame(last.at(-1)!) && !isFrameHeader(change)) {
      last.push(change);
      continue;
    }
    frames.push(change);
    if (!isCommitFrame(change)) continue;
    commits.push(frames);
    frames = [];
  }
  return commits.map((changes) => ({
    begin: changes.find(isCommitFrame)!.begin,
    end: changes.at(-1)!.end,
    isAuditRecord: changes.some((change) => {
      const [page = ''] = stringParameters(change);
      return paths.some((text) => page.includes(text));
    }),
  }));
}

/** Of a request, without its query. */
function pathOf({ requestLine }: Acknowledgement): string {
  return requestLine.replace(/^\S+ /, '').replace(/\?.*$/, '');
}

/**
 * Whether the commit that an answer speaks of was synced by then: the first one that wrote a page with one of the texts.
 *
 * @param since where in the trace the commit cannot have begun yet
 * @param texts what its rows hold, any of them
 * @param isRepeated whether others sent the same request, of which only the first one writes anything
 */
function isOwnCommitSynced(
  log: FileHistory,
  answer: Acknowledgement,
  {
    since,
    texts,
    isRepeated,
  }: { readonly since: number; readonly texts: readonly string[]; readonly isRepeated: boolean },
): boolean {
  const changes = log.changes.filter(({ begin, end }) => begin > since && end < answer.begin);
  const pages = changes.filter(({ result }) => result !== 24);
  // Later ones may be others' that happen to write the same page again.
  const from = pages.find((page) => texts.some((text) => stringParameters(page)[0]?.includes(text)))?.begin ?? since;
  const commits = changes.filter(isCommitFrame);
  // The frame of the last page, whose header says that it ends a commit, may be the very page that was found.
  const last = changes.filter((change) => change.begin < from).at(-1);
  const own = last !== undefined && isCommitFrame(last) ? last : commits.find(({ begin }) => begin > from);
  // Nothing of its own was written: it was so already, and is on the disk if anything is that was there when it was asked.
  if (own === undefined || isRepeated) return log.syncs.some(({ begin, end }) => begin > since && end < answer.begin);
  return log.syncs.some(({ begin, end }) => begin > own.end && end < answer.begin);
}

/** SQLite File Format, "WAL Frame Header Format": 24 bytes, of which the second four are not zero in a commit. */
function isCommitFrame(call: SystemCall): boolean {
  const [header = ''] = stringParameters(call);
  return isFrameHeader(call) && header.length === 24 && header.slice(4, 8) !== '\0\0\0\0';
}

function isFrameHeader({ result }: SystemCall): boolean {
  return result === 24;
}

function isOpening({ status, requestLine, headers }: Acknowledgement): boolean {
  return status === 202 && requestLine.startsWith('POST ') && headers.has('docker-upload-uuid');
}

/** The first sync that began when all changes before `limit` were over, and was itself over by then. */
function syncAfterChanges(history: FileHistory, limit: number): SystemCall | undefined {
  const lastChange = Math.max(-1, ...history.changes.filter(({ begin }) => begin < limit).map(({ end }) => end));
  return history.syncs.find(({ begin, end }) => begin > lastChange && end < limit);
}

function emptyHistory(): FileHistory {
  return { changes: [], syncs: [], renames: [], bytesWritten: 0 };
}

/** By path, and files of uploads and blobs by their id, which they keep when they are moved. */
function collectHistories(calls: readonly SystemCall[]): Map<string, FileHistory> {
  const histories = new Map<string, FileHistory>();
  const historyOf = (file: string): FileHistory => {
    const key = /^[0-9a-f]{40}$/.test(path.basename(file)) ? path.basename(file) : file;
    const history = histories.get(key) ?? emptyHistory();
    histories.set(key, history);
    return history;
  };
  for (const call of calls) {
    if (call.result !== undefined && call.result < 0) continue;
    if (renaming.has(call.name)) {
      const [, to] = stringParameters(call);
      if (to !== undefined) historyOf(to).renames.push(call);
      continue;
    }
    if (!changing.has(call.name) && !syncing.has(call.name)) continue;
    const target = descriptorTarget(call);
    if (target?.startsWith('/') !== true) continue;
    const history = historyOf(target);
    if (syncing.has(call.name)) history.syncs.push(call);
    else history.changes.push(call);
    if (writing.has(call.name)) history.bytesWritten += call.result ?? 0;
  }
  return histories;
}

function* acknowledgements(calls: readonly SystemCall[]): Iterable<Acknowledgement> {
  const requests = new Map<string, { readonly line: string; readonly begin: number }>();
  for (const call of calls) {
    const connection = descriptorTarget(call);
    if (connection?.startsWith('TCP') !== true) continue;
    const [text] = stringParameters(call);
    if (text === undefined) continue;
    if (reading.has(call.name)) {
      const line = /^((?:POST|PUT|PATCH|DELETE|GET|HEAD) \S+) HTTP\/1\.1\r\n/.exec(text)?.[1];
      if (line !== undefined) requests.set(connection, { line, begin: call.begin });
      continue;
    }
    const status = /^HTTP\/1\.1 (\d+) /.exec(text)?.[1];
    if (!answering.has(call.name) || (status !== '201' && status !== '202')) continue;
    const request = requests.get(connection);
    if (request === undefined) throw new Error(`an answer ${status} to a request that is not in the trace`);
    yield {
      status: status === '201' ? 201 : 202,
      begin: call.begin,
      requestLine: request.line,
      requested: request.begin,
      headers: parseHeaders(text),
    };
  }
}

function parseHeaders(head: string): Map<string, string> {
  const lines = head.slice(0, head.indexOf('\r\n\r\n')).split('\r\n').slice(1);
  return new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
}

/** `0-0` is taken for nothing: no test sends a single byte. */
function receivedSize({ headers }: Acknowledgement): number {
  const end = Number(/^0-(\d+)$/.exec(headers.get('range') ?? '')?.[1] ?? 0);
  return end === 0 ? 0 : end + 1;
}

/**
 * Files and folders that were made under a folder, that included, and whose own folder was not synced afterwards: the
 * power may take them away, however well their content was synced.
 *
 * @param isLasting whether it matters that a path is still there
 */
export function findFleetingEntries(
  calls: readonly SystemCall[],
  folder: string,
  isLasting: (file: string) => boolean,
): string[] {
  const made = new Map<string, number>();
  for (const call of calls) {
    if (call.result === undefined || call.result < 0) continue;
    const texts = stringParameters(call);
    if (/^(open|openat|creat)$/.test(call.name) && call.parameters.includes('O_CREAT') && !made.has(texts[0]!)) {
      made.set(texts[0]!, call.end);
    }
    if (/^mkdir(at)?$/.test(call.name)) made.set(texts[0]!, call.end);
    if (/^link(at)?$/.test(call.name)) made.set(texts[1]!, call.end);
    if (/^unlink(at)?$/.test(call.name)) made.delete(texts[0]!);
    if (renaming.has(call.name)) {
      made.delete(texts[0]!);
      made.set(texts[1]!, call.end);
    }
  }
  const histories = collectHistories(calls);
  return [...made]
    .filter(([file]) => (file === folder || file.startsWith(`${folder}/`)) && isLasting(file))
    .filter(([file, at]) => !histories.get(path.dirname(file))?.syncs.some(({ begin }) => begin > at))
    .map(([file]) => file)
    .sort();
}
