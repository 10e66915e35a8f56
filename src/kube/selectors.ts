/** A selector that is malformed, or asks for what cannot be selected by; the message says what was expected. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';
}

/** One demand on the labels of an object. `a=b` is `In` with one value, and `a!=b` is `NotIn`. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';
  readonly values: readonly string[];
}

/** All its requirements must hold; without any it selects everything. */
export type LabelSelector = readonly LabelRequirement[];

/** metav1.LabelSelector: the form that stands inside objects. Without any requirement it selects everything. */
export interface LabelSelectorObject {
  readonly matchLabels?: Readonly<Record<string, string>> | null;
  readonly matchExpressions?:
    | readonly {
        readonly key: string;
        readonly operator: string;
        readonly values?: readonly string[] | null;
      }[]
    | null;
}

/**
 * Parses the `labelSelector` query of a list: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, `a>5` and
 * `a<5`, joined by commas (`k8s.io/apimachinery/pkg/labels`, Parse).
 *
 * @throws {SelectorError} when it is malformed, or a key or value can be no label
 */
export function parseLabelSelector(text: string): LabelSelector {
  const tokens = new Tokens(text);
  const requirements: LabelRequirement[] = [];
  if (tokens.peek() === undefined) return requirements;
  do requirements.push(parseRequirement(tokens));
  while (tokens.accept(','));
  if (tokens.peek() !== undefined) throw tokens.unexpected("',' or the end");
  return requirements;
}

function parseRequirement(tokens: Tokens): LabelRequirement {
  if (tokens.accept('!')) return requirement(tokens.takeWord('a label key'), 'DoesNotExist', []);
  const key = tokens.takeWord("a label key or '!'");
  if (tokens.isAtEnd()) return requirement(key, 'Exists', []);
  if (tokens.accept('=') || tokens.accept('==')) return requirement(key, 'In', [parseValue(tokens)]);
  if (tokens.accept('!=')) return requirement(key, 'NotIn', [parseValue(tokens)]);
  if (tokens.accept('>')) return requirement(key, 'Gt', [parseValue(tokens)]);
  if (tokens.accept('<')) return requirement(key, 'Lt', [parseValue(tokens)]);
  if (tokens.accept('in')) return requirement(key, 'In', parseValues(tokens));
  if (tokens.accept('notin')) return requirement(key, 'NotIn', parseValues(tokens));
  throw tokens.unexpected('in, notin, =, ==, !=, > or <');
}

/** Nothing is the empty value, as in `a=`. */
function parseValue(tokens: Tokens): string {
  return tokens.isAtEnd() ? '' : tokens.takeWord('a label value');
}

/** Nothing between two commas is the empty value here as well. */
function parseValues(tokens: Tokens): readonly string[] {
  const values: string[] = [];
  if (!tokens.accept('(')) throw tokens.unexpected("'('");
  do values.push(tokens.peek() === ',' || tokens.peek() === ')' ? '' : tokens.takeWord("a label value, ',' or ')'"));
  while (tokens.accept(','));
  if (!tokens.accept(')')) throw tokens.unexpected("',' or ')'");
  return values;
}

/** What a label selector consists of: symbols, and the words between them. `in` and `notin` are words as well. */
class Tokens {
  readonly #list: readonly string[];
  #position = 0;

  constructor(text: string) {
    this.#list = text.match(/[!=]=|[=!(),<>]|[^ \t\r\n=!(),<>]+/g) ?? [];
  }

  peek(): string | undefined {
    return this.#list[this.#position];
  }

  /** Whether the requirement ends here. */
  isAtEnd(): boolean {
    return this.peek() === undefined || this.peek() === ',';
  }

  accept(token: string): boolean {
    const isNext = this.peek() === token;
    if (isNext) this.#position++;
    return isNext;
  }

  takeWord(expected: string): string {
    const token = this.peek();
    if (token === undefined || /^[=!(),<>]/.test(token)) throw this.unexpected(expected);
    this.#position++;
    return token;
  }

