import { digestAlgorithm, digestOf, isDigest, type Digest } from '../oci/digest.js';
import { maxManifestSize } from '../oci/manifest.js';
import { isDockerSchema1, isManifestMediaType, manifestMediaTypes, mediaTypes } from '../oci/media-types.js';
import type { Reference } from '../oci/reference.js';
import { headerOf, mediaTypeOf, readBody, type HttpAnswer } from './http-answer.js';
import type { RegistryExchange } from './registry-exchange.js';
import type { UpstreamManifest, UpstreamManifestHead } from './upstream.js';

/** Schema 1 is asked for too, so that it can be refused by its name. */
const accept = [
  ...manifestMediaTypes,
  'application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1',
  'application/vnd.docker.distribution.manifest.v1+json;q=0.1',
].join(', ');

/** OCI Distribution Spec, end-3, by HEAD. */
export async function headManifest(
  exchange: RegistryExchange,
  path: string,
  reference: Reference,
): Promise<UpstreamManifestHead> {
  const head = await exchange.send(
    { method: 'HEAD', path: pathOf(path, reference), headers: { Accept: accept }, accepts: [200, 404, 405] },
    (answer) => Promise.resolve(headOf(exchange, answer, reference)),
  );
  if (head !== undefined) return head;
  // Some registries answer no HEAD, or answer it without the digest.
  const { digest, mediaType } = await readManifest(exchange, path, reference);
  return { digest, mediaType };
}

function headOf(
  exchange: RegistryExchange,
  answer: HttpAnswer,
  reference: Reference,
): UpstreamManifestHead | undefined {
  answer.body.resume();
  const digest = headerOf(answer, 'docker-content-digest') ?? '';
  const mediaType = mediaTypeOf(answer);
  if (answer.status !== 200) return undefined;
  if (isDockerSchema1(mediaType)) throw schema1(exchange);
  if (!isDigest(digest) || !isManifestMediaType(mediaType)) return undefined;
  if (reference.kind === 'digest' && isOther(digest, reference.digest)) throw otherDigest(exchange, digest);
  return { digest: reference.kind === 'digest' ? reference.digest : digest, mediaType };
}

/** OCI Distribution Spec, end-3. */
export function readManifest(
  exchange: RegistryExchange,
  path: string,
  reference: Reference,
): Promise<UpstreamManifest> {
  return exchange.send(
    { method: 'GET', path: pathOf(path, reference), headers: { Accept: accept }, accepts: [200] },
    async (answer) => checkManifest(exchange, answer, await readBody(answer, maxManifestSize), reference),
  );
}

function pathOf(path: string, reference: Reference): string {
  return `${path}/manifests/${reference.kind === 'tag' ? reference.tag : reference.digest}`;
}

function checkManifest(
  exchange: RegistryExchange,
  answer: HttpAnswer,
  bytes: Buffer,
  reference: Reference,
): UpstreamManifest {
  const mediaType = manifestTypeOf(exchange, answer, bytes);
  const told = headerOf(answer, 'docker-content-digest') ?? '';
  const claims = [reference.kind === 'digest' ? reference.digest : undefined, isDigest(told) ? told : undefined].filter(
    (claim) => claim !== undefined,
  );
  for (const claim of claims) {
    const actual = digestOf(bytes, digestAlgorithm(claim));
    if (actual !== claim) {
      throw exchange.error('integrity', `content integrity error: ${exchange.registry} sends ${actual} for ${claim}`);
    }
  }
  return { digest: claims[0] ?? digestOf(bytes), mediaType, bytes };
}

/** By the header, when it says something, else by what the manifest says of itself. */
function manifestTypeOf(exchange: RegistryExchange, answer: HttpAnswer, bytes: Buffer): string {
  const header = mediaTypeOf(answer);
  if (isDockerSchema1(header)) throw schema1(exchange);
  const json = parseObject(bytes);
  if (json === undefined) {
    const encoding = headerOf(answer, 'content-encoding');
    const how = encoding === undefined ? '' : ', or one that is encoded though that was not asked for';
    throw exchange.error('invalid-answer', `${exchange.registry} sends a manifest that is no JSON object${how}`);
  }
  if (json['schemaVersion'] === 1) throw schema1(exchange);
  if (isManifestMediaType(header)) return header;
  const { mediaType } = json;
  if (typeof mediaType === 'string' && isManifestMediaType(mediaType)) return mediaType;
  if (json['schemaVersion'] === 2 && mediaType === undefined) {
    return 'manifests' in json ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  }
  throw exchange.error('invalid-answer', `${exchange.registry} sends a manifest of an unknown type`);
}

function parseObject(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const json: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof json === 'object' && json !== null && !Array.isArray(json)
      ? (json as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function schema1(exchange: RegistryExchange): Error {
  return exchange.error(
    'invalid-answer',
    `${exchange.registry} has only a Docker image manifest of schema 1, which is not taken: it has to be pushed again by a newer client`,
  );
}

/** Two of different algorithms may be of the same content. */
function isOther(told: Digest, wanted: Digest): boolean {
  return digestAlgorithm(told) === digestAlgorithm(wanted) && told !== wanted;
}

function otherDigest(exchange: RegistryExchange, digest: Digest): Error {
  return exchange.error('integrity', `content integrity error: ${exchange.registry} answers with ${digest}`);
}
