import type { Digest } from '../oci/digest.js';

/** Something that was not taken. */
export interface LeftOut {
  readonly kind: 'repository' | 'tag' | 'image' | 'blob';
  /** As it was called where it came from; a blob belongs to none in particular. */
  readonly repository?: string;
  readonly tag?: string;
  readonly digest?: Digest;
  readonly why: string;
}

/** Of one kind, each of them counted once. */
export interface BlobCount {
  count: number;
  bytes: number;
}

/** What came of an import. */
export interface ImportCounts {
  readonly repositories: number;
  /** Moved by this run, and found where they should be. */
  readonly tags: { readonly taken: number; readonly there: number };
  readonly images: { readonly taken: number; readonly there: number };
  readonly blobs: Readonly<Record<'linked' | 'copied' | 'there', Readonly<BlobCount>>>;
  readonly leftOut: number;
}

/** Counts what an import does, and tells of what it leaves out. */
export class ImportTally {
  readonly #onLeftOut: (item: LeftOut) => void;
  readonly #seenBlobs = new Set<Digest>();
  readonly #blobs = {
    linked: { count: 0, bytes: 0 },
    copied: { count: 0, bytes: 0 },
    there: { count: 0, bytes: 0 },
  };
  readonly #tags = { taken: 0, there: 0 };
  readonly #images = { taken: 0, there: 0 };
  #repositories = 0;
  #leftOut = 0;

  constructor(onLeftOut: (item: LeftOut) => void) {
    this.#onLeftOut = onLeftOut;
  }

  get counts(): ImportCounts {
    return {
      repositories: this.#repositories,
      tags: this.#tags,
      images: this.#images,
      blobs: this.#blobs,
      leftOut: this.#leftOut,
    };
  }

  repository(): void {
    this.#repositories += 1;
  }

  tags(count: number, how: 'taken' | 'there'): void {
    this.#tags[how] += count;
  }

  image(how: 'taken' | 'there'): void {
    this.#images[how] += 1;
  }

  /** Of a blob that several repositories or images have, the first time counts. */
  blob({ digest, size }: { readonly digest: Digest; readonly size: number }, how: keyof ImportCounts['blobs']): void {
    if (this.#seenBlobs.has(digest)) return;
    this.#seenBlobs.add(digest);
    this.#blobs[how].count += 1;
    this.#blobs[how].bytes += size;
  }

  leaveOut(item: LeftOut): void {
    this.#leftOut += 1;
    this.#onLeftOut(item);
  }
}
