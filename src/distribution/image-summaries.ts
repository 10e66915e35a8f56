import type { ImageStore, ImageSummaryRecords } from '../metadata/image-store.js';
import type { Digest } from '../oci/digest.js';
import { summarizeImage } from '../oci/image-config.js';
import { parseManifest } from '../oci/manifest.js';
import type { ConfigReader } from './config-reader.js';

/** Images looked at in one step. */
const lookedAtAtOnce = 500;

/**
 * Reads out of manifests and configs what is kept of images that came before it was kept. Pushes see to the others, so it
 * is done once; each image is a small step between other people's requests.
 */
export class ImageSummaries {
  readonly #images: Pick<ImageStore, 'find'> & ImageSummaryRecords;
  readonly #configs: ConfigReader;

  constructor(images: Pick<ImageStore, 'find'> & ImageSummaryRecords, configs: ConfigReader) {
    this.#images = images;
    this.#configs = configs;
  }

  /**
   * Goes through all images. One that cannot be read holds up none of the others; the first such error is thrown at the end.
   *
   * @param signal ends the run between two images
   * @returns how many images were summarized
   */
  async run(signal: AbortSignal): Promise<number> {
    let summarized = 0;
    let failure: { readonly error: unknown } | undefined;
    let after: Digest | undefined;
    do {
      const { digests, next } = await this.#images.listUnsummarized(after, lookedAtAtOnce);
      for (const digest of digests) {
        if (signal.aborted) return summarized;
        try {
          await this.#summarize(digest);
          summarized += 1;
        } catch (error) {
          failure ??= { error };
        }
      }
      after = next;
    } while (after !== undefined && !signal.aborted);
    if (failure !== undefined) throw failure.error;
    return summarized;
  }

  async #summarize(digest: Digest): Promise<void> {
    const image = await this.#images.find(digest);
    // It was deleted meanwhile.
    if (image === undefined) return;
    const manifest = parseManifest(image.bytes, image.mediaType);
    const repository = await this.#images.findConfigRepository(digest);
    const config = repository && (await this.#configs.read(repository, manifest));
    await this.#images.putSummary(digest, summarizeImage(image.bytes, manifest, config));
  }
}
