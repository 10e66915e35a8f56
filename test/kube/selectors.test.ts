import { describe, expect, test } from 'vitest';
import {
  matchesFields,
  matchesLabels,
  matchesSelector,
  parseFieldSelector,
  parseLabelSelector,
  requiredName,
  requiredNamespace,
  SelectorError,
  toLabelSelector,
  type FieldRequirement,
  type LabelRequirement,
  type LabelSelectorObject,
} from '../../src/kube/selectors.js';

const text63 = 'a'.repeat(63);
/** Four DNS labels of 63, 63, 63 and 61 characters. */
const prefix253 = [text63, text63, text63, 'a'.repeat(61)].join('.');

describe('parseLabelSelector', () => {
  const isV1: LabelRequirement = { key: 'a', operator: 'In', values: ['v1'] };

  const selectors: readonly { readonly text: string; readonly expected: readonly LabelRequirement[] }[] = [
    { text: '', expected: [] },
    { text: ' \t', expected: [] },
    { text: 'a=v1', expected: [isV1] },
    { text: 'a==v1', expected: [isV1] },
    { text: ' a  =\tv1 ', expected: [isV1] },
    { text: 'a!=v1', expected: [{ key: 'a', operator: 'NotIn', values: ['v1'] }] },
    { text: 'a=', expected: [{ key: 'a', operator: 'In', values: [''] }] },
    { text: 'a!=', expected: [{ key: 'a', operator: 'NotIn', values: [''] }] },
    {
      text: 'a=,b= ',
      expected: [
        { key: 'a', operator: 'In', values: [''] },
        { key: 'b', operator: 'In', values: [''] },
      ],
    },
    { text: 'a in (x,y)', expected: [{ key: 'a', operator: 'In', values: ['x', 'y'] }] },
    { text: 'a in ( x , y )', expected: [{ key: 'a', operator: 'In', values: ['x', 'y'] }] },
    { text: 'a in(x)', expected: [{ key: 'a', operator: 'In', values: ['x'] }] },
    { text: 'a notin (x)', expected: [{ key: 'a', operator: 'NotIn', values: ['x'] }] },
    { text: 'a in ()', expected: [{ key: 'a', operator: 'In', values: [''] }] },
    { text: 'a in (x,,y,)', expected: [{ key: 'a', operator: 'In', values: ['x', '', 'y', ''] }] },
    { text: 'a', expected: [{ key: 'a', operator: 'Exists', values: [] }] },
    { text: '!a', expected: [{ key: 'a', operator: 'DoesNotExist', values: [] }] },
    { text: '! a', expected: [{ key: 'a', operator: 'DoesNotExist', values: [] }] },
    { text: 'a>5', expected: [{ key: 'a', operator: 'Gt', values: ['5'] }] },
    { text: 'a < 9223372036854775807', expected: [{ key: 'a', operator: 'Lt', values: ['9223372036854775807'] }] },
    {
      text: 'a=v1, !b,c notin (x, y),d',
      expected: [
        isV1,
        { key: 'b', operator: 'DoesNotExist', values: [] },
        { key: 'c', operator: 'NotIn', values: ['x', 'y'] },
        { key: 'd', operator: 'Exists', values: [] },
      ],
    },
    { text: 'in', expected: [{ key: 'in', operator: 'Exists', values: [] }] },
    { text: 'in in (in, notin)', expected: [{ key: 'in', operator: 'In', values: ['in', 'notin'] }] },
    { text: 'notin=in', expected: [{ key: 'notin', operator: 'In', values: ['in'] }] },
    { text: 'example.com/my-Key_1.x=Y', expected: [{ key: 'example.com/my-Key_1.x', operator: 'In', values: ['Y'] }] },
    { text: `${prefix253}/${text63}`, expected: [{ key: `${prefix253}/${text63}`, operator: 'Exists', values: [] }] },
    { text: `a=${text63}`, expected: [{ key: 'a', operator: 'In', values: [text63] }] },
  ];
  test.each(selectors)('$text', ({ text, expected }) => {
    expect(parseLabelSelector(text)).toEqual(expected);
  });

  test.each([
    { text: ',', message: "found ',', expected: a label key or '!'" },
    { text: 'a,', message: "found the end, expected: a label key or '!'" },
    { text: 'a,,b', message: "found ',', expected: a label key or '!'" },
    { text: '=a', message: "found '=', expected: a label key or '!'" },
    { text: '!', message: 'found the end, expected: a label key' },
    { text: '!!a', message: "found '!', expected: a label key" },
    { text: '!a=b', message: "found '=', expected: ',' or the end" },
    { text: 'a b', message: "found 'b', expected: in, notin, =, ==, !=, > or <" },
    { text: 'a!', message: "found '!', expected: in, notin, =, ==, !=, > or <" },
    { text: 'a==b==c', message: "found '==', expected: ',' or the end" },
    { text: 'a=b c', message: "found 'c', expected: ',' or the end" },
    { text: 'a=b||c=d', message: 'invalid value "b||c" for label a' },
    { text: 'a=(b)', message: "found '(', expected: a label value" },
    { text: 'a===b', message: "found '=', expected: a label value" },
    { text: 'a in', message: "found the end, expected: '('" },
    { text: 'a in x', message: "found 'x', expected: '('" },
    { text: 'a in (x', message: "found the end, expected: ',' or ')'" },
    { text: 'a in (', message: "found the end, expected: a label value, ',' or ')'" },
    { text: 'a in (x y)', message: "found 'y', expected: ',' or ')'" },
    { text: 'a in (x) b', message: "found 'b', expected: ',' or the end" },
    { text: 'a>', message: 'expected an integer after > or <, not ""' },
    { text: 'a<b', message: 'expected an integer after > or <, not "b"' },
    { text: 'a>1.5', message: 'expected an integer after > or <, not "1.5"' },
    { text: 'a>9223372036854775808', message: 'expected an integer after > or <, not "9223372036854775808"' },
    { text: 'a>-5', message: 'invalid value "-5" for label a: it must be empty or consist of letters' },
    { text: 'a/b/c', message: 'invalid label key "a/b/c": expected a name, or a DNS subdomain' },
    { text: '/a', message: 'invalid label key "/a": the prefix before / must not be empty' },
    { text: 'a.b/', message: 'invalid label key "a.b/": the name must not be empty' },
    { text: 'A.b/c', message: 'the prefix before / must be a DNS subdomain' },
    { text: 'a..b/c', message: 'the prefix before / must be a DNS subdomain' },
    { text: 'a-/c', message: 'the prefix before / must be a DNS subdomain' },
    { text: `${prefix253}a/c`, message: 'the prefix before / must be no more than 253 characters' },
    { text: `${text63}a`, message: 'the name must be no more than 63 characters' },
    { text: '-a', message: 'the name must consist of letters' },
    { text: 'a.', message: 'the name must consist of letters' },
    { text: 'ä', message: 'the name must consist of letters' },
    { text: 'a\0', message: 'the name must consist of letters' },
    { text: 'a=b/c', message: 'invalid value "b/c" for label a: it must be empty or consist of letters' },
    { text: 'a in (b, _)', message: 'invalid value "_" for label a' },
    { text: `a=${text63}a`, message: 'it must be no more than 63 characters' },
  ])('refuses $text', ({ text, message }) => {
    expect(() => parseLabelSelector(text)).toThrow(SelectorError);
    expect(() => parseLabelSelector(text)).toThrow(message);
  });

  test('a message shows no more than the beginning of what it refuses', () => {
    expect(() => parseLabelSelector('a'.repeat(10_000))).toThrow(/^.{1,200}$/);
  });
});

