import { Readable } from 'node:stream';
import { z } from 'zod';
import { digestAlgorithm, digestOf, isDigest, type Digest, type DigestAlgorithm } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { maxManifestSize } from '../oci/manifest.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { entryName, type ArchiveFile, type ArchiveLink } from './archive-reader.js';
import type { UploadKey, UploadService } from './uploads.js';

/** A file of an archive that may be a blob of an image. */
export interface StagedFile {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly format: 'gzip' | 'zstd' | 'plain';
  /** Digests of the layers, unpacked, when it can be the config of an image. */
  readonly diffIds: readonly string[] | undefined;
}

/** Where the bytes of a blob are until it is known which repository they are for. */
type StagedBytes =
  { readonly kind: 'upload'; readonly key: UploadKey } | { readonly kind: 'memory'; readonly bytes: Buffer };

/** Who imports. */
export interface StagingOwner {
  /** A name in the project that the images go to; nothing is made under it. */
  readonly repository: RepositoryName;
  /** Name of the caller. */
  readonly principal: string;
}

/** Manifests and lists that are kept in memory while an archive is read. */
const maxDocuments = 1000;
const maxDocumentBytes = 32 * 1024 * 1024;
/** A link to a link is followed so far. */
const maxLinks = 8;

/** What says what an archive holds (OCI Image Spec, "Image Layout"; `docker save`). */
const listNames = ['index.json', 'manifest.json'] as const;

/** Beside images of the first version, each in a folder (Docker Image Specification v1). Nothing reads them any more. */
const unread = /^(repositories|[0-9a-f]{64}\/(VERSION|json))$/;

const zstdMagic = Buffer.from('28b52ffd', 'hex');

const configSchema = z.looseObject({ rootfs: z.looseObject({ diff_ids: z.array(z.string()).nullable() }) });

/**
 * The files of an archive while it is received. It is not known what a file is for before the lists of the archive have
 * come, and they may come last: so each goes into an upload session of its own, and manifests into memory as well.
 */
export class ArchiveStaging {
  readonly #uploads: UploadService;
  readonly #owner: StagingOwner;
  /** What can be a manifest, by digest. */
  readonly documents = new Map<Digest, Buffer>();
  readonly #lists = new Map<string, Buffer>();
  readonly #files = new Map<string, StagedFile>();
  readonly #links = new Map<string, string>();
  readonly #bytes = new Map<Digest, StagedBytes>();
  readonly #sessions = new Map<string, UploadKey>();
  #documentBytes = 0;

  constructor(uploads: UploadService, owner: StagingOwner) {
    this.#uploads = uploads;
    this.#owner = owner;
  }

  /** @throws {OciError} DIGEST_INVALID when a file of an OCI layout is not what its name says; as `UploadService.append` */
  async add(entry: ArchiveFile | ArchiveLink): Promise<void> {
    if (entry.kind === 'link') {
      this.#links.set(entry.name, entry.target);
      return;
    }
    if (unread.test(entry.name) || entry.name === 'oci-layout') return;
    const named = digestInLayout(entry.name);
    const staged = await this.#receive(entry, named === undefined ? 'sha256' : digestAlgorithm(named));
    if (staged === undefined) return;
    if (named !== undefined && staged.digest !== named) {
      throw new OciError('DIGEST_INVALID', { entry: entry.name, expected: named, actual: staged.digest });
    }
    this.#files.set(entry.name, staged);
  }

  /** `index.json` or `manifest.json` at the root of the archive. */
  list(name: (typeof listNames)[number]): Buffer | undefined {
    return this.#lists.get(name);
  }

  /** Of a file of the archive, also by the name of a link to it. */
  find(name: string): StagedFile | undefined {
    let found = entryName(name);
    for (let links = 0; links < maxLinks; links += 1) {
      const target = this.#links.get(found);
      if (target === undefined) break;
      found = target;
    }
    return this.#files.get(found);
  }

  has(digest: Digest): boolean {
    return this.#bytes.has(digest);
  }

  addDocument(bytes: Buffer, digest: Digest = digestOf(bytes)): void {
    if (this.documents.has(digest)) return;
    this.#documentBytes += bytes.length;
    if (this.documents.size >= maxDocuments || this.#documentBytes > maxDocumentBytes) {
      const reason = `an archive has at most ${maxDocuments} manifests of together ${maxDocumentBytes} bytes`;
      throw new OciError('SIZE_INVALID', { reason }, { status: 413 });
    }
    this.documents.set(digest, bytes);
  }

