import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import type { Workspace } from './workspace.js';

/** What `docker build` and its kin are given: a Containerfile and the files it copies, each to the root of the image. */
export interface BuildContext {
  readonly directory: string;
  readonly containerfile: string;
  readonly files: ReadonlyMap<string, Buffer>;
}

/** A build of an image from nothing, one layer for each of two files of random bytes. */
export function makeBuildContext(workspace: Workspace, name: string): BuildContext {
  const files = new Map([
    ['first.bin', randomBytes(250_000)],
    ['second.bin', randomBytes(150_000)],
  ]);
  for (const [file, content] of files) workspace.writeFile(`${name}/${file}`, content);
  const steps = ['FROM scratch', ...[...files.keys()].map((file) => `COPY ${file} /${file}`), 'CMD ["/none"]'];
  const containerfile = workspace.writeFile(`${name}/Dockerfile`, `${steps.join('\n')}\n`);
  return { directory: workspace.path(name), containerfile, files };
}

/** Expects the files of the build in the root directory of a pulled image, bit for bit. */
export async function expectFilesIn(imageRoot: string, context: BuildContext): Promise<void> {
  for (const [file, content] of context.files) {
    expect((await readFile(path.join(imageRoot, file))).equals(content), `content of ${file}`).toBe(true);
  }
}
