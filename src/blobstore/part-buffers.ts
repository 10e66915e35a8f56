import { crc32 } from 'node:zlib';

/** Bytes in a page. */
export const pageSize = 1024 * 1024;

/**
 * Memory for parts on their way to a store, in pages that are used again and again.
 *
 * Whoever needs pages has a lease, which always gives as many as it was promised. Beyond these it gives more while all together
 * are within a limit, and then none: its holder makes do with what it has. So nobody waits for pages of somebody else, and
 * those who are many at once have what they were promised.
 */
export class PartBuffers {
  readonly #limit: number;
  #inUse = 0;
  /** What those who hold pages have, or were promised where that is more. */
  #claimed = 0;
  readonly #free: Buffer[] = [];

  /** @param limitBytes memory that is used at most, unless more was promised to those who use it; kept when nobody needs it */
  constructor(limitBytes: number) {
    this.#limit = Math.floor(limitBytes / pageSize);
  }

  lease(promisedPages: number): PageLease {
    return new PageLease(promisedPages, {
      isPlenty: () => this.#claimed < this.#limit,
      claim: (pages) => {
        this.#claimed += pages;
      },
      take: () => {
        this.#inUse += 1;
        return this.#free.pop() ?? Buffer.allocUnsafeSlow(pageSize);
      },
      give: (page) => {
        this.#inUse -= 1;
        // What is used now will soon be needed again: to leave it to the garbage collector takes twice the memory.
        if (this.#free.length + this.#inUse < Math.max(this.#limit, this.#claimed)) this.#free.push(page);
      },
    });
  }

  /** Bytes of the pages in use. */
  get usedBytes(): number {
    return this.#inUse * pageSize;
  }
}

interface PageSource {
  /** Whether there are pages for those who have what they were promised. */
  readonly isPlenty: () => boolean;
  /** Told of pages that a holder has come to have a claim to; negative: that it has none to any more. */
  readonly claim: (pages: number) => void;
  readonly take: () => Buffer;
  readonly give: (page: Buffer) => void;
}

/** What one holder has of the pages. */
export class PageLease {
  #promised: number;
  #held = 0;
  #claimed = 0;
  readonly #source: PageSource;

  constructor(promisedPages: number, source: PageSource) {
    this.#promised = promisedPages;
    this.#source = source;
  }

  /** From now on at least so many are promised. */
  promise(pages: number): void {
    this.#promised = Math.max(this.#promised, pages);
    this.#claim();
  }

  /** @returns undefined when all that were promised are held, and others need what there is */
  take(): Buffer | undefined {
    if (this.#held >= this.#promised && !this.#source.isPlenty()) return undefined;
    this.#held += 1;
    this.#claim();
    return this.#source.take();
  }

  /** Pages that nobody reads or writes any more. */
  give(pages: readonly Buffer[]): void {
    this.#held -= pages.length;
    this.#claim();
    for (const page of pages) this.#source.give(page);
  }

  /** Who holds a page will want all that was promised; who holds none is at its end, or has not begun. */
  #claim(): void {
    const claimed = this.#held === 0 ? 0 : Math.max(this.#promised, this.#held);
    this.#source.claim(claimed - this.#claimed);
    this.#claimed = claimed;
  }
}

/** Bytes in pages, with their checksum. */
export class PagedBytes {
  size = 0;
  readonly #pages: Buffer[] = [];
  #crc = 0;

  /** Bytes that can be added before there must be another page. */
  get room(): number {
    return this.#pages.length * pageSize - this.size;
  }

  /** CRC-32, to go on from. */
  get crc(): number {
    return this.#crc;
  }

  addPage(page: Buffer): void {
    this.#pages.push(page);
  }

  /** Copies as many of the bytes as there is room for in one page. @returns how many */
  add(bytes: Buffer): number {
    const inPage = this.size % pageSize;
    const added = Math.min(this.room, pageSize - inPage, bytes.length);
    if (added === 0) return 0;
    const chunk = added === bytes.length ? bytes : bytes.subarray(0, added);
    this.#pages[Math.floor(this.size / pageSize)]!.set(chunk, inPage);
    this.#crc = crc32(chunk, this.#crc);
    this.size += added;
    return added;
  }

  chunks(): Buffer[] {
    const used = Math.ceil(this.size / pageSize);
    return this.#pages
      .slice(0, used)
      .map((page, index) => page.subarray(0, Math.min(pageSize, this.size - index * pageSize)));
  }

  /** Gives all pages back; there are no bytes any more. */
  release(lease: PageLease): void {
    lease.give(this.#pages.splice(0));
    this.size = 0;
    this.#crc = 0;
  }
}

/** Room for so many pages of bytes. @throws {Error} when the lease was promised fewer */
export function pagesFor(lease: PageLease, pages: number): PagedBytes {
  const bytes = new PagedBytes();
  for (let index = 0; index < pages; index += 1) {
    const page = lease.take();
    if (page === undefined) throw new Error('fewer pages than were promised');
    bytes.addPage(page);
  }
  return bytes;
}

/** Bytes to be sent, in chunks that are in memory until they were. */
export interface Payload {
  readonly chunks: readonly Buffer[];
  readonly size: number;
  /** CRC-32 in base64, as S3 wants it. */
  readonly crc32: string;
}

/** What was gathered in several places, one after the other. */
export function payloadOf(...gathered: readonly PagedBytes[]): Payload {
  const filled = gathered.filter(({ size }) => size > 0);
  const chunks = filled.flatMap((bytes) => bytes.chunks());
  const crc = filled.length === 1 ? filled[0]!.crc : chunks.reduce((sum, chunk) => crc32(chunk, sum), 0);
  return { chunks, size: filled.reduce((sum, { size }) => sum + size, 0), crc32: base64Of(crc) };
}

function base64Of(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}
