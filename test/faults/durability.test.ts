import { describe, expect, test } from 'vitest';
import { checkDurability, findFleetingEntries, type DurabilityReport } from './durability.js';
import { parseTrace } from './trace.js';

const id = 'ab'.repeat(20);
const digest = `sha256:${'0'.repeat(64)}`;
const connection = '9<TCP:[127.0.0.1:1->127.0.0.1:2]>';
const registry = { dataDir: '/d', blobs: new Map([[digest, { location: `ab/${id}`, size: 5 }]]), concurrent: false };

const request = String.raw`7 1.0 read(${connection}, "PUT /v2/a/blobs/uploads/${id} HTTP/1.1\r\nHost: x\r\n\r\nbytes", 65536) = 99`;
const writeBytes = `8 1.0 pwritev(20</d/uploads/${id}>, [{iov_base="bytes", iov_len=5}], 1, 0) = 5`;
const syncBytes = `8 1.0 fsync(21</d/uploads/${id}>) = 0`;
const rename = `8 1.0 rename("/d/uploads/${id}", "/d/blobs/ab/${id}") = 0`;
const syncFolder = `8 1.0 fsync(22</d/blobs/ab>) = 0`;
/** The header of a frame that ends a transaction. */
const writeRow = String.raw`7 1.0 pwrite64(19</d/weir.sqlite-wal>, "\0\0\0\7\0\0\0,\240\312\275P\200\363@\235\276\316\17\243'\376cP", 24, 0) = 24`;
const syncDatabase = '7 1.0 fdatasync(19</d/weir.sqlite-wal>) = 0';
const answer = String.raw`7 1.0 write(${connection}, "HTTP/1.1 201 Created\r\nLocation: /v2/a/blobs/${digest}\r\n\r\n", 99) = 99`;
const manifestAnswer = String.raw`7 1.0 write(${connection}, "HTTP/1.1 201 Created\r\nLocation: /v2/a/manifests/${digest}\r\n\r\n", 99) = 99`;
const progressAnswer = String.raw`7 1.0 write(${connection}, "HTTP/1.1 202 Accepted\r\nRange: 0-4\r\nDocker-Upload-UUID: ${id}\r\n\r\n", 99) = 99`;
const wholePush = [request, writeBytes, syncBytes, rename, syncFolder, writeRow, syncDatabase, answer];

test('a push in the right order is durable', () => {
  expect(check(wholePush)).toMatchObject({ violations: [], blobs: 1, manifests: 0, progress: 0 });
});

const violatingTraces: readonly { name: string; lines: readonly string[]; missing: readonly string[] }[] = [
  {
    name: 'without a sync of the bytes',
    lines: without(syncBytes),
    missing: ['the sync of the bytes'],
  },
  {
    name: 'with bytes written after their sync',
    lines: [request, syncBytes, writeBytes, rename, syncFolder, writeRow, syncDatabase, answer],
    missing: ['the sync of the bytes'],
  },
  {
    name: 'with a sync that failed',
    lines: instead(syncBytes, [syncBytes.replace('= 0', '= -1 EIO (Input/output error)')]),
    missing: ['the sync of the bytes'],
  },
  {
    name: 'with a sync that had not returned when the answer went out',
    lines: [
      request,
      writeBytes,
      syncBytes.replace(') = 0', ' <unfinished ...>'),
      rename.replace('8', '9'),
      ...[syncFolder, writeRow, syncDatabase, answer].map((line) => line.replace(/^8/, '9')),
      '8 1.0 <... fsync resumed>) = 0',
    ],
    missing: ['the sync of the bytes'],
  },
  {
    name: 'renamed before the sync',
    lines: [request, writeBytes, rename, syncBytes, syncFolder, writeRow, syncDatabase, answer],
    missing: ['the sync of the bytes before the rename'],
  },
  { name: 'never renamed', lines: without(rename), missing: ['the rename'] },
  {
    name: 'without a sync of the folder',
    lines: without(syncFolder),
    missing: ['the sync of the folder after the rename'],
  },
  {
    name: 'with a sync of the folder before the rename',
    lines: [request, writeBytes, syncBytes, syncFolder, rename, writeRow, syncDatabase, answer],
    missing: ['the sync of the folder after the rename'],
  },
  {
    name: 'with the row before the folder',
    lines: [request, writeBytes, syncBytes, rename, writeRow, syncDatabase, syncFolder, answer],
    missing: ['the row after the sync of the folder'],
  },
  { name: 'without a sync of the database', lines: without(syncDatabase), missing: ['the sync of the database'] },
  {
    name: 'answered before the sync of the database',
    lines: [request, writeBytes, syncBytes, rename, syncFolder, writeRow, answer, syncDatabase],
    missing: ['the sync of the database'],
  },
  {
    name: 'with bytes that no call in the trace wrote',
    lines: without(writeBytes),
    missing: ['all bytes of the file'],
  },
];

test.each(violatingTraces)('a push $name is a violation', ({ lines, missing }) => {
  expect(check(lines).violations.map((violation) => violation.missing)).toEqual(missing);
});

test('the calls of other threads in between do not matter', () => {
  const lines = [
    request,
    writeBytes,
    syncBytes.replace(') = 0', ' <unfinished ...>'),
    '9 1.0 fsync(30</d/blobs/cd>) = 0',
    '8 1.0 <... fsync resumed>) = 0',
    ...wholePush.slice(3),
  ];
  expect(check(lines).violations).toEqual([]);
});

