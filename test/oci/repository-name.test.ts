import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRepositoryName, projectOf, streamNameOf } from '../../src/oci/repository-name.js';

describe('parseRepositoryName', () => {
  test.each([
    { text: 'app', name: 'library/app', project: 'library', stream: 'app' },
    { text: 'library/app', name: 'library/app', project: 'library', stream: 'app' },
    { text: 'team/app', name: 'team/app', project: 'team', stream: 'app' },
    { text: 'team/a/b', name: 'team/a/b', project: 'team', stream: 'a__b' },
    { text: 'team/a__b', name: 'team/a/b', project: 'team', stream: 'a__b' },
    { text: 'team/a/b__c/d', name: 'team/a/b/c/d', project: 'team', stream: 'a__b__c__d' },
    { text: 'a__b', name: 'library/a/b', project: 'library', stream: 'a__b' },
    { text: 'team/a_b', name: 'team/a_b', project: 'team', stream: 'a_b' },
    { text: 'team/a.b', name: 'team/a.b', project: 'team', stream: 'a.b' },
    { text: 'team/a-b', name: 'team/a-b', project: 'team', stream: 'a-b' },
    { text: 'team/a---b', name: 'team/a---b', project: 'team', stream: 'a---b' },
    { text: '0/0', name: '0/0', project: '0', stream: '0' },
    { text: 'my-team/app', name: 'my-team/app', project: 'my-team', stream: 'app' },
    { text: `${'p'.repeat(63)}/a`, name: `${'p'.repeat(63)}/a`, project: 'p'.repeat(63), stream: 'a' },
    { text: `p/${'a'.repeat(253)}`, name: `p/${'a'.repeat(253)}`, project: 'p', stream: 'a'.repeat(253) },
    { text: 'library/library', name: 'library/library', project: 'library', stream: 'library' },
  ])('$text is $name', ({ text, name, project, stream }) => {
    const parsed = parseRepositoryName(text);
    expect(parsed).toBe(name);
    expect(projectOf(parsed)).toBe(project);
    expect(streamNameOf(parsed)).toBe(stream);
  });

  test('completes a name of one component with the default project', () => {
    expect(parseRepositoryName('app', 'team')).toBe('team/app');
    expect(parseRepositoryName('library/app', 'team')).toBe('library/app');
  });

  test.each([
    ['empty text', ''],
    ['a slash', '/'],
    ['a leading slash', '/app'],
    ['a trailing slash', 'app/'],
    ['an empty component', 'team//app'],
    ['a dot', '.'],
    ['two dots', '..'],
    ['a dot-dot component', 'team/../app'],
    ['upper case', 'Team/app'],
    ['a leading separator', 'team/-app'],
    ['a trailing separator', 'team/app-'],
    ['a leading __', 'team/__app'],
    ['a trailing __', 'team/app__'],
    ['two dots inside', 'team/a..b'],
    ['three underscores', 'team/a___b'],
    ['mixed separators', 'team/a-_b'],
    ['a space', 'team/a b'],
    ['a newline at the end', 'team/app\n'],
    ['a NUL', 'team/app\0'],
    ['a backslash', 'team\\app'],
    ['a percent sign', 'team/%61pp'],
    ['a colon', 'team/app:v1'],
    ['an at sign', 'team/app@x'],
    ['a letter that is no ASCII', 'team/é'],
    ['a project with a dot', 'my.team/app'],
    ['a project with an underscore', 'my_team/app'],
    ['a project with __, which would be a separator', 'my__team/app'],
    ['a project of 64 characters', `${'p'.repeat(64)}/app`],
    ['254 characters below the project', `p/${'a'.repeat(254)}`],
    ['254 characters below the project, / counted as __', `p/${'a'.repeat(126)}/${'b'.repeat(126)}`],
    ['513 characters', 'a'.repeat(513)],
    ['a million characters', 'a-'.repeat(500_000)],
  ])('refuses %s', (_name, text) => {
    expect(() => parseRepositoryName(text)).toThrow(expect.objectContaining({ code: 'NAME_INVALID', status: 400 }));
  });

  test('is not slow for names made to be slow', () => {
    const began = performance.now();
    for (const text of [
      `${'a-'.repeat(255)}!`,
      `${'a'.repeat(511)}!`,
      `${'a/'.repeat(255)}!`,
      `a${'-'.repeat(510)}!`,
    ]) {
      expect(() => parseRepositoryName(text)).toThrow();
    }
    expect(performance.now() - began).toBeLessThan(1000);
  });

  const component = fc
    .array(fc.string({ unit: fc.constantFrom('a', '0', 'z'), minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    })
    .chain((words) => fc.constantFrom('.', '_', '__', '-', '--').map((separator) => words.join(separator)));
  const project = fc.constantFrom('a', 'a-b', '0', 'team');

  test('gives a name that parses to itself, and so does its stream name', () => {
    fc.assert(
      fc.property(project, fc.array(component, { minLength: 1, maxLength: 4 }), (first, path) => {
        const name = parseRepositoryName([first, ...path].join('/'));
        expect(parseRepositoryName(name)).toBe(name);
        expect(parseRepositoryName(`${projectOf(name)}/${streamNameOf(name)}`)).toBe(name);
        expect(streamNameOf(name)).not.toContain('/');
      }),
    );
  });
});
