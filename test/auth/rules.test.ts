import { describe, expect, test } from 'vitest';
import {
  compactRules,
  describeRule,
  ruleAllows,
  rulesAllow,
  uncoveredRules,
  type AccessRequest,
  type PolicyRule,
} from '../../src/auth/rules.js';

const image = ['', 'image.openshift.io'];

function get(resource: string, more: { verb?: string; group?: string; name?: string } = {}): AccessRequest {
  return { kind: 'resource', verb: 'get', group: 'image.openshift.io', resource, namespace: 'team', ...more };
}

function path(path: string, verb = 'get'): AccessRequest {
  return { kind: 'path', verb, path };
}

function url(...nonResourceURLs: readonly string[]): PolicyRule {
  return { verbs: ['get'], nonResourceURLs };
}

const readStreams: PolicyRule = { verbs: ['get', 'list'], apiGroups: image, resources: ['imagestreams'] };
const oneStream: PolicyRule = { ...readStreams, resourceNames: ['app'] };
const everything: PolicyRule = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] };

function rule(verbs: string, apiGroups: string, resources: string, ...resourceNames: readonly string[]): PolicyRule {
  const words = (text: string) => text.split(',').map((word) => (word === 'core' ? '' : word));
  const named = resourceNames.length === 0 ? {} : { resourceNames };
  return { verbs: words(verbs), apiGroups: words(apiGroups), resources: words(resources), ...named };
}