describe('matchesLabels', () => {
  const labels = { app: 'web', tier: '', size: '10' };

  test.each([
    { selector: '', expected: true },
    { selector: 'app=web', expected: true },
    { selector: 'app=db', expected: false },
    { selector: 'other=web', expected: false },
    { selector: 'app!=web', expected: false },
    { selector: 'app!=db', expected: true },
    { selector: 'other!=web', expected: true },
    { selector: 'app in (db,web)', expected: true },
    { selector: 'app in (db)', expected: false },
    { selector: 'app notin (db)', expected: true },
    { selector: 'app notin (db,web)', expected: false },
    { selector: 'other notin (db)', expected: true },
    { selector: 'tier=', expected: true },
    { selector: 'tier!=', expected: false },
    { selector: 'other=', expected: false },
    { selector: 'tier', expected: true },
    { selector: '!tier', expected: false },
    { selector: 'other', expected: false },
    { selector: '!other', expected: true },
    { selector: 'size>9', expected: true },
    { selector: 'size>10', expected: false },
    { selector: 'size<11', expected: true },
    { selector: 'size<9', expected: false },
    { selector: 'app>1', expected: false },
    { selector: 'other<1', expected: false },
    { selector: 'app=web,size>9', expected: true },
    { selector: 'app=web,size>10', expected: false },
    // Nothing an object inherits is a label.
    { selector: 'constructor', expected: false },
    { selector: 'toString!=x', expected: true },
  ])('$selector: $expected', ({ selector, expected }) => {
    expect(matchesLabels(parseLabelSelector(selector), labels)).toBe(expected);
  });

  test('an object without labels is selected by what demands none', () => {
    expect(matchesLabels(parseLabelSelector('!a,b!=c'), undefined)).toBe(true);
    expect(matchesLabels(parseLabelSelector('a'), undefined)).toBe(false);
  });
});

