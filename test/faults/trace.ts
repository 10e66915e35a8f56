/** A system call as strace saw it. */
export interface SystemCall {
  readonly name: string;
  /** As strace writes them, with `-yy`. */
  readonly parameters: string;
  /** Undefined when the call never returned. */
  readonly result: number | undefined;
  /** Where in the trace it was entered; what is lower came before. */
  readonly begin: number;
  /** Where in the trace it had returned; Infinity when it never did. */
  readonly end: number;
}

/** Reads the output of `strace -f -ttt -o`, and joins calls that other threads' calls came between. */
export function parseTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  /** By thread, where in `calls` its unfinished one is. */
  const unfinished = new Map<string, number>();
  for (const [position, line] of text.split('\n').entries()) {
    const [, thread = '', rest = ''] = /^(\d+) +[\d.]+ (.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. (\w+) resumed>(.*)$/.exec(rest);
    if (resumed !== null) {
      const index = unfinished.get(thread);
      if (index === undefined) throw new Error(`line ${position + 1} of the trace resumes what was not begun`);
      unfinished.delete(thread);
      const { parameters, result } = parseEnd(resumed[2]!);
      const begun = calls[index]!;
      calls[index] = { ...begun, parameters: begun.parameters + parameters, result, end: endOf(result, position) };
      continue;
    }
    const [, name, tail] = /^(\w+)\((.*)$/.exec(rest) ?? [];
    // Signals and the ends of threads have other forms, and are of no interest.
    if (name === undefined || tail === undefined) continue;
    const begun = / ?<unfinished \.\.\.>(?:\) += \?)?$/.exec(tail);
    if (begun === null) {
      const { parameters, result } = parseEnd(tail);
      calls.push({ name, parameters, result, begin: position, end: endOf(result, position) });
    } else {
      unfinished.set(thread, calls.length);
      const parameters = tail.slice(0, begun.index);
      calls.push({ name, parameters, result: undefined, begin: position, end: Infinity });
    }
  }
  return calls;
}

/** What the first parameter, a file descriptor, stood for: a path, or `TCP:[…]`. */
export function descriptorTarget({ parameters }: SystemCall): string | undefined {
  const match = /^\d+<(?:(TCP(?:v6)?:\[[^\]]*\])|([^>]*))>/.exec(parameters);
  return match?.[1] ?? match?.[2];
}

/** Every string among the parameters, as far as strace shows it. Bytes are characters of the same number. */
export function stringParameters({ parameters }: SystemCall): string[] {
  return [...parameters.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => unescape(match[1]!));
}

function endOf(result: number | undefined, position: number): number {
  return result === undefined ? Infinity : position;
}

function parseEnd(text: string): { readonly parameters: string; readonly result: number | undefined } {
  // Data may hold anything but a quotation mark that is not escaped; behind the result there is none.
  const match = /\)\s+= (-?\d+|\?)[^"]*$/.exec(text);
  if (match === null) throw new Error(`not the end of a system call: ${text.slice(-200)}`);
  return {
    parameters: text.slice(0, match.index),
    result: match[1] === '?' ? undefined : Number(match[1]),
  };
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', v: '\v', f: '\f', a: '\x07', b: '\b' };

function unescape(text: string): string {
  return text.replace(/\\([0-7]{1,3}|x[0-9a-f]{2}|.)/g, (_whole, code: string) => {
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
    if (/^x./.test(code)) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    return escapes[code] ?? code;
  });
}
