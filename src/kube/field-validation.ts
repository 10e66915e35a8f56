import { isJsonArray, isJsonObject, type JsonValue } from './json.js';

/** So many faults are told, as in Kubernetes (sigs.k8s.io/json). */
const maxFaults = 100;
const maxDepth = 1000;
const maxPathLength = 1024;

/**
 * Paths of the fields that a schema has stripped, `spec.foo` or `tags[0].bar`, in their order; of nested ones the
 * outermost. Kubernetes calls each `unknown field "spec.foo"`. Fields that are null count as absent. What the schema has turned into something else than an object or array is known as a
 * whole.
 *
 * @param output what the schema has made of the whole input
 * @returns at most a hundred, the end of a very long one cut off
 */
export function unknownFields(input: JsonValue, output: unknown): string[] {
  const paths: string[] = [];
  collectUnknown(input, output, '', paths);
  return paths;
}

function collectUnknown(input: JsonValue, output: unknown, path: string, paths: string[]): void {
  // What a schema lets pass whatever it is, it passes on as it is, however deep it may be.
  if (input === output || paths.length >= maxFaults) return;
  if (isJsonArray(input)) {
    if (!Array.isArray(output)) return;
    const elements: readonly unknown[] = output;
    if (elements.length !== input.length) return;
    for (const [index, element] of input.entries())
      collectUnknown(element, elements[index], `${path}[${index}]`, paths);
  } else if (isJsonObject(input)) {
    if (typeof output !== 'object' || output === null || Array.isArray(output)) return;
    const members = new Map<string, unknown>(Object.entries(output));
    for (const [name, member] of Object.entries(input)) {
      if (member === null) continue;
      const memberPath = path === '' ? name : `${path}.${name}`;
      if (members.has(name)) collectUnknown(member, members.get(name), memberPath, paths);
      else if (paths.length < maxFaults) paths.push(shortened(memberPath));
    }
  }
}

/** An array or object that the scan is inside of. */
type Frame =
  | { readonly kind: 'object'; readonly names: Set<string>; name: string; isAtName: boolean }
  | { readonly kind: 'array'; index: number };

/**
 * Paths of the fields that an object of a JSON text has more than once, each told once: `duplicate field "spec.foo"`.
 * `JSON.parse` keeps the last and says nothing.
 *
 * @param text that `JSON.parse` takes
 * @returns at most a hundred, the end of a very long one cut off; what comes after something nested more than a
 *   thousand levels deep is not looked at
 */
export function duplicateFields(text: string): string[] {
  const paths = new Set<string>();
  const frames: Frame[] = [];
  for (let position = 0; position < text.length && paths.size < maxFaults && frames.length <= maxDepth; position++) {
    const frame = frames.at(-1);
    const character = text[position]!;
    if (character === '{') frames.push({ kind: 'object', names: new Set(), name: '', isAtName: true });
    else if (character === '[') frames.push({ kind: 'array', index: 0 });
    else if (character === '}' || character === ']') frames.pop();
    else if (character === ',' && frame?.kind === 'object') frame.isAtName = true;
    else if (character === ',' && frame?.kind === 'array') frame.index++;
    else if (character === '"') {
      const end = endOfString(text, position);
      if (frame?.kind === 'object' && frame.isAtName) {
        // The same name may be written in several ways, with and without escapes.
        frame.name = String(JSON.parse(text.slice(position, end)));
        frame.isAtName = false;
        if (frame.names.has(frame.name)) paths.add(pathOf(frames));
        frame.names.add(frame.name);
      }
      position = end - 1;
    }
  }
  return [...paths];
}

/** @returns the position after the closing quote */
function endOfString(text: string, start: number): number {
  let position = start + 1;
  while (position < text.length && text[position] !== '"') position += text[position] === '\\' ? 2 : 1;
  return position + 1;
}

function pathOf(frames: readonly Frame[]): string {
  let path = '';
  for (const frame of frames) {
    if (frame.kind === 'array') path += `[${frame.index}]`;
    else path += path === '' ? frame.name : `.${frame.name}`;
  }
  return shortened(path);
}

function shortened(path: string): string {
  return path.length <= maxPathLength ? path : `${path.slice(0, maxPathLength)}…`;
}