describe('matchesSelector', () => {
  const labels = { app: 'web', tier: '' };

  const selectors: readonly {
    readonly name: string;
    readonly selector: LabelSelectorObject;
    readonly expected: boolean;
  }[] = [
    { name: 'nothing', selector: {}, expected: true },
    { name: 'nulls', selector: { matchLabels: null, matchExpressions: null }, expected: true },
    { name: 'a label', selector: { matchLabels: { app: 'web' } }, expected: true },
    { name: 'two labels of which one differs', selector: { matchLabels: { app: 'web', tier: 'x' } }, expected: false },
    { name: 'In', selector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web'] }] }, expected: true },
    {
      name: 'NotIn',
      selector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
      expected: false,
    },
    { name: 'Exists', selector: { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, expected: true },
    {
      name: 'DoesNotExist',
      selector: { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist', values: null }] },
      expected: false,
    },
    {
      name: 'a label and an expression that does not hold',
      selector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'x', operator: 'Exists', values: [] }] },
      expected: false,
    },
  ];
  test.each(selectors)('$name: $expected', ({ selector, expected }) => {
    expect(matchesSelector(selector, labels)).toBe(expected);
  });

  const invalid: readonly {
    readonly name: string;
    readonly selector: LabelSelectorObject;
    readonly message: string;
  }[] = [
    {
      name: 'an unknown operator',
      selector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] },
      message: '"Gt" is no operator of a label selector, expected In, NotIn, Exists or DoesNotExist',
    },
    {
      name: 'In without values',
      selector: { matchExpressions: [{ key: 'a', operator: 'In' }] },
      message: 'label a: operator In needs at least one value',
    },
    {
      name: 'Exists with values',
      selector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['x'] }] },
      message: 'label a: operator Exists takes no values',
    },
    { name: 'an invalid key', selector: { matchLabels: { 'a b': 'c' } }, message: 'invalid label key "a b"' },
    { name: 'an invalid value', selector: { matchLabels: { a: 'b c' } }, message: 'invalid value "b c" for label a' },
  ];
  test.each(invalid)('refuses $name', ({ selector, message }) => {
    expect(() => matchesSelector(selector, labels)).toThrow(SelectorError);
    expect(() => toLabelSelector(selector)).toThrow(message);
  });
});

const supported = ['metadata.name', 'metadata.namespace', 'type', 'involvedObject.name'];