  /** Makes a blob of a repository out of what was received. Each digest once: other repositories link it from there. */
  async commit(digest: Digest, repository: RepositoryName): Promise<void> {
    const staged = this.#bytes.get(digest);
    if (staged === undefined) throw new Error(`${digest} was not received`);
    if (staged.kind === 'upload') {
      await this.#uploads.finish(staged.key, digest, undefined, repository);
      this.#sessions.delete(staged.key.id);
      return;
    }
    const source = Readable.from([staged.bytes], { objectMode: false });
    const body = { source, range: undefined, length: staged.bytes.length };
    await this.#uploads.receive(repository, this.#owner.principal, digest, body);
  }

  /** Throws away what became no blob. What cannot be thrown away now is given up as any upload that rests. */
  async discard(): Promise<void> {
    for (const key of this.#sessions.values()) await this.#uploads.cancel(key).catch(() => undefined);
    this.#sessions.clear();
  }

  /** @returns undefined for a list of the archive, which is no blob */
  async #receive(entry: ArchiveFile, algorithm: DigestAlgorithm): Promise<StagedFile | undefined> {
    const { name, size } = entry;
    const isList = (listNames as readonly string[]).includes(name);
    const chunks = entry.bytes[Symbol.asyncIterator]();
    const head = await readUpTo(chunks, 4);
    if (!isList && (head[0] !== 0x7b || size > maxManifestSize)) {
      return this.#upload(
        { source: joined(head, chunks), size, format: formatOf(head), diffIds: undefined },
        algorithm,
      );
    }
    if (size > maxManifestSize) {
      throw new OciError('SIZE_INVALID', { entry: name, reason: 'a list is larger than a manifest' }, { status: 413 });
    }
    const bytes = Buffer.concat([head, await readUpTo(chunks, maxManifestSize)]);
    if (isList) {
      this.#lists.set(name, bytes);
      return undefined;
    }
    const json = parseJson(bytes);
    if (isManifest(json)) {
      const digest = digestOf(bytes, algorithm);
      this.addDocument(bytes, digest);
      // Nothing forbids that an image has it for a layer.
      if (!this.#bytes.has(digest)) this.#bytes.set(digest, { kind: 'memory', bytes });
      return { digest, size, format: 'plain', diffIds: undefined };
    }
    const config = configSchema.safeParse(json).data;
    const diffIds = config && (config.rootfs.diff_ids ?? []);
    return this.#upload({ source: joined(bytes, chunks), size, format: 'plain', diffIds }, algorithm);
  }

  async #upload(
    { source, size, format, diffIds }: Omit<StagedFile, 'digest'> & { readonly source: AsyncIterable<Buffer> },
    algorithm: DigestAlgorithm,
  ): Promise<StagedFile> {
    const { repository, principal } = this.#owner;
    const { id } = await this.#uploads.start(repository, principal, algorithm);
    const key = { repository, id, principal };
    this.#sessions.set(id, key);
    const body = { source: Readable.from(source, { objectMode: false }), range: undefined, length: size };
    const { digestSoFar: digest } = await this.#uploads.append(key, body);
    if (this.#bytes.has(digest)) {
      await this.#uploads.cancel(key);
      this.#sessions.delete(id);
    } else {
      this.#bytes.set(digest, { kind: 'upload', key });
    }
    return { digest, size, format, diffIds };
  }
}

/** The digest in the name of a blob (OCI Image Spec, "Image Layout"). */
function digestInLayout(name: string): Digest | undefined {
  const [, algorithm = '', encoded = ''] = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(name) ?? [];
  const digest = `${algorithm}:${encoded}`;
  return isDigest(digest) ? digest : undefined;
}

function formatOf(head: Buffer): StagedFile['format'] {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  return head.subarray(0, 4).equals(zstdMagic) ? 'zstd' : 'plain';
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

function isManifest(json: unknown): boolean {
  if (typeof json !== 'object' || json === null || !('schemaVersion' in json)) return false;
  return json.schemaVersion === 2 && ('config' in json || 'manifests' in json);
}

/** At least so many bytes, or all when there are fewer. */
async function readUpTo(chunks: AsyncIterator<Buffer>, least: number): Promise<Buffer> {
  const read: Buffer[] = [];
  let size = 0;
  while (size < least) {
    const next = await chunks.next();
    if (next.done === true) break;
    read.push(next.value);
    size += next.value.length;
  }
  return Buffer.concat(read);
}

async function* joined(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
