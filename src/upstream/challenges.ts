/** What a registry wants to be shown (RFC 9110 section 11.6.1). */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const maxLength = 8192;
const schemePattern = /[\s,]*([A-Za-z0-9_-]+)(?=[\s,]|$)/y;
const parameterPattern = /[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))/y;

/** The challenges of a `WWW-Authenticate` header, as far as they can be read. */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  const text = (header ?? '').slice(0, maxLength);
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  for (let position = 0; position < text.length;) {
    parameterPattern.lastIndex = position;
    const parameter = parameterPattern.exec(text);
    if (parameter !== null) {
      const [, name = '', quoted, bare] = parameter;
      challenges.at(-1)?.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '');
      position = parameterPattern.lastIndex;
      continue;
    }
    schemePattern.lastIndex = position;
    const scheme = schemePattern.exec(text);
    if (scheme === null) break;
    challenges.push({ scheme: scheme[1]!.toLowerCase(), parameters: new Map() });
    position = schemePattern.lastIndex;
  }
  return challenges;
}

/** What can be answered: Bearer with a realm, else Basic. */
export function usableChallenge(header: string | undefined): Challenge | undefined {
  const challenges = parseChallenges(header);
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm')) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  );
}
