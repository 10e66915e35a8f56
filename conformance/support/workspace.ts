import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { chmod, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { searchPath } from '../../scripts/tools.mjs';

/** A directory of its own for one suite, and the environment that keeps clients inside it. */
export interface Workspace {
  readonly directory: string;
  /** Minimal and explicit: nothing of the user's configuration, and no way out of this machine. */
  readonly environment: Readonly<Record<string, string>>;
  /** A path inside; its parent directories are made. */
  path(...parts: readonly string[]): string;
  /** An empty directory inside. */
  makeDirectory(name: string): string;
  writeFile(name: string, content: string | Uint8Array): string;
  remove(): Promise<void>;
}

export function makeWorkspace(): Workspace {
  // The path stays short: sockets are made inside, and a socket's path has 107 bytes at most.
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-'));
  const inside = (...parts: readonly string[]): string => {
    const file = path.join(directory, ...parts);
    mkdirSync(path.dirname(file), { recursive: true });
    return file;
  };
  const makeDirectory = (name: string): string => {
    mkdirSync(inside(name), { recursive: true });
    return inside(name);
  };
  // From here rather than from the system, whose own may be missing or stricter: all images, whoever signed them.
  writeFileSync(
    inside('home', '.config', 'containers', 'policy.json'),
    '{"default":[{"type":"insecureAcceptAnything"}]}',
  );
  return {
    directory,
    environment: environmentInside(makeDirectory),
    path: inside,
    makeDirectory,
    writeFile: (name, content) => {
      writeFileSync(inside(name), content);
      return inside(name);
    },
    remove: async () => {
      await makeWritable(directory);
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function environmentInside(makeDirectory: (name: string) => string): Record<string, string> {
  return {
    PATH: searchPath,
    LANG: 'C.UTF-8',
    HOME: makeDirectory('home'),
    TMPDIR: makeDirectory('tmp'),
    XDG_RUNTIME_DIR: makeDirectory('run'),
    XDG_CONFIG_HOME: makeDirectory('home/.config'),
    XDG_CACHE_HOME: makeDirectory('home/.cache'),
    XDG_DATA_HOME: makeDirectory('home/.local/share'),
    // Clients written in Go reach loopback directly; anything else fails at once instead of leaving the machine.
    HTTP_PROXY: 'http://127.0.0.1:9',
    HTTPS_PROXY: 'http://127.0.0.1:9',
  };
}

/** The root directory of an unpacked image may be read-only, and then only root could remove what is inside. */
async function makeWritable(directory: string): Promise<void> {
  await chmod(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await makeWritable(path.join(directory, entry.name));
  }
}
