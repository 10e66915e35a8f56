/**
 * Whether a text is what a pattern describes, from its beginning to its end: `*` stands for any characters, also for
 * none, and everything else for itself. It takes no longer than reading both.
 */
export function isGlobMatch(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === pattern;
  if (!text.startsWith(first)) return false;
  let position = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, position);
    if (found === -1) return false;
    position = found + part.length;
  }
  return text.length - last.length >= position && text.endsWith(last);
}