test('a manifest must be in the synced database', () => {
  expect(check([request, writeRow, syncDatabase, manifestAnswer])).toMatchObject({ violations: [], manifests: 1 });
  expect(check([request, writeRow, manifestAnswer]).violations).toMatchObject([
    { missing: 'the sync of the database' },
  ]);
  expect(check([writeRow, syncDatabase, request, manifestAnswer]).violations).toMatchObject([
    { missing: 'a change of the database' },
  ]);
});

test('a manifest that is pushed again may change nothing', () => {
  const lines = [request, writeRow, syncDatabase, manifestAnswer, request, manifestAnswer];
  expect(check(lines)).toMatchObject({ violations: [], manifests: 2 });
});

test('a session that was only opened need not be in the synced database, and nothing else is spared for it', () => {
  const other = '9<TCP:[127.0.0.1:1->127.0.0.1:3]>';
  const open = String.raw`7 1.0 read(${other}, "POST /v2/a/blobs/uploads/ HTTP/1.1\r\n\r\n", 65536) = 99`;
  const opened = String.raw`7 1.0 write(${other}, "HTTP/1.1 202 Accepted\r\nRange: 0-0\r\nDocker-Upload-UUID: ${id}\r\n\r\n", 99) = 99`;
  const between = (...lines: readonly string[]) => [...wholePush.slice(0, -1), ...lines, answer];
  expect(check([...wholePush, open, writeRow, opened])).toMatchObject({ violations: [], others: 1 });
  expect(check([...between(open, writeRow), opened]).violations).toEqual([]);
  expect(check([...between(open, writeRow, writeRow), opened]).violations).toMatchObject([
    { missing: 'the sync of the database' },
  ]);
  expect(check([...between(open, writeRow, opened, writeRow)]).violations).toMatchObject([
    { missing: 'the sync of the database' },
  ]);
});

test('an audit record need not be synced, and nothing else is spared for it', () => {
  const header = writeRow;
  const record = `7 1.0 pwrite64(19</d/weir.sqlite-wal>, "admin PUT /v2/a/blobs/uploads/${id}", 4096, 24) = 4096`;
  const row = `7 1.0 pwrite64(19</d/weir.sqlite-wal>, "ab/${id}", 4096, 24) = 4096`;
  const before = [request, writeBytes, syncBytes, rename, syncFolder];
  const missing = [{ missing: 'the sync of the database' }];
  expect(check([...before, header, row, syncDatabase, header, record, answer]).violations).toEqual([]);
  expect(check([...before, header, row, header, record, answer]).violations).toMatchObject(missing);
  expect(check([...before, header, record, header, row, answer]).violations).toMatchObject(missing);
  expect(check([...before, header, record, syncDatabase, header, row, answer]).violations).toMatchObject(missing);
});

test('bytes that are told to be received must be synced', () => {
  const lines = [request, writeBytes, syncBytes, writeRow, syncDatabase, progressAnswer];
  expect(check(lines)).toMatchObject({ violations: [], progress: 1 });
  expect(check(lines.filter((line) => line !== syncBytes)).violations).toMatchObject([
    { missing: 'the sync of the bytes', what: `/d/uploads/${id}` },
  ]);
});

test('what was made without a sync of its folder is fleeting', () => {
  const lines = [
    '7 1.0 mkdir("/d", 0700) = 0',
    '7 1.0 mkdir("/d/keys", 0700) = 0',
    '7 1.0 openat(AT_FDCWD</x>, "/d/a", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5</d/a>',
    '7 1.0 openat(AT_FDCWD</x>, "/d/gone", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5</d/gone>',
    '7 1.0 fsync(6</d>) = 0',
    '7 1.0 unlink("/d/gone") = 0',
    '7 1.0 openat(AT_FDCWD</x>, "/d/keys/.new", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5</d/keys/.new>',
    '7 1.0 rename("/d/keys/.new", "/d/keys/key") = 0',
  ];
  expect(findFleetingEntries(parseTrace(lines.join('\n')), '/d', () => true)).toEqual(['/d', '/d/keys/key']);
});

describe('when requests run side by side', () => {
  const page = `7 1.0 pwrite64(19</d/weir.sqlite-wal>, "row ab/${id} end", 4096, 24) = 4096`;
  const otherPage = '7 1.0 pwrite64(19</d/weir.sqlite-wal>, "row of another", 4096, 24) = 4096';
  const own = [writeRow, page];
  const others = [writeRow, otherPage];
  const before = [request, writeBytes, syncBytes, rename, syncFolder];

  test.each([
    { name: 'its own is synced', lines: [...own, syncDatabase], violations: 0 },
    { name: "another's that came after it is not synced yet", lines: [...own, syncDatabase, ...others], violations: 0 },
    { name: 'it shares a sync with another', lines: [...others, ...own, syncDatabase], violations: 0 },
    { name: 'its own is not synced', lines: own, violations: 1 },
    { name: "only another's that came before it is synced", lines: [...others, syncDatabase, ...own], violations: 1 },
  ])('a commit is looked at by itself: $name', ({ lines, violations }) => {
    const report = check([...before, ...lines, answer], { ...registry, concurrent: true });
    expect(report.violations.map(({ missing }) => missing)).toEqual(Array(violations).fill('the sync of the database'));
  });
});

function check(lines: readonly string[], { concurrent } = registry): DurabilityReport {
  return checkDurability(parseTrace(lines.join('\n')), { ...registry, concurrent });
}

function without(left: string): string[] {
  return instead(left, []);
}

function instead(left: string, others: readonly string[]): string[] {
  return wholePush.flatMap((line) => (line === left ? others : [line]));
}
