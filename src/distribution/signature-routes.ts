import { randomUUID } from 'node:crypto';
import type Router from '@koa/router';
import type { Context } from 'koa';
import { z } from 'zod';
import { signRequest } from '../auth/authorize.js';
import { readBody, sendEmpty } from '../http.js';
import {
  signatureFaults,
  signatureLimits,
  splitSignatureName,
  type StoredSignature,
} from '../metadata/image-signatures.js';
import { parseDigest, type Digest } from '../oci/digest.js';
import { OciError } from '../oci/errors.js';
import type { RegistryEntrance } from './registry-entrance.js';
import type { SignatureService } from './signatures.js';

/** By this header of `/v2/` clients know that they can ask for signatures here (containers/image). */
export const signaturesHeader = { 'X-Registry-Supports-Signatures': '1' } as const;

/** Base64 makes four of three, and a little goes around it. */
const maxBodyBytes = Math.ceil((signatureLimits.contentBytes * 4) / 3) + 16 * 1024;
/** Of signatures that say no type. */
const defaultType = 'AtomicImageV1';

const signatureSchema = z.strictObject({
  schemaVersion: z.literal(2),
  name: z.string(),
  type: z.string().default(''),
  content: z.string(),
});

/** Codes that OpenShift's extension adds to those of the OCI Distribution Spec, which are a closed list. */
type SignatureErrorCode = 'SIGNATURE_INVALID' | 'SIGNATURE_EXISTS';

/** A signature cannot be taken. */
class SignatureError extends Error {
  override readonly name = 'SignatureError';
  readonly code: SignatureErrorCode;
  readonly detail: unknown;
  constructor(code: SignatureErrorCode, detail: unknown, cause?: unknown) {
    super(code === 'SIGNATURE_EXISTS' ? 'signature already exists' : 'signature invalid', { cause });
    this.code = code;
    this.detail = detail;
  }
}

/**
 * Signatures of images, as containers/image reads and writes them (OpenShift, registry signatures extension). Reading takes
 * the right to pull; adding one, that to create image signatures in the project, and a token to push.
 */
export function signatureRoutes(
  router: Router,
  { access, parseName }: RegistryEntrance,
  signatures: SignatureService,
): void {
  router.get('/extensions/v2/*name/signatures/:digest', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const digest = parseDigest(ctx.params['digest']!);
    await access.requireRepository(ctx, repository, 'pull');
    const found = await signatures.list(repository, digest);
    if (found === undefined) sendEmpty(ctx, 404);
    else ctx.body = { signatures: found.map(toWire) };
  });

  router.put('/extensions/v2/*name/signatures/:digest', async (ctx) => {
    const repository = parseName(ctx.params['name']!);
    const digest = parseDigest(ctx.params['digest']!);
    await access.requireRole(ctx, signRequest(repository), repository);
    try {
      const signature = parseSignature(await readBody(ctx.req, maxBodyBytes), digest);
      switch (await signatures.add(repository, digest, signature)) {
        case 'added':
          sendEmpty(ctx, 201);
          return;
        case 'absent':
          sendEmpty(ctx, 404);
          return;
        case 'exists':
          throw new SignatureError('SIGNATURE_EXISTS', {
            name: signature.metadata.name,
            expected: 'a name and a content that no signature of the image has',
          });
        case 'full':
          throw new OciError('DENIED', {
            digest,
            reason: `an image has at most ${signatureLimits.perImage} signatures, of together ${signatureLimits.totalBytes} bytes`,
          });
      }
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
      refuse(ctx, error);
    }
  });
}

function refuse(ctx: Context, { code, message, detail }: SignatureError): void {
  ctx.status = code === 'SIGNATURE_EXISTS' ? 409 : 400;
  ctx.body = { errors: [{ code, message, detail }] };
}

/** @throws {SignatureError} SIGNATURE_INVALID */
function parseSignature(body: Buffer, digest: Digest): StoredSignature {
  const parsed = signatureSchema.safeParse(parseJson(body));
  if (!parsed.success) {
    const causes = parsed.error.issues.map((issue) => ({ field: issue.path.join('.'), reason: issue.message }));
    throw new SignatureError('SIGNATURE_INVALID', { causes: causes.slice(0, 20) });
  }
  const { name, type: sentType, content } = parsed.data;
  const type = sentType === '' ? defaultType : sentType;
  const causes = signatureFaults({ name, type, content }).map(({ field, rule }) => ({
    field: field === 'metadata.name' ? 'name' : field,
    reason: rule,
  }));
  if (causes.length === 0 && splitSignatureName(name)?.image !== digest) {
    causes.push({ field: 'name', reason: `must begin with ${digest}@, the digest in the path` });
  }
  if (causes.length > 0) throw new SignatureError('SIGNATURE_INVALID', { causes });
  const creationTimestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return { metadata: { name, uid: randomUUID(), creationTimestamp }, type, content };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new SignatureError('SIGNATURE_INVALID', 'the body is not JSON', error);
  }
}

function toWire({ metadata: { name }, type, content }: StoredSignature): object {
  return { schemaVersion: 2, name, type, content };
}
