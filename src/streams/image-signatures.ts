import { imageGroup } from '../auth/authorize.js';
import { alreadyExists, badRequest, invalid, notFound, type StatusCause } from '../kube/errors.js';
import type { Call, RemoveOptions, Resource, ResourceStorage, WriteOptions } from '../kube/resource.js';
import { checkPreconditions } from '../kube/stored-resource.js';
import {
  areWithinLimits,
  hasSignature,
  signatureLimits,
  splitSignatureName,
  type StoredSignature,
} from '../metadata/image-signatures.js';
import type { ImageStore } from '../metadata/image-store.js';
import type { ApiObject } from '../metadata/object-store.js';
import { isDigest } from '../oci/digest.js';
import { imageNames } from './images.js';
import { imageSignatureSchema, newSignature, signatureCauses } from './signature-rules.js';

const names = { group: imageGroup, plural: 'imagesignatures', kind: 'ImageSignature', isNamespaced: false } as const;
/** As errors name a signature. */
const signatureNames = { ...names, plural: 'imageSignatures' } as const;

/** What signatures are kept in. */
export type SignatureImages = Pick<ImageStore, 'listSignatures' | 'addSignature' | 'removeSignature'>;

/**
 * image.openshift.io/v1 ImageSignature, `<image>@<name>`: it is added to an image and removed from it, and read with it.
 */
export function imageSignatureResource(images: SignatureImages): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'imagesignature',
    verbs: ['create', 'delete'],
    description: 'ImageSignature is a signature of an image, whatever kind of signature it is.',
    schema: imageSignatureSchema,
    storage: new ImageSignatureStorage(images),
  };
}

/** Signatures inside of images. */
class ImageSignatureStorage implements ResourceStorage {
  readonly #images: SignatureImages;

  constructor(images: SignatureImages) {
    this.#images = images;
  }

  readonly create = async (call: Call, sent: ApiObject, { dryRun }: WriteOptions): Promise<ApiObject> => {
    const signature = newSignature(sent, call.now);
    const { name } = signature.metadata;
    const causes = signatureCauses(sent);
    if (causes.length > 0) throw invalid(names, name, causes);
    switch (await this.#add(signature, dryRun)) {
      case 'added':
        return signature;
      case 'exists':
        throw alreadyExists(signatureNames, name);
      case 'absent':
        throw notFound(imageNames, splitSignatureName(name)!.image);
      case 'full':
        throw invalid(names, name, [tooMany]);
    }
  };

  readonly remove = async (_call: Call, name: string, { dryRun, ...options }: RemoveOptions): Promise<ApiObject> => {
    const image = splitSignatureName(name)?.image;
    if (image === undefined) throw badRequest('ImageSignatures must be deleted with <imageName>@<signatureName>');
    const known = isDigest(image) ? await this.#images.listSignatures(image) : undefined;
    const signature = known?.find(({ metadata }) => metadata.name === name);
    if (signature === undefined || !isDigest(image)) throw notFound(signatureNames, name);
    checkPreconditions(signatureNames, signature, options);
    if (!dryRun && !(await this.#images.removeSignature(image, name))) throw notFound(signatureNames, name);
    return signature;
  };

  async #add(signature: StoredSignature, dryRun: boolean): ReturnType<ImageStore['addSignature']> {
    const { image } = splitSignatureName(signature.metadata.name)!;
    if (!isDigest(image)) return 'absent';
    if (!dryRun) return this.#images.addSignature(image, signature);
    const known = await this.#images.listSignatures(image);
    if (known === undefined) return 'absent';
    if (hasSignature(known, signature)) return 'exists';
    return areWithinLimits([...known, signature]) ? 'added' : 'full';
  }
}

const tooMany: StatusCause = {
  reason: 'FieldValueForbidden',
  field: '',
  message: `Forbidden: an image has at most ${signatureLimits.perImage} signatures, of together ${signatureLimits.totalBytes} bytes`,
};
