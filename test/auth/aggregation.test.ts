import { describe, expect, test } from 'vitest';
import {
  aggregateRules,
  selectorMatches,
  type AggregableRole,
  type LabelSelector,
} from '../../src/auth/aggregation.js';
import type { PolicyRule } from '../../src/auth/rules.js';

describe('a label selector', () => {
  const labels = { tier: 'gold', team: 'a' };

  test.each<{ readonly name: string; readonly selector: LabelSelector; readonly yes: boolean }>([
    { name: 'that is empty selects everything', selector: {}, yes: true },
    { name: 'with an equal label selects', selector: { matchLabels: { tier: 'gold' } }, yes: true },
    { name: 'with another value does not', selector: { matchLabels: { tier: 'silver' } }, yes: false },
    { name: 'with a label that is not there does not', selector: { matchLabels: { x: '' } }, yes: false },
    { name: 'needs all its labels', selector: { matchLabels: { tier: 'gold', team: 'b' } }, yes: false },
    {
      name: 'In one of the values selects',
      selector: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['x', 'gold'] }] },
      yes: true,
    },
    {
      name: 'In other values does not',
      selector: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['x'] }] },
      yes: false,
    },
    {
      name: 'In values of a label that is not there does not',
      selector: { matchExpressions: [{ key: 'x', operator: 'In', values: ['x'] }] },
      yes: false,
    },
    { name: 'In no values does not', selector: { matchExpressions: [{ key: 'tier', operator: 'In' }] }, yes: false },
    {
      name: 'NotIn other values selects',
      selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['x'] }] },
      yes: true,
    },
    {
      name: 'NotIn its value does not',
      selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['gold'] }] },
      yes: false,
    },
    {
      name: 'NotIn values of a label that is not there selects',
      selector: { matchExpressions: [{ key: 'x', operator: 'NotIn', values: ['gold'] }] },
      yes: true,
    },
    {
      name: 'of a label that Exists selects',
      selector: { matchExpressions: [{ key: 'team', operator: 'Exists' }] },
      yes: true,
    },
    {
      name: 'of a label that should exist does not',
      selector: { matchExpressions: [{ key: 'x', operator: 'Exists' }] },
      yes: false,
    },
    {
      name: 'of what every object has does not',
      selector: { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] },
      yes: false,
    },
    {
      name: 'of a label that should not exist selects',
      selector: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] },
      yes: true,
    },
    {
      name: 'of a label that should not exist but does, does not',
      selector: { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
      yes: false,
    },
    {
      name: 'needs all its expressions besides its labels',
      selector: {
        matchLabels: { tier: 'gold' },
        matchExpressions: [
          { key: 'team', operator: 'Exists' },
          { key: 'x', operator: 'Exists' },
        ],
      },
      yes: false,
    },
  ])('$name', ({ selector, yes }) => {
    expect(selectorMatches(selector, labels)).toBe(yes);
  });

  test('with an unknown operator selects nothing', () => {
    const selector = JSON.parse(
      '{"matchExpressions":[{"key":"tier","operator":"Gt","values":["1"]}]}',
    ) as LabelSelector;
    expect(selectorMatches(selector, labels)).toBe(false);
  });

  test('selects among no labels as among those that are not there', () => {
    expect(selectorMatches({ matchLabels: { tier: 'gold' } })).toBe(false);
    expect(selectorMatches({ matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] })).toBe(true);
  });
});

describe('the rules of a ClusterRole', () => {
  function mayGet(resource: string): PolicyRule {
    return { verbs: ['get'], apiGroups: [''], resources: [resource] };
  }

  function leaf(name: string, ...labels: readonly string[]): AggregableRole {
    return { metadata: { name, labels: labelled(labels) }, rules: [mayGet(name)] };
  }

  function aggregated(name: string, selected: readonly string[], ...labels: readonly string[]): AggregableRole {
    return {
      metadata: { name, labels: labelled(labels) },
      rules: [mayGet(`own of ${name}`)],
      aggregationRule: { clusterRoleSelectors: selected.map((label) => ({ matchLabels: { [label]: 'true' } })) },
    };
  }

  function labelled(labels: readonly string[]): Record<string, string> {
    return Object.fromEntries(labels.map((label) => [label, 'true']));
  }

  test('that does not aggregate are its own, as they are', () => {
    const rules = [mayGet('x'), mayGet('x')];
    expect(aggregateRules({ metadata: { name: 'r' }, rules }, [leaf('other', 'a')])).toEqual(rules);
    expect(aggregateRules({ metadata: { name: 'r' } }, [leaf('other', 'a')])).toEqual([]);
  });

  test.each<{
    readonly name: string;
    readonly roles: readonly AggregableRole[];
    readonly resources: readonly string[];
  }>([
    { name: 'that selects nothing are none', roles: [aggregated('r', [])], resources: [] },
    {
      name: 'that aggregates are those of what it selects, by name, and not its own',
      roles: [aggregated('r', ['a']), leaf('y', 'a'), leaf('x', 'a', 'b'), leaf('z', 'b'), leaf('w')],
      resources: ['x', 'y'],
    },
    {
      name: 'with several selectors are those of what any of them selects, once',
      roles: [aggregated('r', ['a', 'b']), leaf('x', 'a', 'b'), leaf('y', 'b')],
      resources: ['x', 'y'],
    },
    {
      name: 'reach through others that aggregate, whatever the order',
      roles: [leaf('x', 'c'), aggregated('s', ['b'], 'a'), aggregated('r', ['a']), aggregated('t', ['c'], 'b')],
      resources: ['x'],
    },
    {
      name: 'that aggregate each other end',
      roles: [aggregated('r', ['a'], 'b'), aggregated('s', ['b', 'c'], 'a'), leaf('x', 'c')],
      resources: ['x'],
    },
    {
      name: 'that selects itself are not its own',
      roles: [aggregated('r', ['a'], 'a'), leaf('x', 'a')],
      resources: ['x'],
    },
  ])('$name', ({ roles, resources }) => {
    const role = roles.find(({ metadata }) => metadata.name === 'r')!;
    expect(aggregateRules(role, roles)).toEqual(resources.map(mayGet));
  });

  test('that aggregates through a long chain are found', () => {
    const chain = Array.from({ length: 300 }, (_, index) => aggregated(`r${index}`, [`l${index + 1}`], `l${index}`));
    expect(aggregateRules(chain[0]!, [...chain, leaf('x', 'l300')])).toEqual([mayGet('x')]);
  });

  test('are the same for a role that is not among all of them', () => {
    expect(aggregateRules(aggregated('new', ['a']), [leaf('x', 'a')])).toEqual([mayGet('x')]);
  });

  test('for the same things are merged', () => {
    const roles: readonly AggregableRole[] = [
      { metadata: { name: 'x', labels: { a: 'true' } }, rules: [mayGet('pods')] },
      { metadata: { name: 'y', labels: { a: 'true' } }, rules: [{ ...mayGet('pods'), verbs: ['get', 'list'] }] },
    ];
    expect(aggregateRules(aggregated('r', ['a']), roles)).toEqual([{ ...mayGet('pods'), verbs: ['get', 'list'] }]);
  });
});
