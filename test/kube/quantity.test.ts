import { describe, expect, test } from 'vitest';
import { formatQuantity, readQuantity } from '../../src/kube/quantity.js';

describe('a quantity', () => {
  test.each([
    { text: '0', value: 0, shown: '0' },
    { text: '10', value: 10, shown: '10' },
    { text: '+10', value: 10, shown: '10' },
    { text: '1000', value: 1000, shown: '1k' },
    { text: '1024', value: 1024, shown: '1024' },
    { text: '1500000', value: 1_500_000, shown: '1500k' },
    { text: '5.', value: 5, shown: '5' },
    { text: '.5', value: 0.5, shown: '500m' },
    { text: '500m', value: 0.5, shown: '500m' },
    { text: '2000m', value: 2, shown: '2' },
    { text: '3u', value: 0.000_003, shown: '1m' },
    { text: '2k', value: 2000, shown: '2k' },
    { text: '2M', value: 2_000_000, shown: '2M' },
    { text: '1E', value: 1e18, shown: '1E' },
    { text: '12e3', value: 12_000, shown: '12k' },
    { text: '1E3', value: 1000, shown: '1k' },
    { text: '1Ki', value: 1024, shown: '1Ki' },
    { text: '2048Mi', value: 2_147_483_648, shown: '2Gi' },
    { text: '1.5Gi', value: 1_610_612_736, shown: '1536Mi' },
    { text: '0.5Ki', value: 512, shown: '512' },
    { text: '1Ei', value: 2 ** 60, shown: '1Ei' },
    { text: '1e999999', value: Infinity, shown: 'Infinity' },
  ])('"$text" is $value, and written as $shown', ({ text, value, shown }) => {
    const quantity = readQuantity(text);
    expect(quantity?.value).toBe(value);
    expect(formatQuantity(quantity!)).toBe(shown);
  });

  test('of bytes is written in units of 1024 where these leave no fraction', () => {
    expect(formatQuantity({ value: 1_048_576, units: 'binary' })).toBe('1Mi');
    expect(formatQuantity({ value: 1_048_577, units: 'binary' })).toBe('1048577');
    expect(formatQuantity({ value: 1000, units: 'binary' })).toBe('1k');
  });

  test.each(['', 'a', '1 ', '1Gib', '1gi', '1K', '--1', '1e', '1.2.3', '0x10', 'Infinity', 'NaN', '1k1'])(
    '"%s" is none',
    (text) => {
      expect(readQuantity(text)).toBeUndefined();
    },
  );
});
