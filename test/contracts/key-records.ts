import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KeyRecords, NewKey } from '../../src/metadata/key-records.js';

/** A store, twice, as two processes see it. */
export interface OpenKeyRecords {
  readonly here: KeyRecords;
  readonly there: KeyRecords;
  /** Those that work at the same time within this process; two connections to one SQLite file would wait for each other. */
  readonly concurrent: readonly KeyRecords[];
  readonly close: () => Promise<unknown>;
}

/**
 * Everything that any KeyRecords must do.
 *
 * @param open opens an empty store
 */
export function keyRecordsContract(name: string, open: () => Promise<OpenKeyRecords>): void {
  describe(`${name} has keys that`, () => {
    let stores: OpenKeyRecords;
    let keys: KeyRecords;
    beforeEach(async () => {
      stores = await open();
      keys = stores.here;
    });
    afterEach(() => stores.close());

    const key = (id: string, second: number): NewKey => ({
      id,
      text: `text of ${id}`,
      createdAt: new Date(Date.UTC(2026, 0, 1, 0, 0, second)),
    });
    const idsOf = async (records: KeyRecords) => (await records.list('registry-tokens')).map(({ id }) => id);

    test('are none at first', async () => {
      expect(await keys.list('registry-tokens')).toEqual([]);
      expect(await keys.find('registry-tokens', 'a')).toBeUndefined();
      expect(await keys.listUnreadable()).toEqual([]);
      expect(await keys.reseal()).toBe(0);
    });

    test('are listed without their texts, the newest first, and by id when they are of one age', async () => {
      for (const each of [key('b', 1), key('d', 2), key('a', 1), key('c', 3)]) await keys.add('registry-tokens', each);
      expect(await idsOf(stores.there)).toEqual(['c', 'd', 'a', 'b']);
      expect((await stores.there.list('registry-tokens'))[0]).toEqual({ id: 'c', createdAt: key('c', 3).createdAt });
    });

    test('are found by purpose and id, by every process', async () => {
      await keys.add('registry-tokens', key('a', 1));
      expect(await stores.there.find('registry-tokens', 'a')).toBe('text of a');
      expect(await stores.there.find('service-account-tokens', 'a')).toBeUndefined();
      expect(await stores.there.find('registry-tokens', 'b')).toBeUndefined();
      expect(await stores.there.list('service-account-tokens')).toEqual([]);
    });

    test('stay what they are when there is another of that id', async () => {
      await keys.add('registry-tokens', key('a', 1));
      await keys.add('registry-tokens', { ...key('a', 2), text: 'another' });
      await keys.add('service-account-tokens', { ...key('a', 3), text: 'of another purpose' });
      expect(await keys.find('registry-tokens', 'a')).toBe('text of a');
      expect(await keys.find('service-account-tokens', 'a')).toBe('of another purpose');
    });

    test('are the first ones of one process, of however many that try', async () => {
      const tries = Array.from({ length: 10 }, (_each, index) =>
        stores.concurrent[index % stores.concurrent.length]!.addFirst('registry-tokens', [
          key(`a${index}`, 1),
          key(`b${index}`, 2),
        ]),
      );
      const added = await Promise.all(tries);
      expect(added.filter(Boolean)).toHaveLength(1);
      expect(await stores.there.addFirst('registry-tokens', [key('late', 3)])).toBe(false);
      const winner = added.indexOf(true);
      expect(await idsOf(stores.there)).toEqual([`b${winner}`, `a${winner}`]);
      expect(await keys.addFirst('certificate-authority', [key('ca', 1)])).toBe(true);
      expect(await keys.addFirst('certificate-authority', [key('another', 1)])).toBe(false);
    });

    test('are removed by purpose and id', async () => {
      for (const id of ['a', 'b', 'c']) await keys.add('registry-tokens', key(id, 1));
      await keys.add('service-account-tokens', key('a', 1));
      await keys.remove('registry-tokens', ['a', 'c', 'unknown']);
      await keys.remove('registry-tokens', []);
      expect(await idsOf(stores.there)).toEqual(['b']);
      expect(await keys.find('service-account-tokens', 'a')).toBe('text of a');
    });
  });
}
