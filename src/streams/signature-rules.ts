import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue, timestamp } from '../kube/object-meta.js';
import {
  areWithinLimits,
  hasSignature,
  signatureFaults,
  signatureLimits,
  type SignatureFault,
  type StoredSignature,
} from '../metadata/image-signatures.js';

const text = z.string();

const conditionSchema = z.object({
  type: text,
  status: text,
  lastProbeTime: text.optional(),
  lastTransitionTime: text.optional(),
  reason: text.optional(),
  message: text.optional(),
});

/** image.openshift.io/v1 ImageSignature beside its metadata. */
export const imageSignatureSchema = z.object({
  type: text
    .optional()
    .describe('What kind of signature it is, such as AtomicImageV1; the server does not look at it.'),
  content: text.optional().describe('The signature in base64.'),
  conditions: z.array(conditionSchema).optional().describe('Whether the signature can be trusted; a verifier says so.'),
  imageIdentity: text.optional().describe('Which image the signature says it is of, as a pull spec.'),
  signedClaims: z.record(text, text).optional().describe('What else the signature says.'),
  created: text.optional().describe('When the signature was made.'),
  issuedBy: z
    .object({ organization: text.optional(), commonName: text.optional() })
    .optional()
    .describe('Who issued the certificate or key.'),
  issuedTo: z
    .object({ organization: text.optional(), commonName: text.optional(), publicKeyID: text.optional() })
    .optional()
    .describe('To whom the certificate or key was issued.'),
});

/** What a verifier adds to a signature. */
const verdictFields = ['imageIdentity', 'signedClaims', 'created', 'issuedBy', 'issuedTo'] as const;

/** A signature as somebody sends it. */
export interface SentSignature {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly type?: string;
  readonly content?: string;
  readonly conditions?: readonly { readonly type?: unknown; readonly status?: unknown }[];
  readonly [field: string]: unknown;
}

/** A new signature as it will be kept: only its name, type and content are for its maker to say. */
export function newSignature({ metadata, type = '', content = '' }: SentSignature, now: Date): StoredSignature {
  return {
    metadata: { name: metadata?.name ?? '', uid: randomUUID(), creationTimestamp: timestamp(now) },
    type,
    content,
  };
}

/** What is wrong with a signature that somebody sends. @param path of it in the object, with a dot at its end; or empty */
export function signatureCauses(sent: SentSignature, path = ''): readonly StatusCause[] {
  const { metadata = {}, type = '', content = '' } = sent;
  const { name = '', labels = {}, annotations = {} } = metadata;
  return [
    ...(Object.keys(labels).length > 0
      ? [forbiddenValue(`${path}metadata.labels`, 'signature labels cannot be set')]
      : []),
    ...(Object.keys(annotations).length > 0
      ? [forbiddenValue(`${path}metadata.annotations`, 'signature annotations cannot be set')]
      : []),
    ...signatureFaults({ name, type, content }).map((fault) => toCause(fault, name, path)),
  ];
}

function toCause({ kind, field, rule }: SignatureFault, name: string, path: string): StatusCause {
  switch (kind) {
    case 'required':
      return requiredValue(path + field, rule);
    case 'too-long':
      return { reason: 'FieldValueTooLong', field: path + field, message: `Too long: ${rule}` };
    case 'invalid':
      return invalidValue(path + field, field === 'metadata.name' ? name.slice(0, 300) : '', rule);
  }
}

function forbiddenValue(field: string, rule: string): StatusCause {
  return { reason: 'FieldValueForbidden', field, message: `Forbidden: ${rule}` };
}

/** The signatures of an image after an update, or what is wrong with them. */
export type SignatureUpdate =
  | { readonly kind: 'taken'; readonly signatures: readonly StoredSignature[] }
  | { readonly kind: 'refused'; readonly causes: readonly StatusCause[] };

/**
 * The signatures that an update of an image asks for (openshift-apiserver, ValidateImageSignatureUpdate). It is how a
 * verifier writes down what it found out: type and content stay, and what a signature claims is taken only together with a
 * verdict on it.
 *
 * @param sent undefined: those there are
 */
export function updateSignatures(
  sent: readonly SentSignature[] | undefined,
  current: readonly StoredSignature[],
  now: Date,
): SignatureUpdate {
  if (sent === undefined) return { kind: 'taken', signatures: current };
  const known = new Map(current.map((signature) => [signature.metadata.name, signature]));
  const causes: StatusCause[] = [];
  const signatures: StoredSignature[] = [];
  for (const [index, each] of sent.entries()) {
    const path = `signatures[${index}].`;
    const old = known.get(each.metadata?.name ?? '');
    const { metadata, type, content } = newSignature(each, now);
    const signature = { metadata: old?.metadata ?? metadata, type, content, ...verdictOf(each) };
    causes.push(...signatureCauses(each, path), ...verdictCauses(each, path));
    if (old !== undefined) {
      for (const field of ['type', 'content'] as const) {
        if (signature[field] === old[field]) continue;
        causes.push(invalidValue(`${path}${field}`, signature[field].slice(0, 100), 'field is immutable'));
      }
    }
    if (hasSignature(signatures, signature)) {
      causes.push({ reason: 'FieldValueDuplicate', field: `signatures[${index}]`, message: 'Duplicate value' });
    }
    signatures.push(signature);
  }
  if (!areWithinLimits(signatures)) {
    causes.push({
      reason: 'FieldValueTooLong',
      field: 'signatures',
      message: `Too long: may not be more than ${signatureLimits.perImage} signatures, of together ${signatureLimits.totalBytes} bytes`,
    });
  }
  signatures.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return causes.length > 0 ? { kind: 'refused', causes } : { kind: 'taken', signatures };
}

/** The signatures of a new image, or what is wrong with them. A verdict on them is not for their maker to give. */
export function newSignatures(sent: readonly SentSignature[], now: Date): SignatureUpdate {
  const isVerdict = (field: string) => field === 'conditions' || (verdictFields as readonly string[]).includes(field);
  const bare = sent.map((each) => Object.fromEntries(Object.entries(each).filter(([field]) => !isVerdict(field))));
  return updateSignatures(bare, [], now);
}

function verdictOf(sent: SentSignature): Readonly<Record<string, unknown>> {
  const fields = ['conditions', ...verdictFields] as const;
  return Object.fromEntries(
    fields.filter((field) => !isEmpty(sent[field])).map((field) => [field, sent[field]] as const),
  );
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function verdictCauses(sent: SentSignature, path: string): readonly StatusCause[] {
  const conditions = sent.conditions ?? [];
  const find = (type: string) => conditions.findLast((condition) => condition.type === type);
  const [trusted, forImage] = [find('Trusted'), find('ForImage')];
  const causes: StatusCause[] = [];
  if ((trusted === undefined) !== (forImage === undefined)) {
    const missing = trusted === undefined ? 'Trusted' : 'ForImage';
    causes.push({
      reason: 'FieldValueInvalid',
      field: `${path}conditions`,
      message: `Invalid value: missing "${missing}" condition type`,
    });
  }
  if (trusted !== undefined && (trusted.status === 'True' || trusted.status === 'False')) return causes;
  for (const field of verdictFields) {
    if (isEmpty(sent[field])) continue;
    causes.push({
      reason: 'FieldValueInvalid',
      field: path + field,
      message: 'Invalid value: must be unset for unknown signature state',
    });
  }
  return causes;
}
