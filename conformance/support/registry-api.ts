import { request } from 'node:https';
import { mediaTypes, parseManifest, readImage, describeBytes, type Image, type Manifest } from './image.js';
import type { Weir } from './weir.js';

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly location: string | undefined;
  readonly body: Buffer;
}

interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** The bytes of a manifest and their media type, as any client would be given them. */
export async function fetchManifest(
  weir: Weir,
  repository: string,
  reference: string,
): Promise<{ mediaType: string; digest: string; bytes: Buffer; manifest: Manifest }> {
  const headers = { accept: Object.values(mediaTypes).join(', ') };
  const answer = await call(weir, `/v2/${repository}/manifests/${reference}`, [200], { headers });
  const { digest } = describeBytes(answer.body, answer.contentType);
  return { mediaType: answer.contentType, digest, bytes: answer.body, manifest: parseManifest(answer.body) };
}

/** A whole image as the registry has it, every piece checked against its digest. */
export async function fetchImage(weir: Weir, repository: string, reference: string): Promise<Image> {
  const top = await fetchManifest(weir, repository, reference);
  return readImage(
    describeBytes(top.bytes, top.mediaType),
    async ({ digest }) => (await fetchManifest(weir, repository, digest)).bytes,
    async ({ digest }) => (await call(weir, `/v2/${repository}/blobs/${digest}`, [200])).body,
  );
}

/** Pushes an image with nothing but the API itself: blobs first, then the manifests, the one at the top under the tag. */
export async function pushImage(weir: Weir, repository: string, tag: string, image: Image): Promise<void> {
  for (const [digest, body] of image.blobs) {
    const { location } = await call(weir, `/v2/${repository}/blobs/uploads/`, [202], { method: 'POST' });
    const session = new URL(location ?? '', weir.url);
    session.searchParams.set('digest', digest);
    await call(weir, session.pathname + session.search, [201], { method: 'PUT', body });
  }
  // An index is refused before what it lists, and is the first of its image's manifests.
  for (const [digest, body] of [...image.manifests].reverse()) {
    const reference = digest === image.descriptor.digest ? tag : digest;
    const headers = { 'content-type': parseManifest(body).mediaType ?? mediaTypes.manifest };
    await call(weir, `/v2/${repository}/manifests/${reference}`, [201], { method: 'PUT', headers, body });
  }
}

/** The descriptors that refer to a manifest (OCI Distribution Spec, end-12a). */
export async function fetchReferrers(weir: Weir, repository: string, digest: string): Promise<Manifest['manifests']> {
  const answer = await call(weir, `/v2/${repository}/referrers/${digest}`, [200]);
  return parseManifest(answer.body).manifests;
}

/** The tags of a repository (OCI Distribution Spec, end-8a). */
export async function fetchTags(weir: Weir, repository: string): Promise<string[]> {
  const answer = await call(weir, `/v2/${repository}/tags/list`, [200]);
  return (JSON.parse(answer.body.toString('utf8')) as { tags: string[] }).tags;
}

async function call(weir: Weir, target: string, expected: readonly number[], options: Call = {}): Promise<Answer> {
  const answer = await send(weir, target, options);
  if (expected.includes(answer.status)) return answer;
  const method = options.method ?? 'GET';
  throw new Error(
    `${method} ${target}: ${answer.status}, not ${expected.join(' or ')}\n${answer.body.toString('utf8')}`,
  );
}

/** With node:https and not `fetch`, which cannot be told which certificate authority to trust. */
function send(weir: Weir, target: string, { method = 'GET', headers = {}, body }: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(weir.url + target, {
      method,
      ca: weir.caCertificate,
      auth: `${weir.username}:${weir.password}`,
      headers: { ...headers, 'content-length': String(body?.length ?? 0) },
    });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          location: response.headers.location,
          body: Buffer.concat(chunks),
        });
      });
    });
    outgoing.end(body);
  });
}
