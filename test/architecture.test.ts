import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', 'src');

/** What a file takes from elsewhere. */
interface SourceFile {
  /** Below src/, as in `oci/digest.ts`. */
  readonly path: string;
  /** The first folder, or the file itself when it is in none. */
  readonly part: string;
  /** Paths below src/. */
  readonly imports: readonly string[];
  readonly packages: readonly string[];
  readonly text: string;
}

const files: readonly SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map(readSource)
  .sort((a, b) => (a.path < b.path ? -1 : 1));

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const specifiers = [...text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)'([^']+)'/g)].map(
    (match) => match[1]!,
  );
  const isOurs = (specifier: string) => specifier.startsWith('.');
  return {
    path,
    part: partOf(path),
    imports: specifiers
      .filter(isOurs)
      .map((specifier) => normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts')),
    packages: specifiers.filter((specifier) => !isOurs(specifier)),
    text,
  };
}

function partOf(path: string): string {
  return path.split('/')[0]!;
}

/** The table of section 2 of the style guide: what each folder may import, besides itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  oci: [],
  tls: ['metadata'],
  blobstore: ['oci'],
  metadata: ['oci'],
  auth: ['oci', 'metadata'],
  distribution: ['oci', 'blobstore', 'metadata', 'auth'],
  kube: ['oci', 'metadata', 'auth'],
  access: ['oci', 'metadata', 'auth', 'kube'],
  projects: ['oci', 'metadata', 'auth', 'kube'],
  identity: ['oci', 'metadata', 'auth', 'kube'],
  audit: ['oci', 'metadata', 'auth', 'kube'],
  upstream: ['oci', 'metadata'],
  streams: ['oci', 'metadata', 'auth', 'kube'],
  imports: ['oci', 'metadata', 'auth', 'kube', 'streams', 'upstream'],
  pullthrough: ['oci', 'blobstore', 'metadata', 'auth', 'kube', 'upstream'],
  moving: ['oci', 'blobstore', 'metadata', 'auth', 'distribution'],
};

/** They put everything together, and nobody but they themselves imports them. */
const compositionRoots = ['main.ts', 'serve.ts', 'app.ts', 'api-parts.ts', 'import-parts.ts', 'cache-parts.ts', 'cli'];

/** They turn HTTP into domain values and back; everything else in a folder of the table knows no HTTP. */
function isEdge(path: string): boolean {
  return /(^|[/-])routes\.ts$|-(middleware|request|response)\.ts$|(^|\/)(registry-access|page-query)\.ts$/.test(path);
}

test('the walk finds the source', () => {
  expect(files.length).toBeGreaterThan(30);
  expect(files.flatMap((file) => file.imports).length).toBeGreaterThan(100);
});

test('every import is of a file that exists', () => {
  const paths = files.map((file) => file.path);
  for (const { path, imports } of files) {
    for (const imported of imports.filter((name) => name.endsWith('.ts'))) {
      expect(paths, `imported by ${path}`).toContain(imported);
    }
  }
});

test('every folder is in the table or puts things together', () => {
  const folders = [...new Set(files.filter((file) => file.path.includes('/')).map((file) => file.part))];
  const known = [...Object.keys(mayImport), ...compositionRoots];
  expect(folders.filter((folder) => !known.includes(folder))).toEqual([]);
});

describe('dependencies point one way', () => {
  const inTable = files.filter((file) => file.part in mayImport);

  test.each([...new Set(inTable.map((file) => file.part))])('%s imports only what it may', (part) => {
    const stray = inTable
      .filter((file) => file.part === part)
      .flatMap(({ path, imports }) =>
        imports
          .filter((imported) => {
            const target = partOf(imported);
            if (target === part || mayImport[part]!.includes(target)) return false;
            if (imported === 'http.ts')
              return !(isEdge(path) && ['auth', 'distribution', 'kube', 'identity'].includes(part));
            if (imported === 'slots.ts') return !['metadata', 'moving'].includes(part);
            return !(imported === 'durable-files.ts' && ['auth', 'blobstore', 'projects', 'tls'].includes(part));
          })
          .map((imported) => `${path} imports ${imported}`),
      );
    expect(stray).toEqual([]);
  });

  test('what puts things together is imported by nobody else', () => {
    const stray = files
      .filter((file) => !compositionRoots.includes(file.part))
      .flatMap(({ path, imports }) =>
        imports
          .filter((imported) => compositionRoots.includes(partOf(imported)))
          .map((imported) => `${path} imports ${imported}`),
      );
    expect(stray).toEqual([]);
  });

  test('main.ts is imported by nobody at all', () => {
    expect(files.filter((file) => file.imports.includes('main.ts')).map((file) => file.path)).toEqual([]);
  });

  test('there is no circle of imports', () => {
    const importsOf = new Map(files.map((file) => [file.path, file.imports]));
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (path: string, trail: readonly string[]) => {
      if (trail.includes(path)) {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
        return;
      }
      if (done.has(path)) return;
      for (const imported of importsOf.get(path) ?? []) visit(imported, [...trail, path]);
      done.add(path);
    };
    for (const { path } of files) visit(path, []);
    expect(circles).toEqual([]);
  });
});

describe('layers', () => {
  const inner = files.filter((file) => file.part in mayImport && !isEdge(file.path));

  test('services, ports and adapters know no web server', () => {
    expect(inner.length).toBeGreaterThan(20);
    const stray = inner
      // A client of identity providers: Node's own fetch takes no authority beside the usual ones.
      .filter((file) => file.path !== 'identity/ca-fetch.ts')
      .filter((file) => file.packages.some((name) => ['koa', '@koa/router', 'node:http', 'node:https'].includes(name)))
      .map((file) => file.path);
    expect(stray).toEqual([]);
  });

  test('the nouns do no input or output', () => {
    const allowed = ['node:crypto', 'zod'];
    const stray = files
      .filter((file) => file.part === 'oci')
      .flatMap(({ path, packages }) =>
        packages.filter((name) => !allowed.includes(name)).map((name) => `${path} imports ${name}`),
      );
    expect(stray).toEqual([]);
  });

  test('only those who put things together name an adapter', () => {
    const adapter = /\b(Kysely[A-Z]\w*|FilesystemBlobStore|S3BlobStore|openSqlite|openPostgres)\b/;
    const mayName = (path: string) =>
      ['app.ts', 'serve.ts', 'registry-files.ts'].includes(path) ||
      ['cli', 'metadata', 'blobstore'].includes(partOf(path));
    const stray = files.filter((file) => !mayName(file.path) && adapter.test(file.text)).map((file) => file.path);
    expect(stray).toEqual([]);
  });

  test('ports name none of their adapters', () => {
    const adapters = /(^|\/)(kysely-[\w-]+|sqlite|postgres|filesystem|s3|memory)\.ts$/;
    const stray = files
      .filter((file) => ['metadata', 'blobstore'].includes(file.part) && !adapters.test(file.path))
      .filter((file) => file.imports.some((imported) => adapters.test(imported)))
      .map((file) => file.path);
    expect(stray).toEqual([]);
  });

  test('only the configuration reads the environment', () => {
    // The command line hands it over, and says so where it does.
    const stray = files
      .filter((file) => file.text.includes('process.env') && !['config.ts', 'cli/config-of.ts'].includes(file.path))
      .map((file) => file.path);
    expect(stray).toEqual([]);
  });
});
