import { z } from 'zod';
import { imageGroup } from '../auth/authorize.js';
import { invalid, notFound, success, type Status, type StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue } from '../kube/object-meta.js';
import type { Call, Resource, WriteOptions } from '../kube/resource.js';
import type { ApiObject } from '../metadata/object-store.js';
import { digestAlgorithm, digestOf, isDigest, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import { maxConfigSize, summarizeImage } from '../oci/image-config.js';
import { parseManifest, type ParsedManifest } from '../oci/manifest.js';
import { projectOf, streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import type { TagOptions } from './image-stream-tags.js';
import { parsePullSpec, PullSpecError } from '../oci/pull-spec.js';
import { parseStreamName, requireRepository } from './stream-names.js';
import { embeddedImageSchema } from './stream-schema.js';
import { reasonOf, requireReason } from './stream-service.js';
import { sightOf } from './stream-view.js';
import { ownRepository } from './tag-targets.js';
import { tagCauses } from './tag-validation.js';
import type { Image } from './types.js';

const names = {
  group: imageGroup,
  plural: 'imagestreammappings',
  kind: 'ImageStreamMapping',
  isNamespaced: true,
} as const;

/** As the schema lets it through. */
interface ImageStreamMapping extends ApiObject {
  readonly dockerImageRepository?: string;
  readonly image?: Partial<Image>;
  readonly tag?: string;
}

/** image.openshift.io/v1 ImageStreamMapping: what a registry tells of a push. Weir's own pushes need none. */
export function imageStreamMappingResource(options: TagOptions): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagestreammapping',
    verbs: ['create'],
    description: 'ImageStreamMapping makes a tag of an image stream point at an image.',
    schema: z.object({
      dockerImageRepository: z.string().optional().describe('The stream by its spec.dockerImageRepository.'),
      image: embeddedImageSchema.optional().describe('The image, which is here or comes with its manifest.'),
      tag: z.string().optional().describe('The tag to point at it.'),
    }),
    storage: { create: (call, object, write) => map(options, call, object, write) },
  };
}

async function map(
  options: TagOptions,
  call: Call,
  sent: ImageStreamMapping,
  { dryRun }: WriteOptions,
): Promise<Status> {
  const { name = '' } = sent.metadata as { name?: string };
  const { image = {}, tag = '', dockerImageRepository = '' } = sent;
  const causes = mappingCauses(name, sent);
  if (causes.length > 0) throw invalid(names, name, causes);
  if (name === '') {
    throw invalid(names, name, [
      {
        reason: 'FieldValueNotFound',
        field: 'dockerImageStream',
        message: `Not found: ${JSON.stringify(dockerImageRepository)}`,
      },
    ]);
  }
  const repository = requireRepository(parseStreamName(call.namespace, name), names, name);
  const digest = image.metadata!.name as Digest;
  const reference = image.dockerImageReference ?? '';
  const source = reference === '' ? repository : ownRepository(reference, sightOf(call, options));
  const mayPull = source === undefined || source === repository || (await mayPullFrom(call, source));
  const parsed = parseGiven(name, digest, image);
  await options.service.edit(
    { call, repository, resource: names, dryRun },
    reasonOf(call, sent.metadata.annotations),
    async ({ edit, editor, rules }) => {
      const stream = await edit.findStream(repository);
      if (stream === undefined) throw notFound(names, name);
      const isHere = await edit.isLinked(repository, digest);
      const from = source !== undefined && mayPull && (await edit.isLinked(source, digest)) ? source : undefined;
      if (!isHere && from === undefined) {
        if (parsed === undefined || source !== undefined) {
          throw invalid(names, name, [
            invalidValue(
              'image.metadata.name',
              digest,
              'no such image here: push it, or send image.dockerImageManifest with the image.dockerImageReference of another registry',
            ),
          ]);
        }
        await edit.addImage(repository, parsed);
      }
      const isAdded = await edit.addEvent(
        repository,
        tag,
        {
          image: digest,
          ...(source === undefined && { reference }),
          generation: stream.generation,
          cause: 'push',
          actor: editor.actor,
          ...(editor.reason !== undefined && { reason: editor.reason }),
        },
        isHere ? undefined : from,
      );
      if (isAdded) requireReason(rules, repository, 'push', editor);
    },
  );
  return success();
}

function mappingCauses(
  name: string,
  { image, tag = '', dockerImageRepository = '' }: ImageStreamMapping,
): StatusCause[] {
  const causes: StatusCause[] = [];
  if (name === '' && dockerImageRepository === '') {
    causes.push(requiredValue('name', 'name or dockerImageRepository is required'));
  }
  causes.push(...specCauses(dockerImageRepository, 'dockerImageRepository'));
  if (tag === '') causes.push(requiredValue('tag'));
  else causes.push(...tagCauses({ name: tag }, 'tag'));
  const digest = (image?.metadata as { name?: string } | undefined)?.name ?? '';
  if (digest === '') causes.push(requiredValue('image.metadata.name'));
  else if (!isDigest(digest)) {
    causes.push(invalidValue('image.metadata.name', digest.slice(0, 200), 'expected a digest, sha256:…'));
  }
  causes.push(...specCauses(image?.dockerImageReference ?? '', 'image.dockerImageReference'));
  return causes;
}

function specCauses(text: string, field: string): StatusCause[] {
  if (text === '') return [];
  try {
    parsePullSpec(text);
    return [];
  } catch (error) {
    if (!(error instanceof PullSpecError)) throw error;
    return [invalidValue(field, text.slice(0, 300), error.message)];
  }
}

/** Knowing a digest lets nobody read it: who maps an image of another repository must be allowed to pull it there. */
function mayPullFrom(call: Call, source: RepositoryName): Promise<boolean> {
  return call.may({
    verb: 'get',
    group: imageGroup,
    resource: 'imagestreams/layers',
    namespace: projectOf(source),
    name: streamNameOf(source),
  });
}

interface GivenImage {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: ParsedManifest;
  readonly summary: ReturnType<typeof summarizeImage>;
}

/** The image with the manifest that came along. @throws {StatusError} Invalid */
function parseGiven(name: string, digest: Digest, image: Partial<Image>): GivenImage | undefined {
  const { dockerImageManifest = '', dockerImageManifestMediaType, dockerImageConfig } = image;
  if (dockerImageManifest === '') return undefined;
  const bytes = Buffer.from(dockerImageManifest);
  if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
    throw invalid(names, name, [
      invalidValue('image.dockerImageManifest', digestOf(bytes), `has another digest than the image, ${digest}`),
    ]);
  }
  try {
    const manifest = parseManifest(bytes, dockerImageManifestMediaType);
    const sentConfig = Buffer.from(dockerImageConfig ?? '');
    const named = manifest.references.find(({ role }) => role === 'config')?.digest;
    // What is kept of an image is the same for all who have it, so it must be what the digest says.
    const isNamed = named !== undefined && digestOf(sentConfig, digestAlgorithm(named)) === named;
    const config = isNamed && sentConfig.length <= maxConfigSize ? sentConfig : undefined;
    return { digest, bytes, manifest, summary: summarizeImage(bytes, manifest, config) };
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw invalid(names, name, [
      invalidValue('image.dockerImageManifest', digest, `is no manifest: ${JSON.stringify(error.detail)}`),
    ]);
  }
}
