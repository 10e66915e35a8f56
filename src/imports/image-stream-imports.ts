import { imageGroup } from '../auth/authorize.js';
import { conflict, invalid, notFound, StatusError, type StatusCause } from '../kube/errors.js';
import { timestamp } from '../kube/object-meta.js';
import type { Call, Resource, WriteOptions } from '../kube/resource.js';
import type { ImageRecord } from '../metadata/image-store.js';
import type { ApiObject } from '../metadata/object-store.js';
import type { StreamShell, StreamState, StreamStore } from '../metadata/stream-store.js';
import type { Digest } from '../oci/digest.js';
import { asRepository, formatPullSpec, parsePullSpec, PullSpecError, pullSpecOrError } from '../oci/pull-spec.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { registryCauses, withRepositories, type AllowedRegistries } from '../streams/allowed-registries.js';
import { parseStreamName, requireRepository } from '../streams/stream-names.js';
import { reasonOf, type StreamService } from '../streams/stream-service.js';
import { sightOf, tagReferenceOf, toImageStream, type SightOptions } from '../streams/stream-view.js';
import type { TagReference } from '../streams/types.js';
import { applyImports, type FoundImage, type TagImport } from './apply-imports.js';
import type { FoundRepository, ImageReader, ImageWish, Reader } from './image-reader.js';
import { imageStatusOf, repositoryStatusOf } from './import-answer.js';
import { statusOf } from './import-failure.js';
import {
  imageStreamImportSchema,
  importCauses,
  wantedImage,
  type SentImport,
  type WantedImage,
} from './import-request.js';
import type { ImportSchedule } from './import-schedule.js';

/** What images are imported with. */
export interface ImportOptions extends SightOptions {
  readonly store: StreamStore;
  readonly images: { readonly find: (digest: Digest) => Promise<ImageRecord | undefined> };
  readonly service: StreamService;
  readonly reader: ImageReader;
  readonly schedule: ImportSchedule;
  readonly allowedRegistries: AllowedRegistries;
  /** Of one repository, imported at most; the others are only named. */
  readonly maxTags: number;
}

/** An image that was wanted, and what it was found to be. */
interface ImageResult {
  readonly wanted: WantedImage;
  readonly found: FoundImage;
}

/** Image stream imports, as errors name them. */
const names = { group: imageGroup, plural: 'imagestreamimports', kind: 'ImageStreamImport' } as const;
const streams = { group: imageGroup, plural: 'imagestream' } as const;

/** On a stream: its sources need not have valid certificates. */
export const insecureAnnotation = 'openshift.io/image.insecureRepository';

/** image.openshift.io/v1 ImageStreamImport: brings images of other registries into a stream. It can only be created. */
export function imageStreamImportResource(options: ImportOptions): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagestreamimport',
    isNamespaced: true,
    verbs: ['create'],
    description: 'ImageStreamImport imports images of other registries into an image stream.',
    schema: imageStreamImportSchema,
    storage: { create: (call, object, write) => importImages(options, call, object as SentImport, write) },
  };
}

