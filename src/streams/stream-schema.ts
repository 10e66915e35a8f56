import { z } from 'zod';

const text = z.string();
const textMap = z.record(z.string(), z.string());

/** core/v1 ObjectReference. */
const sourceSchema = z.object({
  kind: text.optional(),
  namespace: text.optional(),
  name: text.optional(),
  uid: text.optional(),
  apiVersion: text.optional(),
  resourceVersion: text.optional(),
  fieldPath: text.optional(),
});

/** image.openshift.io/v1 TagReference as a client may send it. */
export const tagReferenceSchema = z.object({
  name: text.optional().describe('Name of the tag.'),
  annotations: textMap.nullish(),
  from: sourceSchema.nullish().describe('Where the image comes from: ImageStreamTag, ImageStreamImage or DockerImage.'),
  reference: z.boolean().optional().describe('Only a pointer: nothing is imported.'),
  generation: z.int().nullish().describe('Send 0 to have the source looked at again.'),
  importPolicy: z
    .object({ insecure: z.boolean().optional(), scheduled: z.boolean().optional(), importMode: text.optional() })
    .nullish(),
  referencePolicy: z.object({ type: text.optional() }).nullish(),
});

export const lookupPolicySchema = z.object({ local: z.boolean().optional() });

const conditionSchema = z.object({
  type: text,
  status: text,
  lastTransitionTime: text.nullish(),
  reason: text.optional(),
  message: text.optional(),
  generation: z.int(),
});

/** image.openshift.io/v1 NamedTagEventList. */
export const tagEventListSchema = z.object({
  tag: text,
  items: z
    .array(
      z.object({
        created: text.nullish(),
        dockerImageReference: text.optional(),
        image: text.optional(),
        generation: z.int().optional(),
      }),
    )
    .nullish(),
  conditions: z.array(conditionSchema).nullish(),
});

/** image.openshift.io/v1 ImageStream beside its metadata. */
export const imageStreamSchema = z.object({
  spec: z
    .object({
      lookupPolicy: lookupPolicySchema.optional(),
      dockerImageRepository: text.optional(),
      tags: z.array(tagReferenceSchema).nullish(),
    })
    .nullish()
    .describe('What is wanted: tags and where their images come from.'),
  status: z
    .object({
      dockerImageRepository: text.optional(),
      publicDockerImageRepository: text.optional(),
      tags: z.array(tagEventListSchema).nullish(),
    })
    .nullish()
    .describe('What is: where images are pulled from, and what each tag has pointed to.'),
});

const signatureSchema = z.object({
  kind: text.optional(),
  apiVersion: text.optional(),
  metadata: z.object({}).loose().optional(),
  type: text.optional(),
  content: text.optional(),
  conditions: z.array(z.object({}).loose()).nullish(),
  imageIdentity: text.optional(),
  signedClaims: textMap.nullish(),
  created: text.nullish(),
  issuedBy: z.object({}).loose().nullish(),
  issuedTo: z.object({}).loose().nullish(),
});

/** image.openshift.io/v1 Image beside its metadata. */
export const imageSchema = z.object({
  dockerImageReference: text.optional(),
  dockerImageMetadata: z.object({}).loose().nullish(),
  dockerImageMetadataVersion: text.optional(),
  dockerImageManifest: text.optional(),
  dockerImageLayers: z.array(z.object({ name: text, size: z.number(), mediaType: text.optional() })).nullish(),
  signatures: z.array(signatureSchema).nullish(),
  dockerImageSignatures: z.array(text).nullish(),
  dockerImageManifestMediaType: text.optional(),
  dockerImageConfig: text.optional(),
  dockerImageManifests: z
    .array(
      z.object({
        digest: text,
        mediaType: text,
        manifestSize: z.number(),
        architecture: text,
        os: text,
        variant: text.optional(),
      }),
    )
    .nullish(),
});

/** An Image inside of another object, with its own metadata. */
export const embeddedImageSchema = imageSchema.extend({
  kind: text.optional(),
  apiVersion: text.optional(),
  metadata: z.object({}).loose().optional(),
});

/** image.openshift.io/v1 ImageStreamTag beside its metadata. */
export const imageStreamTagSchema = z.object({
  tag: tagReferenceSchema.nullish().describe('What the tag is wanted to be.'),
  generation: z.int().optional(),
  lookupPolicy: lookupPolicySchema.optional(),
  conditions: z.array(conditionSchema).nullish(),
  image: embeddedImageSchema.optional().describe('The image that the tag points to.'),
});

/** image.openshift.io/v1 ImageTag beside its metadata. */
export const imageTagSchema = z.object({
  spec: tagReferenceSchema.nullish().describe('What the tag is wanted to be.'),
  status: tagEventListSchema.nullish().describe('What the tag is, and was.'),
  image: embeddedImageSchema.nullish(),
});

/** image.openshift.io/v1 ImageStreamImage beside its metadata. */
export const imageStreamImageSchema = z.object({ image: embeddedImageSchema.optional() });
