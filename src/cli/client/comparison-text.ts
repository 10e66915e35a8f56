import { formatSize, shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import type { ComparedLayer, ImageComparison, NamedChanges, PlatformComparison } from './wire.js';

/** Enough of a command of a build to recognise it by. */
const maxCommandLength = 160;

/** How two images differ, for people: what was is marked -, what is +, and what is the same is left out. */
export function formatComparison(
  { platforms, onlyIn }: ImageComparison,
  { from, to }: { readonly from: string; readonly to: string },
): string {
  const parts = (platforms ?? []).map(formatPlatform);
  const missing = [
    ...(onlyIn?.from ?? []).map((platform) => `- platform ${plainText(platform)}`),
    ...(onlyIn?.to ?? []).map((platform) => `+ platform ${plainText(platform)}`),
  ];
  const all = [...parts, ...(missing.length === 0 ? [] : [missing])].map((lines) => lines.join('\n'));
  const body = all.length === 0 ? 'there is no such platform that both are for' : all.join('\n\n');
  return `${plainText(from)} -> ${plainText(to)}\n${body}\n`;
}

function formatPlatform(comparison: PlatformComparison): readonly string[] {
  const { name, platform, image, version, created, size, config, environment, labels, layers } = comparison;
  const isSame = image !== undefined && image !== null && image.from === image.to;
  const settings = Object.entries(config ?? {}).flatMap(([name, change]) =>
    change ? section(`  ${plainText(name)}:`, changeLines(change.from, change.to)) : [],
  );
  return [
    ...(name ? [`platform ${plainText(name)}`] : []),
    ...differing('platform', platform?.from, platform?.to),
    line('image', shortDigest(image?.from), shortDigest(image?.to)),
    ...(isSame ? ['  the same image'] : []),
    ...differing('version', version?.from, version?.to),
    ...differing('built', created?.from, created?.to),
    ...differing('size', formatSize(size?.from), formatSize(size?.to)),
    ...section('settings', settings),
    ...section('environment', namedLines(environment)),
    ...section('labels', namedLines(labels)),
    ...(layers
      ? section(`layers: ${layers.kept} (${formatSize(layers.keptSize)}) are in both`, [
          ...layers.removed.map((layer) => layerLine('-', layer)),
          ...layers.added.map((layer) => layerLine('+', layer)),
        ])
      : []),
  ];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [title, ...lines];
}

function line(name: string, from: string, to: string): string {
  return from === to
    ? `${name} ${plainText(from)}`
    : `${name} ${plainText(from || '(none)')} -> ${plainText(to || '(none)')}`;
}

function differing(name: string, from: string | null | undefined, to: string | null | undefined): readonly string[] {
  const [before, after] = [from ?? '', to ?? ''];
  return before === after ? [] : [line(name, before, after)];
}

type Setting = string | readonly string[] | null | undefined;

function changeLines(from: Setting, to: Setting): readonly string[] {
  return [...settingLine('-', from), ...settingLine('+', to)];
}

function settingLine(mark: string, value: Setting): readonly string[] {
  if (value === undefined || value === null) return [];
  return [`  ${mark} ${plainText(typeof value === 'string' ? value : JSON.stringify(value))}`];
}

function namedLines(changes: NamedChanges): readonly string[] {
  if (!changes) return [];
  const lines = [
    ...changes.removed.map(({ name, value }) => ({ name, texts: [`- ${name}=${value}`] })),
    ...changes.added.map(({ name, value }) => ({ name, texts: [`+ ${name}=${value}`] })),
    ...changes.changed.map(({ name, from, to }) => ({ name, texts: [`- ${name}=${from}`, `+ ${name}=${to}`] })),
  ];
  lines.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return lines.flatMap(({ texts }) => texts.map((text) => `  ${plainText(text)}`));
}

function layerLine(mark: string, { digest, size, createdBy }: ComparedLayer): string {
  const by = plainText(createdBy ?? '');
  const shown = by.length > maxCommandLength ? `${by.slice(0, maxCommandLength)}…` : by;
  return `  ${mark} ${shortDigest(plainText(digest))}  ${formatSize(size).padStart(6)}  ${shown}`.trimEnd();
}