describe('parseFieldSelector', () => {
  const selectors: readonly { readonly text: string; readonly expected: readonly FieldRequirement[] }[] = [
    { text: '', expected: [] },
    { text: ',', expected: [] },
    { text: 'metadata.name=a', expected: [{ field: 'metadata.name', operator: '=', value: 'a' }] },
    { text: 'metadata.name==a', expected: [{ field: 'metadata.name', operator: '=', value: 'a' }] },
    { text: 'metadata.name!=a', expected: [{ field: 'metadata.name', operator: '!=', value: 'a' }] },
    { text: 'type=', expected: [{ field: 'type', operator: '=', value: '' }] },
    {
      text: 'type=a,involvedObject.name!=b,',
      expected: [
        { field: 'type', operator: '=', value: 'a' },
        { field: 'involvedObject.name', operator: '!=', value: 'b' },
      ],
    },
    { text: 'type=kubernetes.io/tls', expected: [{ field: 'type', operator: '=', value: 'kubernetes.io/tls' }] },
    { text: 'type=a b', expected: [{ field: 'type', operator: '=', value: 'a b' }] },
    { text: 'type=a!b', expected: [{ field: 'type', operator: '=', value: 'a!b' }] },
    {
      text: String.raw`type=a\,b\=c\\,metadata.name=d`,
      expected: [
        { field: 'type', operator: '=', value: 'a,b=c\\' },
        { field: 'metadata.name', operator: '=', value: 'd' },
      ],
    },
  ];
  test.each(selectors)('$text', ({ text, expected }) => {
    expect(parseFieldSelector(text, supported)).toEqual(expected);
  });

  test.each([
    { text: 'metadata.name', message: "found 'metadata.name', expected: <field>=<value>, == or !=" },
    { text: 'type=a,b', message: "found 'b', expected: <field>=<value>, == or !=" },
    {
      text: 'spec.x=1',
      message:
        'field label not supported: spec.x (supported are involvedObject.name, metadata.name, metadata.namespace, type)',
    },
    { text: ' type=a', message: 'field label not supported:  type' },
    { text: '=a', message: 'field label not supported:  (' },
    { text: 'type=a=b', message: "found '=' in value 'a=b'" },
    { text: 'type===a', message: "found '=' in value '=a'" },
    { text: String.raw`type=a\b`, message: String.raw`found '\' in value 'a\b'` },
    { text: 'type=a\\', message: String.raw`found '\' in value 'a\'` },
  ])('refuses $text', ({ text, message }) => {
    expect(() => parseFieldSelector(text, supported)).toThrow(SelectorError);
    expect(() => parseFieldSelector(text, supported)).toThrow(message);
  });
});

describe('matchesFields', () => {
  const fields = [
    'metadata.name',
    'type',
    'involvedObject.name',
    'spec',
    'count',
    'done',
    'list.0',
    'constructor.name',
  ];
  const object = {
    metadata: { name: 'a' },
    type: 'Opaque',
    involvedObject: null,
    spec: { a: 'b' },
    count: 2,
    done: false,
    list: ['x'],
  };

  test.each([
    { selector: '', expected: true },
    { selector: 'metadata.name=a', expected: true },
    { selector: 'metadata.name!=a', expected: false },
    { selector: 'metadata.name=b', expected: false },
    { selector: 'metadata.name=a,type=Opaque', expected: true },
    { selector: 'metadata.name=a,type!=Opaque', expected: false },
    { selector: 'involvedObject.name=', expected: true },
    { selector: 'involvedObject.name!=', expected: false },
    { selector: 'involvedObject.name!=x', expected: true },
    { selector: 'spec=', expected: true },
    { selector: 'count=2', expected: true },
    { selector: 'done=false', expected: true },
    { selector: 'constructor.name=', expected: true },
  ])('$selector: $expected', ({ selector, expected }) => {
    expect(matchesFields(parseFieldSelector(selector, fields), object)).toBe(expected);
  });
});

test.each([
  { selector: '', name: undefined, namespace: undefined },
  { selector: 'type=a', name: undefined, namespace: undefined },
  { selector: 'metadata.name=a', name: 'a', namespace: undefined },
  { selector: 'metadata.name!=a', name: undefined, namespace: undefined },
  { selector: 'metadata.name!=b,metadata.name=a', name: 'a', namespace: undefined },
  { selector: 'metadata.namespace=n,metadata.name=a', name: 'a', namespace: 'n' },
  { selector: 'metadata.namespace=', name: undefined, namespace: '' },
])('"$selector" requires name $name and namespace $namespace', ({ selector, name, namespace }) => {
  const parsed = parseFieldSelector(selector, supported);
  expect(requiredName(parsed)).toBe(name);
  expect(requiredNamespace(parsed)).toBe(namespace);
});
