import { describe, expect, test } from 'vitest';
import { chooseTargets } from '../../src/distribution/archive-names.js';
import type { Digest } from '../../src/oci/digest.js';
import { OciError } from '../../src/oci/errors.js';
import { parseTag } from '../../src/oci/reference.js';
import { parseRepositoryName } from '../../src/oci/repository-name.js';
import { sha256 } from '../support/images.js';

const inProject = (path: string) => parseRepositoryName(`shop/${path}`);

function choose(names: readonly (readonly string[])[], wanted: { repository?: string; tag?: string } = {}) {
  const images = names.map((own, index) => ({
    digest: sha256(String(index)) as Digest,
    mediaType: undefined,
    names: own,
  }));
  const { targets, warnings } = chooseTargets(
    images,
    {
      repository: wanted.repository === undefined ? undefined : inProject(wanted.repository),
      tag: wanted.tag === undefined ? undefined : parseTag(wanted.tag),
    },
    inProject,
  );
  return { named: targets.flatMap(({ repository, tags }) => tags.map((tag) => `${repository}:${tag}`)), warnings };
}

describe('where an image of an archive goes', () => {
  test.each([
    { own: ['docker.io/library/app:v1'], named: ['shop/app:v1'] },
    { own: ['app:v1'], named: ['shop/app:v1'] },
    { own: ['localhost/app:v1'], named: ['shop/app:v1'] },
    { own: ['localhost:5000/app:v1'], named: ['shop/app:v1'] },
    { own: ['team/app:v1'], named: ['shop/app:v1'] },
    { own: ['quay.io/team/tools/app:v1'], named: ['shop/tools/app:v1'] },
    { own: [`quay.io/team/app:v1@${sha256('x')}`], named: ['shop/app:v1'] },
    { own: ['a:v1', 'b:v2', 'b:v3'], named: ['shop/a:v1', 'shop/b:v2', 'shop/b:v3'] },
    { own: ['v1', 'app:v2'], named: ['shop/app:v2'] },
    { own: ['v1'], wanted: { repository: 'x' }, named: ['shop/x:v1'] },
    { own: ['a:v1', 'b:v2'], wanted: { repository: 'x' }, named: ['shop/x:v1', 'shop/x:v2'] },
    { own: ['a:v1', 'a:v2'], wanted: { tag: 't' }, named: ['shop/a:t'] },
    { own: [], wanted: { repository: 'x/y', tag: 't' }, named: ['shop/x/y:t'] },
    { own: ['NO NAME'], wanted: { repository: 'x', tag: 't' }, named: ['shop/x:t'] },
  ])('$own with $wanted is $named', ({ own, wanted, named }) => {
    expect(choose([own], wanted).named).toEqual(named);
  });

  test.each([
    { names: [[]], wanted: { tag: 't' }, reason: 'names a repository' },
    { names: [['v1']], wanted: {}, reason: 'names a repository' },
    { names: [[]], wanted: { repository: 'x' }, reason: 'names a tag' },
    { names: [['quay.io/team/app']], wanted: {}, reason: 'names a tag' },
    { names: [['NO NAME']], wanted: {}, reason: 'names a repository' },
    { names: [['a:v1'], ['b:v1']], wanted: { repository: 'x' }, reason: 'would get the same tag' },
    { names: [[], []], wanted: { repository: 'x', tag: 't' }, reason: 'would get the same tag' },
  ])('$names with $wanted is refused', ({ names, wanted, reason }) => {
    const attempt = (): unknown => choose(names, wanted);
    expect(attempt).toThrow(OciError);
    try {
      attempt();
    } catch (error) {
      expect((error as OciError).detail).toMatchObject({ reason: expect.stringContaining(reason) as string });
    }
  });

  test('is told of what is left out', () => {
    expect(choose([['a:v1', 'A B:v1'], []]).warnings).toEqual([
      '1 manifests without a name were left out',
      'A B:v1 is no name of an image, and was left out',
    ]);
  });

  test('is nowhere without images', () => {
    expect(() => choose([])).toThrow(OciError);
  });
});
