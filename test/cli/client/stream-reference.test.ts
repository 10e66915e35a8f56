import { describe, expect, test } from 'vitest';
import { parseStreamReference, showReference } from '../../../src/cli/client/stream-reference.js';
import { UsageError } from '../../../src/cli/usage-error.js';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('a reference on the command line', () => {
  test.each([
    { text: 'shop/app:prod', found: { project: 'shop', stream: 'app', tag: 'prod' } },
    { text: 'shop/app', found: { project: 'shop', stream: 'app' } },
    { text: `shop/app@${digest}`, found: { project: 'shop', stream: 'app', digest } },
    { text: 'shop/app@sha256:12ab34', found: { project: 'shop', stream: 'app', digest: 'sha256:12ab34' } },
    { text: 'app:v1', found: { project: 'current', stream: 'app', tag: 'v1' } },
    { text: 'shop/a/b:v1', found: { project: 'shop', stream: 'a__b', tag: 'v1' } },
    { text: 'shop/a__b:v1', found: { project: 'shop', stream: 'a__b', tag: 'v1' } },
    {
      text: 'localhost:5000/shop/app:v1',
      found: { host: 'localhost:5000', project: 'shop', stream: 'app', tag: 'v1' },
    },
    { text: 'reg.example/shop/app', found: { host: 'reg.example', project: 'shop', stream: 'app' } },
    { text: 'reg.example/app:v1', found: { host: 'reg.example', project: 'current', stream: 'app', tag: 'v1' } },
  ])('$text is read', ({ text, found }) => {
    expect(parseStreamReference(text, 'current')).toEqual({
      host: undefined,
      tag: undefined,
      digest: undefined,
      ...found,
    });
  });

  test.each([
    { name: 'capital letters', text: 'shop/App:v1', message: 'is no name of a stream' },
    { name: 'nothing', text: '', message: 'is no name of a stream' },
    { name: 'an empty tag', text: 'shop/app:', message: '"" is no tag' },
    { name: 'a tag that is too long', text: `shop/app:${'x'.repeat(129)}`, message: 'is no tag' },
    { name: 'a digest of another length', text: 'shop/app@sha256:12', message: 'is no digest' },
    { name: 'a digest of capital letters', text: `shop/app@${digest.toUpperCase()}`, message: 'is no digest' },
    { name: 'a tag and a digest', text: `shop/app:v1@${digest}`, message: 'both a tag and a digest' },
    { name: 'a way out of the path', text: 'shop/../admin', message: 'is no name of a stream' },
  ])('$name is refused', ({ text, message }) => {
    expect(() => parseStreamReference(text, 'current')).toThrow(UsageError);
    expect(() => parseStreamReference(text, 'current')).toThrow(message);
  });

  test('without a project is refused where none is current', () => {
    expect(() => parseStreamReference('app:v1', undefined)).toThrow('"app:v1" names no project; write PROJECT/app');
  });

  test('is shown with the slashes of its repository', () => {
    expect(showReference(parseStreamReference('shop/a__b:v1', undefined))).toBe('shop/a/b:v1');
  });
});