describe('a rule', () => {
  test.each<{
    readonly name: string;
    readonly rule: PolicyRule;
    readonly request: AccessRequest;
    readonly yes: boolean;
  }>([
    { name: 'allows its verb', rule: readStreams, request: get('imagestreams'), yes: true },
    { name: 'allows no other verb', rule: readStreams, request: get('imagestreams', { verb: 'watch' }), yes: false },
    { name: 'allows each of its groups', rule: readStreams, request: get('imagestreams', { group: '' }), yes: true },
    { name: 'allows no other group', rule: readStreams, request: get('imagestreams', { group: 'apps' }), yes: false },
    { name: 'allows no other resource', rule: readStreams, request: get('images'), yes: false },
    { name: 'compares exactly', rule: readStreams, request: get('ImageStreams'), yes: false },
    {
      name: 'for a resource allows none of its subresources',
      rule: readStreams,
      request: get('imagestreams/layers'),
      yes: false,
    },
    {
      name: 'for a subresource allows it',
      rule: rule('get', '*', 'imagestreams/layers'),
      request: get('imagestreams/layers'),
      yes: true,
    },
    {
      name: 'for a subresource does not allow the resource',
      rule: rule('get', '*', 'imagestreams/layers'),
      request: get('imagestreams'),
      yes: false,
    },
    { name: 'of wildcards allows everything', rule: everything, request: get('imagestreams/layers'), yes: true },
    {
      name: 'of wildcards allows a wildcard that is asked for',
      rule: everything,
      request: get('*', { verb: '*', group: '*' }),
      yes: true,
    },
    {
      name: 'without wildcards does not allow a wildcard that is asked for',
      rule: readStreams,
      request: get('imagestreams', { verb: '*' }),
      yes: false,
    },
    { name: 'of wildcards allows no path', rule: everything, request: path('/metrics'), yes: false },
    {
      name: 'for a subresource of everything allows it on any resource',
      rule: rule('get', '*', '*/layers'),
      request: get('imagestreams/layers'),
      yes: true,
    },
    {
      name: 'for a subresource of everything allows no other subresource',
      rule: rule('get', '*', '*/layers'),
      request: get('imagestreams/secrets'),
      yes: false,
    },
    {
      name: 'for a subresource of everything allows none that only ends the same',
      rule: rule('get', '*', '*/layers'),
      request: get('imagestreams/players'),
      yes: false,
    },
    {
      name: 'for a subresource of everything does not allow a resource of that name',
      rule: rule('get', '*', '*/layers'),
      request: get('layers'),
      yes: false,
    },
    {
      name: 'with a star for the subresource is no pattern',
      rule: rule('get', '*', 'imagestreams/*'),
      request: get('imagestreams/layers'),
      yes: false,
    },
    {
      name: 'with a star inside a word is no pattern',
      rule: rule('g*', '*', 'image*'),
      request: get('imagestreams'),
      yes: false,
    },
    { name: 'for names allows them', rule: oneStream, request: get('imagestreams', { name: 'app' }), yes: true },
    {
      name: 'for names allows no other name',
      rule: oneStream,
      request: get('imagestreams', { name: 'apple' }),
      yes: false,
    },
    {
      name: 'for names allows nothing without a name',
      rule: oneStream,
      request: get('imagestreams', { verb: 'list' }),
      yes: false,
    },
    {
      name: 'for an empty name allows nothing without a name',
      rule: { ...readStreams, resourceNames: [''] },
      request: get('imagestreams', { name: '' }),
      yes: false,
    },
    {
      name: 'for the name * is no pattern',
      rule: { ...readStreams, resourceNames: ['*'] },
      request: get('imagestreams', { name: 'app' }),
      yes: false,
    },
    {
      name: 'with an empty list of names is for all of them',
      rule: { ...readStreams, resourceNames: [] },
      request: get('imagestreams', { name: 'app' }),
      yes: true,
    },
    {
      name: 'without groups allows nothing',
      rule: { verbs: ['*'], resources: ['*'] },
      request: get('imagestreams', { group: '' }),
      yes: false,
    },
    { name: 'without verbs allows nothing', rule: { ...everything, verbs: [] }, request: get('x'), yes: false },
    { name: 'for a path allows it', rule: url('/metrics'), request: path('/metrics'), yes: true },
    { name: 'for a path allows no other verb', rule: url('/metrics'), request: path('/metrics', 'post'), yes: false },
    { name: 'for a path allows none below', rule: url('/api'), request: path('/api/v1'), yes: false },
    { name: 'for a path allows none with a slash more', rule: url('/version'), request: path('/version/'), yes: false },
    { name: 'for paths below allows them', rule: url('/apis/*'), request: path('/apis/apps/v1'), yes: true },
    { name: 'for paths below does not allow the one above', rule: url('/apis/*'), request: path('/apis'), yes: false },
    { name: 'for a beginning allows what begins so', rule: url('/api*'), request: path('/apis/apps'), yes: true },
    { name: 'with several stars at the end reads them as one', rule: url('/api**'), request: path('/api'), yes: true },
    { name: 'with a star inside a path is no pattern', rule: url('/a*/x'), request: path('/ab/x'), yes: false },
    { name: 'for every path allows any', rule: url('*'), request: path('/debug'), yes: true },
    { name: 'for every path allows no resource', rule: url('*'), request: get('imagestreams'), yes: false },
  ])('$name', ({ rule, request, yes }) => {
    expect(ruleAllows(rule, request)).toBe(yes);
    expect(rulesAllow([{ verbs: [] }, rule], request)).toBe(yes);
  });

  test('is needed: none allow nothing', () => {
    expect(rulesAllow([], get('imagestreams'))).toBe(false);
  });

  test('must allow a request by itself: parts of several do not add up', () => {
    const parts = [rule('get', 'image.openshift.io', 'images'), rule('delete', 'image.openshift.io', 'imagestreams')];
    expect(rulesAllow(parts, get('imagestreams'))).toBe(false);
  });
});