  unexpected(expected: string): SelectorError {
    const token = this.peek();
    const found = token === undefined ? 'the end' : `'${shortened(token)}'`;
    return new SelectorError(`unable to parse label selector: found ${found}, expected: ${expected}`);
  }
}

/** @throws {SelectorError} when key, operator and values do not go together (labels.NewRequirement) */
function requirement(key: string, operator: LabelRequirement['operator'], values: readonly string[]): LabelRequirement {
  const keyProblem = labelKeyProblem(key);
  if (keyProblem !== undefined) throw new SelectorError(`invalid label key "${shortened(key)}": ${keyProblem}`);
  for (const value of values) {
    const problem = labelValueProblem(value);
    if (problem !== undefined) {
      throw new SelectorError(`invalid value "${shortened(value)}" for label ${key}: ${problem}`);
    }
  }
  if ((operator === 'In' || operator === 'NotIn') && values.length === 0) {
    throw new SelectorError(`label ${key}: operator ${operator} needs at least one value`);
  }
  if ((operator === 'Exists' || operator === 'DoesNotExist') && values.length > 0) {
    throw new SelectorError(`label ${key}: operator ${operator} takes no values`);
  }
  if ((operator === 'Gt' || operator === 'Lt') && integerOf(values[0]!) === undefined) {
    throw new SelectorError(`label ${key}: expected an integer after > or <, not "${values[0]!}"`);
  }
  return { key, operator, values };
}

const largestInt64 = 2n ** 63n - 1n;

/** A label value holds no sign, or at least does not begin with one. */
function integerOf(value: string): bigint | undefined {
  if (!/^\d+$/.test(value)) return undefined;
  const integer = BigInt(value);
  return integer > largestInt64 ? undefined : integer;
}

/** What keeps a text from being the key of a label or annotation; nothing when it may be one (content.IsLabelKey). */
export function labelKeyProblem(key: string): string | undefined {
  const parts = key.split('/');
  if (parts.length > 2) return 'expected a name, or a DNS subdomain, one / and a name, such as example.com/my-name';
  const name = parts.at(-1)!;
  if (parts.length === 2) {
    const prefix = parts[0]!;
    if (prefix === '') return 'the prefix before / must not be empty';
    if (prefix.length > 253) return 'the prefix before / must be no more than 253 characters';
    if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(prefix)) {
      return 'the prefix before / must be a DNS subdomain, such as example.com';
    }
  }
  if (name === '') return 'the name must not be empty';
  if (name.length > 63) return 'the name must be no more than 63 characters';
  return isLabelWord(name)
    ? undefined
    : "the name must consist of letters, digits, '-', '_' or '.', and begin and end with a letter or digit";
}

/** What keeps a text from being the value of a label; nothing when it may be one (validation.IsValidLabelValue). */
export function labelValueProblem(value: string): string | undefined {
  if (value.length > 63) return 'it must be no more than 63 characters';
  return value === '' || isLabelWord(value)
    ? undefined
    : "it must be empty or consist of letters, digits, '-', '_' or '.', and begin and end with a letter or digit";
}

function isLabelWord(text: string): boolean {
  return /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(text);
}

/** Whether an object with these labels is selected. */
export function matchesLabels(selector: LabelSelector, labels: Readonly<Record<string, string>> = {}): boolean {
  return selector.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        // An object without the label is selected too.
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      case 'Gt':
      case 'Lt': {
        const actual = value === undefined ? undefined : integerOf(value);
        const bound = integerOf(values[0]!)!;
        if (actual === undefined) return false;
        return operator === 'Gt' ? actual > bound : actual < bound;
      }
    }
  });
}

/**
 * Turns the form that stands inside objects into the one that {@link matchesLabels} takes
 * (metav1.LabelSelectorAsSelector).
 *
 * @throws {SelectorError} when a key, an operator or its values are invalid
 */
