import type { Descriptor } from '../oci/descriptor.js';
import type { Digest } from '../oci/digest.js';
import type { Reference } from '../oci/reference.js';

/** A repository in another registry. */
export interface UpstreamRepository {
  /** Host and perhaps port, as people write it: `docker.io` for Docker Hub. */
  readonly registry: string;
  /** Below the registry, as in `library/alpine`. */
  readonly path: string;
}

/** What a registry is shown. */
export interface Credential {
  readonly username: string;
  readonly password: string;
  /** Where it comes from, for people who look for a mistake: `secret shop/pull`. Never the credential itself. */
  readonly origin: string;
  /** What `docker login` got in place of a password, for the token endpoint; user name and password are not shown then. */
  readonly identityToken?: string | undefined;
  /** Whether it is the administrator's, which everyone's requests are sent with. */
  readonly isConfigured?: boolean | undefined;
}

/** Chooses what a registry is shown; undefined when there is nothing for it. */
export type CredentialChooser = (repository: UpstreamRepository) => Credential | undefined;

/** In whose name another registry is spoken to. */
export interface UpstreamAccess {
  readonly credentials: CredentialChooser;
  /** Whether certificates need not be valid, and plain HTTP may be spoken. */
  readonly isInsecure: boolean;
  /** Ends what is under way. */
  readonly signal?: AbortSignal;
}

/** What a registry says of a manifest without sending it. */
export interface UpstreamManifestHead {
  /** Undefined when the registry does not say. */
  readonly digest: Digest | undefined;
  readonly mediaType: string;
}

/** A manifest whose bytes have the digest. */
export interface UpstreamManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** A blob as it arrives. Its end is only reached when all its bytes came and have the digest; else it throws. */
export interface UpstreamBlob {
  /** Bytes. */
  readonly size: number;
  readonly body: AsyncIterable<Buffer>;
  /** Lets go of what has not been read. */
  readonly cancel: () => void;
}

/** Other registries, read only. All methods throw `UpstreamError`. */
export interface Upstream {
  /** The manifest's digest and type, by HEAD: it costs little, and Docker Hub does not count it as a pull. */
  headManifest(
    repository: UpstreamRepository,
    reference: Reference,
    access: UpstreamAccess,
  ): Promise<UpstreamManifestHead>;

  /** @param reference by tag, or by digest, which the bytes then have */
  readManifest(repository: UpstreamRepository, reference: Reference, access: UpstreamAccess): Promise<UpstreamManifest>;

  /** @returns size in bytes */
  headBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<number>;

  /** The bytes are checked as they come. */
  openBlob(repository: UpstreamRepository, digest: Digest, access: UpstreamAccess): Promise<UpstreamBlob>;

  /** All of them, page by page, in the order of the registry. */
  listTags(repository: UpstreamRepository, access: UpstreamAccess): AsyncIterable<string>;

  /** All of a registry that it tells of, page by page. */
  listRepositories(registry: string, access: UpstreamAccess): AsyncIterable<string>;

  /** By the referrers API or, where there is none, the tag schema; of a subject without referrers none. */
  listReferrers(
    repository: UpstreamRepository,
    subject: Digest,
    access: UpstreamAccess,
  ): Promise<readonly Descriptor[]>;
}

/** What went wrong with another registry. */
export type UpstreamProblem =
  /** The registry does not know the repository, the manifest or the blob. */
  | 'not-found'
  /** It wants a credential and none was there, or it does not take the one that was shown. */
  | 'unauthorized'
  /** It knows who asks and refuses. */
  | 'denied'
  /** 429, also after waiting. */
  | 'rate-limited'
  /** Our own budget for it is used up. */
  | 'budget'
  /** No connection, a time-out, 5xx: also after trying again. */
  | 'unavailable'
  /** Its certificate is not valid for us. */
  | 'certificate'
  /** It speaks plain HTTP only, and this was not allowed. */
  | 'http-only'
  /** It is no registry, or speaks only the first version of the protocol. */
  | 'not-v2'
  /** Digest or size are not what they should be. */
  | 'integrity'
  /** It answers what no registry may answer: too much, no JSON, an unknown type. */
  | 'invalid-answer'
  /** The address is not one that may be spoken to. */
  | 'forbidden-address'
  /** The administrator wants nothing to come from there. */
  | 'blocked';

/** Another registry did not give what was wanted. The message is for people and holds no secret. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly problem: UpstreamProblem;
  /** As in `quay.io/team/app:v1`. */
  readonly reference: string;
  /** Status of the answer; undefined when there was none. */
  readonly status: number | undefined;
  /** What the registry said, shortened; undefined when it said nothing. */
  readonly answer: string | undefined;
  /** Which credential was shown: its origin, or `none`. */
  readonly credential: string;
  /** When it makes sense to ask again; undefined when nobody said. */
  readonly retryAfterMs: number | undefined;

  constructor(
    problem: UpstreamProblem,
    message: string,
    of: {
      readonly reference: string;
      readonly status?: number | undefined;
      readonly answer?: string | undefined;
      readonly credential?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, { cause: of.cause });
    this.problem = problem;
    this.reference = of.reference;
    this.status = of.status;
    this.answer = of.answer;
    this.credential = of.credential ?? 'none';
    this.retryAfterMs = of.retryAfterMs;
  }
}
