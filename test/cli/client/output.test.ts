import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { formatAnswer, formatSize, formatTable, shortDigest } from '../../../src/cli/client/output.js';
import { plainText } from '../../../src/cli/client/plain-text.js';

const hostile = 'red \u001b[31m\u009b2J\u202etxt.exe\r\nlast\u0007';

/** No character of these is left to a terminal; line ends of our own are. */
const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

describe('what a server says', () => {
  test('has nothing left in it that a terminal acts upon, and is one line', () => {
    expect(plainText(hostile)).toBe('red [31m2Jtxt.exe last');
  });

  test.each(['json', 'yaml'] as const)('is all there in %s, and none of it acts upon a terminal', (format) => {
    const whole = { items: [{ [hostile]: hostile, plain: 'x', lines: 'one\ntwo\n' }] };
    const printed = formatAnswer(format, whole, () => '');
    expect(printed).not.toMatch(acting);
    expect(format === 'json' ? JSON.parse(printed) : parse(printed)).toEqual(whole);
  });

  test('cannot make a row of a table look like two', () => {
    const printed = formatTable({ columns: ['NAME', 'WHY'], rows: [['a', hostile]] });
    expect(printed.split('\n')).toHaveLength(3);
    expect(printed).not.toMatch(acting);
  });
});

describe('a table', () => {
  test('has columns under their headings, without those that are empty', () => {
    const rows = [
      ['app', '', 'é'],
      ['longer', '', 'x'],
    ];
    expect(formatTable({ columns: ['NAME', 'NOTHING', 'X'], rows })).toBe('NAME    X\napp     é\nlonger  x\n');
  });

  test('of very many rows is written', () => {
    const rows = Array.from({ length: 200_000 }, (_row, index) => [String(index)]);
    expect(formatTable({ columns: ['N'], rows })).toHaveLength(rows.join('\n').length + 3);
  });
});

test.each([
  { bytes: 0, shown: '0B' },
  { bytes: 999, shown: '999B' },
  { bytes: 1000, shown: '1.0kB' },
  { bytes: 5_249_000, shown: '5.2MB' },
  { bytes: 99_960, shown: '100kB' },
  { bytes: 999_900, shown: '1.0MB' },
  { bytes: 1.5e12, shown: '1.5TB' },
  { bytes: 2e15, shown: '2000TB' },
  { bytes: null, shown: '' },
])('$bytes bytes are shown as "$shown"', ({ bytes, shown }) => {
  expect(formatSize(bytes)).toBe(shown);
});

test('a digest is shown by its beginning, and anything else as it is', () => {
  expect(shortDigest(`sha256:${'ab'.repeat(32)}`)).toBe('sha256:abababababab');
  expect(shortDigest('something')).toBe('something');
  expect(shortDigest(undefined)).toBe('');
});