export function toLabelSelector({ matchLabels, matchExpressions }: LabelSelectorObject): LabelSelector {
  return [
    ...Object.entries(matchLabels ?? {}).map(([key, value]) => requirement(key, 'In', [value])),
    ...(matchExpressions ?? []).map(({ key, operator, values }) => {
      if (!isSetOperator(operator)) {
        throw new SelectorError(
          `"${shortened(operator)}" is no operator of a label selector, expected In, NotIn, Exists or DoesNotExist`,
        );
      }
      return requirement(key, operator, values ?? []);
    }),
  ];
}

function isSetOperator(operator: string): operator is 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' {
  return ['In', 'NotIn', 'Exists', 'DoesNotExist'].includes(operator);
}

/**
 * Whether an object with these labels is selected by the form that stands inside objects, as in the aggregationRule of a
 * cluster role.
 *
 * @throws {SelectorError} when the selector is invalid
 */
export function matchesSelector(selector: LabelSelectorObject, labels?: Readonly<Record<string, string>>): boolean {
  return matchesLabels(toLabelSelector(selector), labels);
}

/** One demand on a field of an object. */
export interface FieldRequirement {
  /** Names joined by dots, as in `metadata.name`. */
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/** All its requirements must hold; without any it selects everything. */
export type FieldSelector = readonly FieldRequirement[];

/**
 * Parses the `fieldSelector` query of a list: `metadata.name=a`, `==` and `!=`, joined by commas. In a value a backslash
 * stands before `,`, `=` and itself (`k8s.io/apimachinery/pkg/fields`, ParseSelector).
 *
 * @param supported the fields that may be selected by, as in `metadata.name`
 * @throws {SelectorError} when it is malformed, or asks for another field
 */
export function parseFieldSelector(text: string, supported: readonly string[]): FieldSelector {
  // A backslash and whatever follows it belong together, so an escaped comma divides nothing.
  const terms = text.match(/(?:\\[^]|[^,\\]|\\$)+/g) ?? [];
  return terms.map((term) => {
    const match = /^([^]*?)(!=|==?)([^]*)$/.exec(term);
    if (match === null) {
      throw new SelectorError(
        `unable to parse field selector: found '${shortened(term)}', expected: <field>=<value>, == or !=`,
      );
    }
    const field = match[1]!;
    if (!supported.includes(field)) {
      throw new SelectorError(
        `field label not supported: ${shortened(field)} (supported are ${[...supported].sort().join(', ')})`,
      );
    }
    return { field, operator: match[2] === '!=' ? '!=' : '=', value: unescapeValue(match[3]!) };
  });
}

function unescapeValue(value: string): string {
  return value.replace(/\\([\\,=]?)|=/g, (found, escaped: string | undefined) => {
    if (escaped !== undefined && escaped !== '') return escaped;
    throw new SelectorError(
      `unable to parse field selector: found '${found}' in value '${shortened(value)}', ` +
        String.raw`expected: a backslash before each \ , or = and before nothing else`,
    );
  });
}

/** Whether an object is selected. A field that is absent or no scalar counts as empty, as in Kubernetes. */
export function matchesFields(selector: FieldSelector, object: object): boolean {
  return selector.every(({ field, operator, value }) => (fieldOf(object, field) === value) === (operator === '='));
}

function fieldOf(object: object, field: string): string {
  let value: unknown = object;
  for (const name of field.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return '';
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/**
 * The one name an object must have to be selected, so that a list becomes a look-up; nothing when many names will do.
 * The object found must still be held against the selector, which may demand more.
 */
export function requiredName(selector: FieldSelector): string | undefined {
  return requiredValue(selector, 'metadata.name');
}

/** The one namespace an object must be in to be selected; empty for an object in none, nothing when many will do. */
export function requiredNamespace(selector: FieldSelector): string | undefined {
  return requiredValue(selector, 'metadata.namespace');
}

function requiredValue(selector: FieldSelector, name: string): string | undefined {
  return selector.find(({ field, operator }) => field === name && operator === '=')?.value;
}

/** What a client sent, cut to a length that suits a message. */
function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