describe('what somebody would gain', () => {
  test.each<{
    readonly name: string;
    readonly held: readonly PolicyRule[];
    readonly wanted: readonly PolicyRule[];
    readonly gain: readonly PolicyRule[];
  }>([
    { name: 'by nothing is nothing', held: [], wanted: [], gain: [] },
    { name: 'by a rule they hold is nothing', held: [readStreams], wanted: [readStreams], gain: [] },
    {
      name: 'when they hold nothing is every single thing',
      held: [],
      wanted: [rule('get,list', 'core,apps', 'pods')],
      gain: [
        rule('get', 'core', 'pods'),
        rule('list', 'core', 'pods'),
        rule('get', 'apps', 'pods'),
        rule('list', 'apps', 'pods'),
      ],
    },
    {
      name: 'is only what they do not hold',
      held: [readStreams],
      wanted: [rule('get,delete', 'image.openshift.io', 'imagestreams')],
      gain: [rule('delete', 'image.openshift.io', 'imagestreams')],
    },
    {
      name: 'is nothing when several rules they hold cover it together',
      held: [rule('get', 'core', 'secrets'), rule('list', 'core', 'secrets'), rule('get,list', 'core', 'configmaps')],
      wanted: [rule('get,list', 'core', 'secrets,configmaps')],
      gain: [],
    },
    {
      name: 'is something when one rule has the verb and another one the resource',
      held: [rule('get', 'core', 'configmaps'), rule('list', 'core', 'secrets')],
      wanted: [rule('get', 'core', 'secrets')],
      gain: [rule('get', 'core', 'secrets')],
    },
    {
      name: 'by anything is nothing for who may do everything',
      held: [everything, { verbs: ['*'], nonResourceURLs: ['*'] }],
      wanted: [everything, readStreams, oneStream, rule('get', '*', '*/layers'), url('/metrics', '/apis/*', '*')],
      gain: [],
    },
    {
      name: 'by every verb is something, whatever verbs they hold',
      held: [rule('create,delete,deletecollection,get,list,patch,update,watch', 'core', 'secrets')],
      wanted: [rule('*', 'core', 'secrets')],
      gain: [rule('*', 'core', 'secrets')],
    },
    {
      name: 'by every group is something, whatever groups they hold',
      held: [rule('get', 'core,apps', 'secrets')],
      wanted: [rule('get', '*', 'secrets')],
      gain: [rule('get', '*', 'secrets')],
    },
    {
      name: 'by every resource is something, even when they hold a subresource of all',
      held: [rule('get', 'core', 'pods,*/layers')],
      wanted: [rule('get', 'core', '*')],
      gain: [rule('get', 'core', '*')],
    },
    {
      name: 'by a subresource is nothing when they hold it for everything',
      held: [rule('get', '*', '*/layers')],
      wanted: [rule('get', 'image.openshift.io', 'imagestreams/layers,imagestreams/secrets')],
      gain: [rule('get', 'image.openshift.io', 'imagestreams/secrets')],
    },
    {
      name: 'by a subresource of everything is something when they hold it for one',
      held: [rule('get', '*', 'imagestreams/layers')],
      wanted: [rule('get', '*', '*/layers')],
      gain: [rule('get', '*', '*/layers')],
    },
    {
      name: 'by a subresource is something when they hold the resource',
      held: [rule('get', '*', 'imagestreams')],
      wanted: [rule('get', 'core', 'imagestreams/secrets')],
      gain: [rule('get', 'core', 'imagestreams/secrets')],
    },
    {
      name: 'by one name is nothing when they hold all',
      held: [rule('get', 'core', 'secrets')],
      wanted: [rule('get', 'core', 'secrets', 'a')],
      gain: [],
    },
    {
      name: 'by all names is something when they hold some',
      held: [rule('get', 'core', 'secrets', 'a', 'b')],
      wanted: [rule('get', 'core', 'secrets')],
      gain: [rule('get', 'core', 'secrets')],
    },
    {
      name: 'by names is those they do not hold',
      held: [rule('get', 'core', 'secrets', 'a'), rule('get', 'core', 'secrets', 'b')],
      wanted: [rule('get', 'core', 'secrets', 'a', 'b', 'c')],
      gain: [rule('get', 'core', 'secrets', 'c')],
    },
    {
      name: 'by the empty name does not pass for all names',
      held: [rule('get', 'core', 'secrets', 'a')],
      wanted: [rule('get', 'core', 'secrets', '')],
      gain: [rule('get', 'core', 'secrets', '')],
    },
    {
      name: 'by the name * does not pass for what they hold',
      held: [rule('get', 'core', 'secrets', '*')],
      wanted: [rule('get', 'core', 'secrets', 'a')],
      gain: [rule('get', 'core', 'secrets', 'a')],
    },
    { name: 'by a path below one they hold is nothing', held: [url('/apis/*')], wanted: [url('/apis/apps')], gain: [] },
    {
      name: 'by narrower paths is nothing',
      held: [url('/apis/*')],
      wanted: [url('/apis/apps/*', '/apis/*')],
      gain: [],
    },
    {
      name: 'by wider paths is something',
      held: [url('/apis/*')],
      wanted: [url('/api*', '/apis', '*')],
      gain: [url('/api*'), url('/apis'), url('*')],
    },
    {
      name: 'by a path is something with another verb',
      held: [url('*')],
      wanted: [{ verbs: ['get', 'post'], nonResourceURLs: ['/metrics'] }],
      gain: [{ verbs: ['post'], nonResourceURLs: ['/metrics'] }],
    },
    {
      name: 'by resources is something when they hold paths only',
      held: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
      wanted: [rule('get', 'core', 'pods')],
      gain: [rule('get', 'core', 'pods')],
    },
    {
      name: 'by paths is something when they hold resources only',
      held: [everything],
      wanted: [url('/metrics')],
      gain: [url('/metrics')],
    },
    {
      name: 'is said once, however often it is wanted',
      held: [],
      wanted: [rule('get,get', 'core', 'pods,pods'), rule('get', 'core', 'pods'), rule('get', 'core', 'pods,nodes')],
      gain: [rule('get', 'core', 'pods'), rule('get', 'core', 'nodes')],
    },
    {
      name: 'by rules that grant nothing is nothing',
      held: [],
      wanted: [{ verbs: [] }, { verbs: ['get'] }, { verbs: ['get'], resources: ['pods'] }, rule('get', 'core', 'pods')],
      gain: [rule('get', 'core', 'pods')],
    },
    {
      name: 'is not hidden by words that look like a boundary between words',
      held: [{ verbs: ['get'], apiGroups: ['a\0b'], resources: ['c'] }],
      wanted: [{ verbs: ['get'], apiGroups: ['a'], resources: ['b\0c'] }],
      gain: [{ verbs: ['get'], apiGroups: ['a'], resources: ['b\0c'] }],
    },
    {
      name: 'is not hidden by words every object has',
      held: [rule('get', 'core', 'pods')],
      wanted: [rule('constructor', '__proto__', 'toString')],
      gain: [rule('constructor', '__proto__', 'toString')],
    },
  ])('$name', ({ held, wanted, gain }) => {
    expect(uncoveredRules(held, wanted)).toEqual(gain);
  });

  describe('by rules too large to take apart', () => {
    const words = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
    const huge: PolicyRule = { verbs: words('v', 1000), apiGroups: words('g', 1000), resources: words('r', 1000) };
    const hugePaths: PolicyRule = { verbs: ['get'], nonResourceURLs: words('/p', 60_000) };

    test('is the whole of them, even for who may do everything, and soon', () => {
      const started = performance.now();
      const gain = uncoveredRules([everything], [huge, rule('get', 'core', 'pods')]);
      expect(gain.map(({ verbs }) => verbs.length)).toEqual([1000]);
      expect(performance.now() - started).toBeLessThan(2000);
    });

    test('is refused to who holds nothing else: it covers nothing', () => {
      expect(uncoveredRules([huge], [rule('v1', 'g1', 'r1')])).toEqual([rule('v1', 'g1', 'r1')]);
      expect(uncoveredRules([huge, rule('v1', 'g1', 'r1')], [rule('v1', 'g1', 'r1')])).toEqual([]);
    });

    test('counts many small ones together', () => {
      const many = words('r', 3).map((resource) => ({ ...huge, apiGroups: words('g', 8), resources: [resource] }));
      const gain = uncoveredRules([everything], many);
      expect(gain.map(({ resources }) => resources)).toEqual([['r2']]);
    });

    test('compares no more paths than makes sense', () => {
      const started = performance.now();
      expect(uncoveredRules([hugePaths], [hugePaths]).map((rule) => rule.nonResourceURLs?.length)).toEqual([60_000]);
      expect(performance.now() - started).toBeLessThan(2000);
    });

    test('takes apart what just fits', () => {
      const fits = { verbs: words('v', 100), apiGroups: words('g', 20), resources: words('r', 10) };
      const started = performance.now();
      expect(uncoveredRules([], [fits])).toHaveLength(20_000);
      expect(uncoveredRules([fits], [fits])).toEqual([]);
      expect(performance.now() - started).toBeLessThan(2000);
    });
  });
});

