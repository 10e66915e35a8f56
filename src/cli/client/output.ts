import { Document, visit } from 'yaml';
import { escapeUnshowable, isShowable, plainText } from './plain-text.js';

/** How an answer is written. */
export const outputFormats = ['table', 'json', 'yaml'] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** Rows of texts under their headings. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/**
 * An answer as whoever asked wants it: the whole of it in JSON or YAML, or a table for people. Nothing that a server says
 * is acted upon by a terminal.
 */
export function formatAnswer(format: OutputFormat, whole: unknown, table: () => string): string {
  switch (format) {
    case 'json':
      return `${escapeUnshowable(JSON.stringify(whole, undefined, 2))}\n`;
    case 'yaml':
      return formatYaml(whole);
    case 'table':
      return table();
  }
}

/** Columns side by side, two spaces apart, without those that are empty in every row. */
export function formatTable({ columns, rows }: Table): string {
  const cells = rows.map((row) => row.map(plainText));
  const shown = columns.map((_column, index) => index).filter((index) => cells.some((row) => row[index] !== ''));
  const lines = [columns, ...cells].map((row) => shown.map((index) => row[index] ?? ''));
  const widths = shown.map((_index, column) => lines.reduce((most, line) => Math.max(most, width(line[column]!)), 0));
  return lines
    .map((line) => line.map((cell, column) => cell + ' '.repeat(widths[column]! - width(cell))).join('  '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/** Bytes as people read them: `5.2MB`. */
export function formatSize(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return '';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)}${units[unit]!}`;
}

/** The algorithm and twelve digits of a digest: enough to tell images apart, and taken by every command. */
export function shortDigest(digest: string | null | undefined): string {
  if (digest === null || digest === undefined) return '';
  const [, short] = /^(sha\d+:[0-9a-f]{12})[0-9a-f]*$/.exec(digest) ?? [];
  return short ?? digest;
}

function formatYaml(whole: unknown): string {
  const document = new Document(whole, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_key, node) => {
      // Only between double quotes does an escape stand for its character.
      if (typeof node.value === 'string' && !isShowable(node.value.replaceAll('\n', ''))) node.type = 'QUOTE_DOUBLE';
    },
  });
  return escapeUnshowable(document.toString({ lineWidth: 0 }));
}

const characters = new Intl.Segmenter();

/** Characters, of which a letter with its accents is one. */
function width(text: string): number {
  return /^[ -~]*$/.test(text) ? text.length : Array.from(characters.segment(text)).length;
}
