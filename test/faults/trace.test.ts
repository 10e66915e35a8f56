import { expect, test } from 'vitest';
import { descriptorTarget, parseTrace, stringParameters } from './trace.js';

test('a call on one line ends where it begins', () => {
  expect(
    parseTrace('12 1.5 fsync(7</d/uploads/a>) = 0\n12 1.6 fsync(7</d>)            = -1 EIO (Input/output error)'),
  ).toEqual([
    { name: 'fsync', parameters: '7</d/uploads/a>', result: 0, begin: 0, end: 0 },
    { name: 'fsync', parameters: '7</d>', result: -1, begin: 1, end: 1 },
  ]);
});

test('a call that others came between is joined, and ends where it was resumed', () => {
  const trace = [
    '12 1.0 read(9<TCP:[127.0.0.1:1->127.0.0.1:2]>,  <unfinished ...>',
    '13 1.1 fsync(7</d> <unfinished ...>',
    '12 1.2 <... read resumed>"PUT /", 65536) = 5',
    '13 1.3 <... fsync resumed>) = 0',
  ].join('\n');
  expect(parseTrace(trace)).toMatchObject([
    { name: 'read', result: 5, begin: 0, end: 2 },
    { name: 'fsync', parameters: '7</d>', result: 0, begin: 1, end: 3 },
  ]);
});

test('a call that never returned has no end', () => {
  const trace =
    '12 1.0 fsync(7</d> <unfinished ...>\n13 1.1 fsync(8</d> <unfinished ...>) = ?\n12 1.2 +++ killed by SIGKILL +++';
  expect(parseTrace(trace)).toMatchObject([
    { result: undefined, end: Infinity },
    { result: undefined, end: Infinity },
  ]);
});

test('signals and the ends of threads are no calls', () => {
  expect(parseTrace('12 1.0 --- SIGTERM {si_signo=SIGTERM} ---\n12 1.1 +++ exited with 0 +++\n')).toEqual([]);
});

test.each([
  { parameters: '7</d/weir.sqlite-wal>, "x"', target: '/d/weir.sqlite-wal' },
  { parameters: '9<TCP:[127.0.0.1:80->127.0.0.1:81]>, "x"', target: 'TCP:[127.0.0.1:80->127.0.0.1:81]' },
  { parameters: '"/d/a", "/d/b"', target: undefined },
])('the descriptor of $parameters stands for $target', ({ parameters, target }) => {
  const call = { name: 'write', parameters, result: 1, begin: 0, end: 0 };
  expect(descriptorTarget(call)).toBe(target);
});

test('strings are read with their escapes, wherever they stand', () => {
  const parameters = String.raw`7</d>, [{iov_base="a\"b\r\n\0\3771) = 0", iov_len=9}, {iov_base="\x41\t", iov_len=2}], 2`;
  expect(stringParameters({ name: 'writev', parameters, result: 11, begin: 0, end: 0 })).toEqual([
    'a"b\r\n\0\xff1) = 0',
    'A\t',
  ]);
});
