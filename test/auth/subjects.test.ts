import { describe, expect, test } from 'vitest';
import {
  groupsOfServiceAccount,
  parseServiceAccountName,
  serviceAccountName,
  subjectMatches,
  type Subject,
} from '../../src/auth/subjects.js';

const ada = { name: 'ada', groups: ['system:authenticated'] };
const anonymous = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
const builder = {
  name: 'system:serviceaccount:team:builder',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated'],
};

function user(name: string): Subject {
  return { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name };
}

function group(name: string): Subject {
  return { kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name };
}

describe('a subject', () => {
  test.each<{
    readonly name: string;
    readonly subject: Subject;
    readonly principal: { readonly name: string; readonly groups: readonly string[] };
    readonly namespace?: string;
    readonly yes: boolean;
  }>([
    { name: 'user is who has the name', subject: user('ada'), principal: ada, yes: true },
    { name: 'user is nobody else', subject: user('ad'), principal: ada, yes: false },
    { name: 'user is not who spells it otherwise', subject: user('Ada'), principal: ada, yes: false },
    {
      name: 'user is not who is in a group of the name',
      subject: user('system:authenticated'),
      principal: ada,
      yes: false,
    },
    { name: 'user * is no pattern', subject: user('*'), principal: ada, yes: false },
    { name: 'user may be the anonymous one', subject: user('system:anonymous'), principal: anonymous, yes: true },
    { name: 'user may be a service account', subject: user(builder.name), principal: builder, yes: true },
    { name: 'group is who is in it', subject: group('system:authenticated'), principal: ada, yes: true },
    { name: 'group is not who is in another one', subject: group('system:masters'), principal: ada, yes: false },
    { name: 'group is not who has its name', subject: group('ada'), principal: ada, yes: false },
    {
      name: 'group may be that of the anonymous',
      subject: group('system:unauthenticated'),
      principal: anonymous,
      yes: true,
    },
    {
      name: 'group of the logged in are not the anonymous',
      subject: group('system:authenticated'),
      principal: anonymous,
      yes: false,
    },
    {
      name: 'service account is the one of its namespace',
      subject: { kind: 'ServiceAccount', namespace: 'team', name: 'builder' },
      principal: builder,
      namespace: 'other',
      yes: true,
    },
    {
      name: 'service account is none of another namespace',
      subject: { kind: 'ServiceAccount', namespace: 'other', name: 'builder' },
      principal: builder,
      namespace: 'team',
      yes: false,
    },
    {
      name: 'service account without a namespace is in that of the binding',
      subject: { kind: 'ServiceAccount', name: 'builder' },
      principal: builder,
      namespace: 'team',
      yes: true,
    },
    {
      name: 'service account with an empty namespace is in that of the binding',
      subject: { kind: 'ServiceAccount', apiGroup: '', namespace: '', name: 'builder' },
      principal: builder,
      namespace: 'team',
      yes: true,
    },
    {
      name: 'service account without a namespace is not in another one than that of the binding',
      subject: { kind: 'ServiceAccount', name: 'builder' },
      principal: builder,
      namespace: 'other',
      yes: false,
    },
    {
      name: 'service account without any namespace is nobody',
      subject: { kind: 'ServiceAccount', name: 'builder' },
      principal: builder,
      yes: false,
    },
    {
      name: 'service account is not a user of its short name',
      subject: { kind: 'ServiceAccount', namespace: 'team', name: 'ada' },
      principal: ada,
      yes: false,
    },
  ])('$name', ({ subject, principal, namespace, yes }) => {
    expect(subjectMatches(subject, principal, namespace)).toBe(yes);
  });
});

describe('the user name of a service account', () => {
  test('says its namespace and its name', () => {
    expect(serviceAccountName('team', 'builder')).toBe('system:serviceaccount:team:builder');
  });

  test.each([
    { text: 'system:serviceaccount:team:builder', namespace: 'team', name: 'builder' },
    { text: 'system:serviceaccount:a:b.c-d.2', namespace: 'a', name: 'b.c-d.2' },
  ])('is found in $text', ({ text, namespace, name }) => {
    expect(parseServiceAccountName(text)).toEqual({ namespace, name });
  });

  test.each([
    'ada',
    'system:anonymous',
    'system:serviceaccounts:team:builder',
    'system:serviceaccount:',
    'system:serviceaccount:team',
    'system:serviceaccount:team:',
    'system:serviceaccount::builder',
    'system:serviceaccount:team:builder:x',
    'system:serviceaccount:Team:builder',
    'system:serviceaccount:te.am:builder',
    'system:serviceaccount:team:a..b',
    'system:serviceaccount:team:-a',
    'system:serviceaccount:team:a/b',
    `system:serviceaccount:${'x'.repeat(64)}:builder`,
    `system:serviceaccount:team:${'x'.repeat(254)}`,
    'SYSTEM:serviceaccount:team:builder',
    'x system:serviceaccount:team:builder',
    'system:serviceaccount:team:builder\n',
  ])('is not %j', (text) => {
    expect(parseServiceAccountName(text)).toBeUndefined();
  });

  test('comes with the groups of all service accounts, those of the namespace, and who is logged in', () => {
    expect(groupsOfServiceAccount('team')).toEqual([
      'system:serviceaccounts',
      'system:serviceaccounts:team',
      'system:authenticated',
    ]);
  });
});