describe('compact rules', () => {
  test.each<{ readonly name: string; readonly rules: readonly PolicyRule[]; readonly compact: readonly PolicyRule[] }>([
    { name: 'of nothing are none', rules: [], compact: [] },
    { name: 'are said once', rules: [readStreams, readStreams], compact: [readStreams] },
    {
      name: 'have the verbs of all rules for the same things, in the order they came',
      rules: [rule('list', 'core', 'pods'), rule('get', 'core', 'nodes'), rule('get,list', 'core', 'pods')],
      compact: [rule('list,get', 'core', 'pods'), rule('get', 'core', 'nodes')],
    },
    {
      name: 'are for the same things whatever the order of their words',
      rules: [rule('get', 'core,apps', 'b,a'), rule('list', 'apps,core', 'a,b')],
      compact: [rule('get,list', 'core,apps', 'b,a')],
    },
    {
      name: 'keep apart what is for some names and what is for all',
      rules: [rule('get', 'core', 'secrets', 'a'), rule('list', 'core', 'secrets')],
      compact: [rule('get', 'core', 'secrets', 'a'), rule('list', 'core', 'secrets')],
    },
    {
      name: 'keep apart different resources and groups, which multiply out',
      rules: [rule('get', 'core', 'pods'), rule('get', 'apps', 'deployments')],
      compact: [rule('get', 'core', 'pods'), rule('get', 'apps', 'deployments')],
    },
    {
      name: 'of every verb name no other',
      rules: [rule('get,*', 'core', 'pods')],
      compact: [rule('*', 'core', 'pods')],
    },
    {
      name: 'for paths are merged too',
      rules: [url('/a', '/b'), { verbs: ['post'], nonResourceURLs: ['/b', '/a'] }],
      compact: [{ verbs: ['get', 'post'], nonResourceURLs: ['/a', '/b'] }],
    },
    {
      name: 'have no empty lists and no repeated words',
      rules: [
        { verbs: ['get', 'get'], apiGroups: ['', ''], resources: ['pods'], resourceNames: [], nonResourceURLs: [] },
      ],
      compact: [rule('get', 'core', 'pods')],
    },
    { name: 'leave out rules without verbs', rules: [{ ...readStreams, verbs: [] }], compact: [] },
  ])('$name', ({ rules, compact }) => {
    expect(compactRules(rules)).toStrictEqual(compact);
  });
});

describe('a rule on one line', () => {
  test.each<{ readonly rule: PolicyRule; readonly line: string }>([
    {
      rule: rule('get', 'image.openshift.io', 'imagestreams'),
      line: '{APIGroups:["image.openshift.io"], Resources:["imagestreams"], Verbs:["get"]}',
    },
    {
      rule: rule('get,list', 'core,apps', 'pods', 'a', 'b"c'),
      line: '{APIGroups:["" "apps"], Resources:["pods"], ResourceNames:["a" "b\\"c"], Verbs:["get" "list"]}',
    },
    {
      rule: { ...url('/metrics', '/apis/*'), resources: [] },
      line: '{NonResourceURLs:["/metrics" "/apis/*"], Verbs:["get"]}',
    },
    { rule: { verbs: [] }, line: '{}' },
  ])('is $line', ({ rule, line }) => {
    expect(describeRule(rule)).toBe(line);
  });
});
