import type { Login } from '../api-token.js';
import { mediaTypes, parseManifest, type Descriptor, type Image } from '../image.js';
import { RegistrySession, type RegistryAddress } from './registry-session.js';
import { sampleImage, sampleReferrer, type SampleOptions } from './sample-image.js';

/** What is pushed, and as whom. */
export interface PushOptions extends SampleOptions {
  /** Undefined for a registry that asks nobody. */
  readonly as?: Login;
}

/** What was pushed, byte for byte. */
export interface Pushed {
  readonly repository: string;
  /** Of the manifest at the top: an image or an index. */
  readonly digest: string;
  /** Of the image for each platform, by its architecture; of one alone, too. */
  readonly platforms: Readonly<Record<string, string>>;
  readonly image: Image;
}

/** Pushes a small image whose bytes follow from the names and the options, with nothing but the API. */
export async function pushImage(
  registry: RegistryAddress,
  repository: string,
  tag: string,
  { as, ...options }: PushOptions = {},
): Promise<Pushed> {
  const image = sampleImage(`${repository}:${tag}`, options);
  await withSession(registry, as, (session) => push(session, repository, tag, image));
  const { digest, platform } = image.descriptor;
  const listed = parseManifest(image.manifests.get(digest)!).manifests ?? [image.descriptor];
  const platforms = Object.fromEntries(listed.map((each) => [(each.platform ?? platform)!.architecture, each.digest]));
  return { repository, digest, platforms, image };
}

/**
 * Pushes an artifact that refers to a manifest. Where the registry has no referrers API, it is entered in the tag for it, as
 * the OCI Distribution Spec asks of a client ("Pushing Manifests with Subject").
 */
export async function pushReferrer(
  registry: RegistryAddress,
  subject: Pushed,
  { as, ...artifact }: { readonly artifactType: string; readonly content: string; readonly as?: Login },
): Promise<Pushed> {
  const image = sampleReferrer(subject.image.descriptor, artifact);
  const { repository } = subject;
  const { digest } = image.descriptor;
  await withSession(registry, as, async (session) => {
    const answer = await push(session, repository, digest, image);
    if (answer['oci-subject'] === undefined) await enterInTag(session, repository, subject.digest, image.descriptor);
  });
  return { repository, digest, platforms: {}, image };
}

/** Deletes a manifest, and with it all tags it has. */
export async function deleteManifest(
  registry: RegistryAddress,
  repository: string,
  digest: string,
  as?: Login,
): Promise<void> {
  const scope = `repository:${repository}:pull,push,delete`;
  await withSession(registry, as, (session) =>
    session.call(`/v2/${repository}/manifests/${digest}`, scope, { method: 'DELETE', expected: [202] }),
  );
}

async function withSession<T>(
  registry: RegistryAddress,
  as: Login | undefined,
  work: (session: RegistrySession) => Promise<T>,
): Promise<T> {
  const session = new RegistrySession(registry, as);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** @returns headers of the answer to the manifest at the top */
async function push(session: RegistrySession, repository: string, reference: string, image: Image): Promise<Headers> {
  await Promise.all([...image.blobs].map(([digest, body]) => pushBlob(session, repository, digest, body)));
  const { digest, mediaType } = image.descriptor;
  // A registry may refuse an index before what it lists.
  for (const [listed, body] of image.manifests) {
    if (listed !== digest) await putManifest(session, repository, listed, parseManifest(body).mediaType!, body);
  }
  return putManifest(session, repository, reference, mediaType, image.manifests.get(digest)!);
}

async function pushBlob(session: RegistrySession, repository: string, digest: string, body: Buffer): Promise<void> {
  const scope = `repository:${repository}:pull,push`;
  const uploads = `/v2/${repository}/blobs/uploads/`;
  const { headers } = await session.call(uploads, scope, { method: 'POST', expected: [202] });
  const upload = new URL(String(headers['location']), 'http://location.invalid');
  upload.searchParams.set('digest', digest);
  await session.call(upload.pathname + upload.search, scope, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body,
    expected: [201],
  });
}

async function putManifest(
  session: RegistrySession,
  repository: string,
  reference: string,
  mediaType: string,
  body: Buffer,
): Promise<Headers> {
  const { headers } = await session.call(
    `/v2/${repository}/manifests/${reference}`,
    `repository:${repository}:pull,push`,
    {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body,
      expected: [201],
    },
  );
  return headers;
}

/** OCI Distribution Spec, "Referrers Tag Schema". */
async function enterInTag(
  session: RegistrySession,
  repository: string,
  subject: string,
  referrer: Descriptor,
): Promise<void> {
  const tag = subject.replace(':', '-');
  const { status, body } = await session.call(
    `/v2/${repository}/manifests/${tag}`,
    `repository:${repository}:pull,push`,
    {
      headers: { accept: mediaTypes.index },
      expected: [200, 404],
    },
  );
  const others = status === 200 ? (parseManifest(body).manifests ?? []) : [];
  const manifests = [...others.filter(({ digest }) => digest !== referrer.digest), referrer];
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }));
  await putManifest(session, repository, tag, mediaTypes.index, index);
}
