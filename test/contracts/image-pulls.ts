import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ImagePulls, UnpulledPosition } from '../../src/metadata/image-pulls.js';
import type { RepositoryStore } from '../../src/metadata/repository-store.js';
import type { Digest } from '../../src/oci/digest.js';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.js';
import { by, imagePush } from './pushes.js';

/** A store beside that of the images whose pulls it keeps. */
export interface OpenPulls {
  readonly pulls: ImagePulls;
  readonly repositories: RepositoryStore;
  readonly countRows: () => Promise<number>;
  readonly close: () => Promise<unknown>;
}

const alpine = parseRepositoryName('hub/library/alpine');
const redis = parseRepositoryName('hub/library/redis');
const other = parseRepositoryName('hub2/app');

/**
 * Everything that any ImagePulls must do.
 *
 * @param open opens an empty store with projects `hub` and `hub2`, whose clock is given
 */
export function imagePullsContract(name: string, open: (now: () => Date) => Promise<OpenPulls>): void {
  describe(`${name} has pulls of images that`, () => {
    const day = (number: number) => new Date(Date.UTC(2026, 0, number));
    let now: Date;
    let store: OpenPulls;
    beforeEach(async () => {
      now = day(1);
      store = await open(() => now);
    });
    afterEach(() => store.close());

    const push = async (repository: RepositoryName, label: string): Promise<Digest> => {
      const image = imagePush({ repository, name: label, tags: [label] });
      await store.repositories.putManifest(image);
      return image.digest;
    };

    /** All pages. */
    const unpulled = async (before: Date, limit = 100, project = 'hub') => {
      const found: string[] = [];
      let after: UnpulledPosition | undefined;
      do {
        const page = await store.pulls.listUnpulled(project, before, { after, limit });
        found.push(...page.images.map(({ repository, image }) => `${repository}@${image}`));
        after = page.next;
      } while (after !== undefined);
      return found;
    };

    test('count from when the image came, until it is pulled', async () => {
      const image = await push(alpine, 'a');
      expect(await unpulled(day(1))).toEqual([]);
      expect(await unpulled(day(2))).toEqual([`${alpine}@${image}`]);
      await store.pulls.record([{ repository: alpine, image, at: day(5) }]);
      expect(await unpulled(day(5))).toEqual([]);
      expect(await unpulled(day(6))).toEqual([`${alpine}@${image}`]);
    });

    test('are kept with their newest time', async () => {
      const image = await push(alpine, 'a');
      await store.pulls.record([{ repository: alpine, image, at: day(5) }]);
      await store.pulls.record([{ repository: alpine, image, at: day(3) }]);
      expect(await unpulled(day(5))).toEqual([]);
      expect(await store.countRows()).toBe(1);
    });

    test('are those of one repository each, and of one project', async () => {
      const [one, same] = [await push(alpine, 'a'), await push(redis, 'a')];
      await push(other, 'b');
      await store.pulls.record([{ repository: alpine, image: one, at: day(5) }]);
      expect(await unpulled(day(3))).toEqual([`${redis}@${same}`]);
    });

    test('of a repository that is not there are left out', async () => {
      const image = await push(alpine, 'a');
      const gone = parseRepositoryName('hub/gone');
      await store.pulls.record([
        { repository: gone, image, at: day(5) },
        { repository: alpine, image, at: day(5) },
      ]);
      expect(await store.countRows()).toBe(1);
    });

    test.each([1, 2, 3, 100])('are listed all, %i looked at at a time', async (limit) => {
      const images = new Set<string>();
      for (const label of ['a', 'b', 'c', 'd']) {
        images.add(`${alpine}@${await push(alpine, label)}`);
        images.add(`${redis}@${await push(redis, label)}`);
      }
      const found = await unpulled(day(9), limit);
      expect(found).toHaveLength(8);
      expect(new Set(found)).toEqual(images);
    });

    test('are forgotten when the image has left, and no others', async () => {
      const [kept, left] = [await push(alpine, 'a'), await push(alpine, 'b')];
      const elsewhere = await push(other, 'c');
      await store.pulls.record([
        { repository: alpine, image: kept, at: day(2) },
        { repository: alpine, image: left, at: day(2) },
        { repository: other, image: elsewhere, at: day(2) },
      ]);
      await store.repositories.deleteManifest(alpine, left, by('ada'), day(3));
      await store.repositories.deleteManifest(other, elsewhere, by('ada'), day(3));
      expect(await store.pulls.forgetUnlinked('hub', 10)).toBe(1);
      expect(await store.pulls.forgetUnlinked('hub', 10)).toBe(0);
      expect(await store.countRows()).toBe(2);
    });
  });
}
