import { formatSize } from './output.js';
import { plainText } from './plain-text.js';

/** What was not copied, and why. */
export interface NotCopied {
  /** As in `team/app:v1`, by the name on the server. */
  readonly what: string;
  readonly why: string;
}

/** A blob on its way. */
export interface BlobUnderWay {
  /** Less than none when what was sent has to be sent again. */
  readonly advance: (bytes: number) => void;
  readonly end: () => void;
}

/** Shows how far it is. */
export interface CopyDisplay {
  readonly blobStarted: (name: string, size: number) => BlobUnderWay;
  /** Says something at once, without disturbing what is shown. */
  readonly say: (line: string) => void;
}

/** So many failures are kept for the end; all of them are told when they happen. */
const maxKept = 1000;

/** Counts what a run did, whatever number of things it was. */
export class CopyReport {
  readonly #display: CopyDisplay;
  readonly #failures: NotCopied[] = [];
  /** Repositories of the source that were looked at. */
  repositories = 0;
  /** Repositories of the source without a tag. */
  emptyRepositories = 0;
  tagsCopied = 0;
  tagsThere = 0;
  manifestsCopied = 0;
  /** Manifests that say something about another one: signatures, SBOMs. */
  referrersCopied = 0;
  blobsCopied = 0;
  blobsLinked = 0;
  /** Layers that are not distributed with their image. */
  layersLeftOut = 0;
  /** Of blobs that came over. */
  bytesCopied = 0;
  /** All that failed. */
  failed = 0;

  constructor(display: CopyDisplay) {
    this.#display = display;
  }

  notCopied(what: string, why: string): void {
    const failure = { what: plainText(what), why: plainText(why) };
    this.failed += 1;
    if (this.#failures.length < maxKept) this.#failures.push(failure);
    this.#display.say(`not copied: ${failure.what}: ${failure.why}`);
  }

  say(line: string): void {
    this.#display.say(plainText(line));
  }

  blobStarted(name: string, size: number): BlobUnderWay {
    const shown = this.#display.blobStarted(name, size);
    return {
      advance: (bytes) => {
        this.bytesCopied += bytes;
        shown.advance(bytes);
      },
      end: shown.end,
    };
  }

  /** How far it is, on one line. */
  line(): string {
    const { repositories, tagsCopied, tagsThere, blobsCopied, bytesCopied, failed } = this;
    return [
      `${count(repositories, 'repository', 'repositories')}: ${count(tagsCopied, 'tag')} copied`,
      `${tagsThere} there already`,
      `${count(blobsCopied, 'blob')} (${formatSize(bytesCopied)})`,
      ...(failed > 0 ? [`${failed} not copied`] : []),
    ].join(', ');
  }

  /** What came of it, for people; lines with their ends. */
  summary(): string {
    const lines = [
      `Copied: ${count(this.tagsCopied, 'tag')}, ${count(this.manifestsCopied, 'manifest')} ` +
        `(${this.referrersCopied} of them signatures, SBOMs and the like), ` +
        `${count(this.blobsCopied, 'blob')} (${formatSize(this.bytesCopied)}), ` +
        `and ${count(this.blobsLinked, 'blob')} that the server had elsewhere`,
      `There already: ${count(this.tagsThere, 'tag')}`,
      `Looked at: ${count(this.repositories, 'repository', 'repositories')}` +
        (this.emptyRepositories > 0 ? `, ${this.emptyRepositories} of them without a tag` : ''),
    ];
    if (this.layersLeftOut > 0) {
      lines.push(`Left out: ${count(this.layersLeftOut, 'layer')} that may not be distributed with the image`);
    }
    lines.push(`Not copied: ${this.failed}`);
    for (const { what, why } of this.#failures) lines.push(`  ${what}: ${why}`);
    const rest = this.failed - this.#failures.length;
    if (rest > 0) lines.push(`  and ${rest} more, which were told of when they failed`);
    return lines.map((line) => `${line}\n`).join('');
  }
}

/** As in `1 tag`, `2 tags`. */
function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
