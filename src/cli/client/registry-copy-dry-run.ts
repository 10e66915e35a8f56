import type { Tag } from '../../oci/reference.js';
import type { Upstream, UpstreamAccess } from '../../upstream/upstream.js';
import { ClientError } from './client-error.js';
import { shortDigest } from './output.js';
import { plainText } from './plain-text.js';
import type { CopiedRepository } from './registry-copy.js';
import type { RegistryPush } from './registry-push.js';

/** What a dry run works with. */
export interface DryRunOptions {
  readonly source: Upstream;
  readonly access: UpstreamAccess;
  readonly target: RegistryPush;
  readonly print: (text: string) => void;
}

/** Says what would be copied, a line for each tag, with nothing but HEADs. */
export class CopyDryRun {
  readonly #options: DryRunOptions;
  #copied = 0;
  #moved = 0;
  #there = 0;

  constructor(options: DryRunOptions) {
    this.#options = options;
  }

  async tellTag({ from, to }: CopiedRepository, tag: Tag): Promise<void> {
    const { source, access, print } = this.#options;
    const { digest } = await source.headManifest(from, { kind: 'tag', tag }, access);
    const there = await this.#digestThere(to, tag);
    const line = (what: string, more = '') => {
      print(`${what} ${plainText(`${to}:${tag}`)} (${shortDigest(digest)}${more})\n`);
    };
    if (there === undefined) {
      this.#copied += 1;
      line('would copy');
    } else if (there === digest) {
      this.#there += 1;
      line('is there  ');
    } else {
      this.#moved += 1;
      line('would move', `, it is ${shortDigest(there)}`);
    }
  }

  /** Lines with their ends. */
  summary(): string {
    return `Would copy ${this.#copied} and move ${this.#moved} tags; ${this.#there} are there already.\n`;
  }

  async #digestThere(repository: string, tag: Tag): Promise<string | undefined> {
    try {
      return (await this.#options.target.headManifest(repository, tag))?.digest;
    } catch (error) {
      // A project that is still to be made.
      if (error instanceof ClientError && error.status === 403) return undefined;
      throw error;
    }
  }
}
