import { describe, expect, test } from 'vitest';
import { identityName, isGroupName, isProvidedGroupName, isUserName } from '../../src/identity/names.js';

describe('the name of a user', () => {
  test.each([
    { name: 'bob', yes: true },
    { name: 'bob@example.com', yes: true },
    { name: 'José', yes: true },
    { name: 'a'.repeat(128), yes: true },
    { name: 'a'.repeat(129), yes: false },
    { name: '', yes: false },
    { name: '~', yes: false },
    { name: '.', yes: false },
    { name: '..', yes: false },
    { name: 'system', yes: false },
    { name: 'SYSTEM', yes: false },
    { name: 'system:admin', yes: false },
    { name: 'system:serviceaccount:team:ci', yes: false },
    { name: 'a:b', yes: false },
    { name: 'a/b', yes: false },
    { name: 'a%2fb', yes: false },
    { name: 'bob ', yes: false },
    { name: 'b ob', yes: false },
    { name: 'bob\0root', yes: false },
    { name: 'bob\u200b', yes: false },
    { name: '\u202ebob', yes: false },
    { name: 'Jose\u0301', yes: false },
  ])('can be $name: $yes', ({ name, yes }) => {
    expect(isUserName(name)).toBe(yes);
  });
});

describe('the name of a group', () => {
  test.each([
    { name: 'developers', object: true, provided: true },
    { name: 'Team A', object: true, provided: true },
    { name: 'org:team', object: false, provided: true },
    { name: '/org/team', object: false, provided: true },
    { name: 'system:masters', object: false, provided: false },
    { name: 'System:masters', object: false, provided: false },
    { name: 'x\0system:masters', object: false, provided: false },
    { name: '~', object: false, provided: true },
    { name: '', object: false, provided: false },
    { name: ' a', object: false, provided: true },
  ])('can be $name of an object: $object, of a provider: $provided', ({ name, object, provided }) => {
    expect(isGroupName(name)).toBe(object);
    expect(isProvidedGroupName(name)).toBe(provided);
  });
});

describe('the name of an identity', () => {
  test.each([
    { subject: 'bob', name: 'sso:bob' },
    { subject: 'auth0|5f', name: 'sso:auth0|5f' },
    { subject: 'a:b', name: 'sso:a:b' },
    { subject: 'a/b', name: 'sso:b64:YS9i' },
    { subject: 'a b', name: 'sso:b64:YSBi' },
    { subject: 'b64:YS9i', name: 'sso:b64:YjY0OllTOWk' },
    { subject: 'x'.repeat(180), name: `sso:${'x'.repeat(180)}` },
    { subject: 'x'.repeat(255), name: 'sso:sha256:0iYJ2jrjlWykh3BWqOWA7tdEpvfXz6WxndiNUvzA1DU' },
  ])('is $name for $subject', ({ subject, name }) => {
    expect(identityName('sso', subject)).toBe(name);
  });
});
