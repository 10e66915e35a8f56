import { expect, test } from 'vitest';
import { mediaTypes } from '../../conformance/support/image.js';
import { manifestOf } from '../faults/load.js';
import { DrillLedger } from './drill-ledger.js';

const [one, two, three] = ['1', '2', '3'].map((number) =>
  manifestOf({ mediaType: mediaTypes.index, manifests: [], annotations: { number } }),
) as [ReturnType<typeof manifestOf>, ReturnType<typeof manifestOf>, ReturnType<typeof manifestOf>];

test('a copy has what was acknowledged before, or what was asked for while it was made, and nothing else', () => {
  const ledger = new DrillLedger();
  ledger.pushManifest('a/b', one, ['still', 'moved', 'deleted', 'under-way']).acknowledge();
  const underWay = ledger.pushManifest('a/b', two, ['under-way']);
  expect(ledger.beginBackup()).toBe(4);
  underWay.acknowledge();
  ledger.pushManifest('a/b', two, ['moved', 'new']).acknowledge();
  ledger.deleteTag('a/b', 'deleted').acknowledge();
  const expected = ledger.endBackup();
  ledger.pushManifest('a/b', three, ['still', 'moved', 'later']).acknowledge();

  const possible = (tag: string) => expected.tags.get(`a/b:${tag}`)?.possible();
  expect(possible('still')).toEqual(new Set([one.digest]));
  expect(possible('moved')).toEqual(new Set([one.digest, two.digest]));
  expect(possible('deleted')).toEqual(new Set([one.digest, undefined]));
  expect(possible('under-way')).toEqual(new Set([one.digest, two.digest]));
  expect(possible('new')).toEqual(new Set([undefined, two.digest]));
  expect(possible('later')).toBeUndefined();
  expect(expected.images.get(`a/b@${one.digest}`)?.possible()).toEqual(new Set([true]));
});
