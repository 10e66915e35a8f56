/** image.openshift.io/v1 ImageSignature, as it is kept with its image. */
export interface StoredSignature {
  readonly metadata: { readonly name: string; readonly uid: string; readonly creationTimestamp: string };
  readonly type: string;
  /** Base64. */
  readonly content: string;
  /** What a verifier found out, in the fields of the kind. */
  readonly [field: string]: unknown;
}

/** Signatures go wherever their image does, so there is an end to them. */
export const signatureLimits = {
  perImage: 100,
  /** Bytes, before they are written in base64. */
  contentBytes: 1024 * 1024,
  /** Bytes of all signatures of an image as JSON: containers/image reads no more than 4 MiB of them. */
  totalBytes: 3 * 1024 * 1024,
} as const;

const maxNameLength = 253;
const maxTypeLength = 253;

/** Something that is wrong with a signature. */
export interface SignatureFault {
  readonly kind: 'required' | 'invalid' | 'too-long';
  readonly field: 'metadata.name' | 'type' | 'content';
  readonly rule: string;
}

/**
 * The image of a signature and its own name there, of `<imageName>@<signatureName>` (openshift-apiserver,
 * imageutil.SplitImageSignatureName).
 *
 * @returns undefined when the name is not of that form
 */
export function splitSignatureName(name: string): { readonly image: string; readonly own: string } | undefined {
  const [image = '', own = '', ...rest] = name.split('@');
  return isSegment(image) && isSegment(own) && rest.length === 0 ? { image, own } : undefined;
}

function isSegment(text: string): boolean {
  return /^[^/%\p{Cc}]+$/u.test(text) && text !== '.' && text !== '..';
}

/** What is wrong with a signature that somebody sends (openshift-apiserver, ValidateImageSignature). */
export function signatureFaults({
  name,
  type,
  content,
}: {
  readonly name: string;
  readonly type: string;
  readonly content: string;
}): readonly SignatureFault[] {
  const faults: SignatureFault[] = [];
  if (name.length > maxNameLength || splitSignatureName(name) === undefined) {
    const rule = `name must be of format <imageName>@<signatureName>, of at most ${maxNameLength} characters`;
    faults.push({ kind: 'invalid', field: 'metadata.name', rule });
  }
  if (type === '') faults.push({ kind: 'required', field: 'type', rule: 'such as AtomicImageV1' });
  else if (type.length > maxTypeLength) {
    faults.push({ kind: 'too-long', field: 'type', rule: `may not be more than ${maxTypeLength} characters` });
  }
  if (content === '') faults.push({ kind: 'required', field: 'content', rule: 'the signature in base64' });
  else if (!isBase64(content)) {
    faults.push({ kind: 'invalid', field: 'content', rule: 'must be base64 with padding (RFC 4648, section 4)' });
  } else if (Buffer.byteLength(content, 'base64') > signatureLimits.contentBytes) {
    faults.push({
      kind: 'too-long',
      field: 'content',
      rule: `may not be more than ${signatureLimits.contentBytes} bytes`,
    });
  }
  return faults;
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

/** Whether an image has a signature of that name, or another of the same type and content. */
export function hasSignature(
  signatures: readonly StoredSignature[],
  { metadata, type, content }: StoredSignature,
): boolean {
  return signatures.some(
    (each) => each.metadata.name === metadata.name || (each.type === type && each.content === content),
  );
}

/** Whether an image can have these signatures. */
export function areWithinLimits(signatures: readonly StoredSignature[]): boolean {
  if (signatures.length > signatureLimits.perImage) return false;
  const bytes = signatures.reduce((sum, signature) => sum + Buffer.byteLength(JSON.stringify(signature)), 0);
  return bytes <= signatureLimits.totalBytes;
}