/** Which failure there is of single images is inside of an answer of success (openshift-apiserver, imagestreamimport). */
async function importImages(
  options: ImportOptions,
  call: Call,
  sent: SentImport,
  write: WriteOptions,
): Promise<ApiObject> {
  const { name } = sent.metadata;
  const { store, reader, maxTags } = options;
  const causes = importCauses(sent);
  if (causes.length > 0) throw invalid(names, name, causes);
  const repository = requireRepository(parseStreamName(call.namespace, name), names, name);
  const known = await store.readStream(repository, 1);
  checkPreconditions(sent, known?.stream);
  await checkRegistries(options, call, sent, known);

  const asking = readerOf(options, call, repository);
  const toWish = wishes(known);
  const { repository: sentRepository, images: sentImages } = sent.spec;
  const listing = sentRepository ? wantedImage(sentRepository) : undefined;
  const listed = listing && (await reader.listTags(listing.from, toWish(listing).isInsecure, maxTags, asking));
  const wanted = [...imagesOf(listing, listed), ...(sentImages ?? []).map(wantedImage)];
  const found = await reader.read(wanted.map(toWish), asking);
  const results = wanted.map((each, position) => ({ wanted: each, found: found[position]! }));
  const listedCount = wanted.length - (sentImages ?? []).length;

  if (sent.spec.import) {
    const imports = results.flatMap((result, position) => tagImports(result, position >= listedCount));
    await storeImports(options, call, { sent, repository, imports, write });
  }
  const after = sent.spec.import ? await store.readStream(repository, options.maxItems) : undefined;
  const sight = sightOf(call, options);
  const show = ({ wanted: each, found: image }: ImageResult) =>
    imageStatusOf(image, each, {
      find: (digest) => options.images.find(digest),
      now: call.now,
      ownPullSpec: (digest, own) => `${sight.host}/${own}@${digest}`,
    });
  const ofRepository = await Promise.all(results.slice(0, listedCount).map(show));
  const ofImages = await Promise.all(results.slice(listedCount).map(show));
  return {
    metadata: { name, namespace: call.namespace, uid: '', creationTimestamp: timestamp(call.now) },
    spec: sent.spec,
    status: {
      ...(after !== undefined && {
        import: { kind: 'ImageStream', apiVersion: `${imageGroup}/v1`, ...toImageStream(after, sight) },
      }),
      ...(listed !== undefined && {
        repository: {
          status: listed.kind === 'failed' ? statusOf(listed.failure) : repositoryStatusOf(found.slice(0, listedCount)),
          ...(ofRepository.length > 0 && { images: ofRepository }),
          ...(listed.kind === 'found' && listed.further.length > 0 && { additionalTags: listed.further }),
        },
      }),
      ...(ofImages.length > 0 && { images: ofImages }),
    },
  };
}

/** @throws {StatusError} NotFound when the request is about another stream; Conflict when it is another one by now */
function checkPreconditions({ metadata }: SentImport, stream: StreamShell | undefined): void {
  const { name, resourceVersion: version = '' } = metadata;
  // Of an object that is created, the kernel knows no uid; what a client sends is a wish.
  const sent: { readonly uid?: string } = metadata;
  const uid = sent.uid ?? '';
  const wantsUid = uid !== '';
  if (version === '' && !wantsUid) return;
  if (stream === undefined || (wantsUid && uid !== stream.uid)) throw notFound(streams, name);
  if (version !== '' && version !== String(stream.version)) {
    const why = `the image stream was updated from "${version}" to "${stream.version}"`;
    throw conflict(streams, name, why);
  }
}

/** @throws {StatusError} Invalid, with a cause for each source that images may not be imported from */
async function checkRegistries(
  { allowedRegistries }: ImportOptions,
  call: Call,
  { metadata: { name }, spec: { repository, images } }: SentImport,
  known: StreamState | undefined,
): Promise<void> {
  const sources = [
    ...(repository ? [{ image: repository, path: 'spec.repository' }] : []),
    ...(images ?? []).map((image, position) => ({ image, path: `spec.images[${position}]` })),
  ];
  // Who may say of any image what it is needs no leave to import it.
  const mayDoMore = await Promise.all(
    ['images', 'imagestreammappings'].map((resource) =>
      call.may({ verb: 'create', group: imageGroup, resource, namespace: '' }),
    ),
  );
  if (mayDoMore.includes(true)) return;
  const before = (known?.tags ?? []).flatMap((tag) => {
    const from = tagReferenceOf(tag)?.from;
    const spec = from?.kind === 'DockerImage' ? pullSpecOrError(from.name) : undefined;
    return spec === undefined || spec instanceof PullSpecError ? [] : [spec];
  });
  const allowed = withRepositories(allowedRegistries, before);
  const isInsecureStream = known?.stream.metadata.annotations?.[insecureAnnotation] === 'true';
  const causes: StatusCause[] = sources.flatMap(({ image, path }) => {
    const { from, importPolicy, referencePolicy } = wantedImage(image);
    const tag: TagReference = {
      name: 'latest',
      from: { kind: 'DockerImage', name: from },
      importPolicy,
      referencePolicy,
    };
    return registryCauses(tag, path, { allowed, isInsecureStream });
  });
  if (causes.length > 0) throw invalid(names, name, causes);
}

function readerOf({ publicUrl }: ImportOptions, call: Call, repository: RepositoryName): Reader {
  const hosts = [call.origin, ...(publicUrl === undefined ? [] : [publicUrl])].map((url) => new URL(url).host);
  return {
    project: projectOf(repository),
    ownHosts: [...new Set(hosts)],
    mayPull: (own) =>
      call.may({
        verb: 'get',
        group: imageGroup,
        resource: 'imagestreams/layers',
        namespace: projectOf(own),
        name: streamNameOf(own),
      }),
  };
}

/** How an image is looked for; which one of several platforms, a tag that is there already may say. */
function wishes(known: StreamState | undefined): (wanted: WantedImage) => ImageWish {
  const isInsecureStream = known?.stream.metadata.annotations?.[insecureAnnotation] === 'true';
  const tags = new Map((known?.tags ?? []).map((tag) => [tag.name, tagReferenceOf(tag)]));
  return ({ from, tag, importPolicy }) => ({
    from,
    isInsecure: importPolicy.insecure === true || isInsecureStream,
    importMode: importPolicy.importMode ?? 'Legacy',
    ...preferredPlatform(tag === undefined ? undefined : tags.get(tag)),
  });
}

/** The platform that a tag wants of an index. */
export function preferredPlatform(tag: TagReference | undefined): Pick<ImageWish, 'os' | 'architecture'> {
  return {
    os: tag?.annotations?.['importer.image.openshift.io/prefer-os'],
    architecture: tag?.annotations?.['importer.image.openshift.io/prefer-arch'],
  };
}

/** The images of a repository, each with the tag that it has there. */
function imagesOf(listing: WantedImage | undefined, listed: FoundRepository | undefined): readonly WantedImage[] {
  if (listing === undefined || listed?.kind !== 'found') return [];
  const place = asRepository(parsePullSpec(listing.from));
  return listed.tags.map((tag) => ({ ...listing, from: formatPullSpec({ ...place, tag }), tag }));
}

/** @param isNamed whether the request names the image; else it is one of a repository */
function tagImports({ wanted, found }: ImageResult, isNamed: boolean): readonly TagImport[] {
  if (wanted.tag === undefined) return [];
  const { tag, from, importPolicy, referencePolicy } = wanted;
  return [{ tag, from, found, importPolicy, referencePolicy, isNamed }];
}

async function storeImports(
  { service, schedule }: ImportOptions,
  call: Call,
  {
    sent,
    repository,
    imports,
    write,
  }: {
    readonly sent: SentImport;
    readonly repository: RepositoryName;
    readonly imports: readonly TagImport[];
    readonly write: WriteOptions;
  },
): Promise<void> {
  const nextCheck = await schedule.of(projectOf(repository));
  const request = { call, repository, resource: names, dryRun: write.dryRun };
  const reason = reasonOf(call, sent.metadata.annotations);
  const apply = (applied: readonly TagImport[]) =>
    service.edit(request, reason, async (running) => {
      checkPreconditions(sent, await running.edit.findStream(repository));
      await applyImports(running, repository, applied, { nextCheck, isAutomatic: false });
    });
  try {
    await apply(imports);
  } catch (error) {
    if (!isLimit(error)) throw error;
    // The stream stays as it is, and says why.
    const failure = { reason: 'Forbidden', message: error.message } as const;
    const failed = imports.filter(({ found }) => found.kind !== 'failed');
    await apply(failed.map((each) => ({ ...each, found: { kind: 'failed', failure }, isNamed: false })));
    throw error;
  }
}

/** Whether a limit of the project stands against what the stream was to become. */
function isLimit(error: unknown): error is StatusError {
  return (
    error instanceof StatusError &&
    error.reason === 'Invalid' &&
    (error.details?.causes ?? []).some(({ field }) => field === 'imageStream')
  );
}
