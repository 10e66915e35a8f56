import { z } from 'zod';

const text = z.string().nullish();
const number = z.number().nullish();
const flag = z.boolean().nullish();

/** metav1.ListMeta. */
const listMeta = z.looseObject({ continue: text, remainingItemCount: number }).nullish();

/** A list of anything, of which pages may follow. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.looseObject({
    kind: text,
    apiVersion: text,
    metadata: listMeta,
    items: z
      .array(item)
      .nullish()
      .transform((items) => items ?? []),
    total: number,
  });
}

/** Whoever changed a tag, and what kind of identity that is. */
const actorSchema = z.object({ name: text, kind: text }).nullish();

/** An answer that is only acknowledged. */
export const anySchema = z.looseObject({ kind: text });

/** authentication.k8s.io/v1 SelfSubjectReview. */
export const selfSubjectReviewSchema = z.object({
  status: z.object({ userInfo: z.object({ username: z.string() }) }),
});

/** project.openshift.io/v1 Project. */
export const projectSchema = z.object({
  metadata: z.object({ name: z.string(), annotations: z.record(z.string(), z.string()).nullish() }),
  status: z.object({ phase: text }).nullish(),
});
export type Project = z.output<typeof projectSchema>;

const tagSourceSchema = z.object({ kind: z.string(), name: z.string(), namespace: text });

/** image.openshift.io/v1 TagReference. */
export const tagReferenceSchema = z.looseObject({
  name: z.string(),
  from: tagSourceSchema.nullish(),
  importPolicy: z.object({ insecure: flag, scheduled: flag }).nullish(),
});
export type TagReference = z.output<typeof tagReferenceSchema>;

/** image.openshift.io/v1 ImageStream. */
export const imageStreamSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: text,
    resourceVersion: text,
    annotations: z.record(z.string(), z.string()).nullish(),
  }),
  spec: z.object({ tags: z.array(tagReferenceSchema).nullish() }).nullish(),
  status: z
    .object({
      dockerImageRepository: text,
      publicDockerImageRepository: text,
      tags: z
        .array(z.object({ tag: z.string(), items: z.array(z.object({ created: text, image: text })).nullish() }))
        .nullish(),
    })
    .nullish(),
});
export type ImageStream = z.output<typeof imageStreamSchema>;

/** image.openshift.io/v1 Image, as far as it says what it is. */
const imageSchema = z.object({ metadata: z.object({ name: text }).nullish(), dockerImageReference: text }).nullish();

/** image.openshift.io/v1 ImageStreamTag. */
export const imageStreamTagSchema = z.object({
  metadata: z.object({ name: z.string(), namespace: text }),
  tag: z.object({ from: tagSourceSchema.nullish() }).nullish(),
  generation: number,
  image: imageSchema,
  // What a dry run says of everything else.
  consequences: z.object({ untagged: z.array(z.string()).nullish() }).nullish(),
});
export type ImageStreamTag = z.output<typeof imageStreamTagSchema>;

/** image.openshift.io/v1 ImageStreamImage. */
export const imageStreamImageSchema = z.object({ image: z.object({ metadata: z.object({ name: z.string() }) }) });

/** An entry of weir.dev/v1 StreamTagList: a tag as it is now. */
export const streamTagSchema = z.object({
  tag: z.string(),
  image: text,
  cause: text,
  user: actorSchema,
  changed: text,
  source: text,
  size: number,
  platforms: z.array(z.string()).nullish(),
  version: text,
  events: number,
  /** The rule that keeps it where it is. */
  protectedBy: text,
  scheduled: flag,
  failing: flag,
});
export type StreamTag = z.output<typeof streamTagSchema>;

/** An entry of weir.dev/v1 TagEventList: one change of a tag. */
export const tagEventSchema = z.object({
  metadata: z.object({ name: text, namespace: text }).nullish(),
  stream: text,
  tag: text,
  generation: number,
  current: flag,
  created: text,
  user: actorSchema,
  cause: text,
  reason: text,
  image: text,
  source: text,
  backTo: z.union([z.number(), z.string()]).nullish(),
  size: number,
  platforms: z.array(z.string()).nullish(),
  version: text,
});
export type TagEvent = z.output<typeof tagEventSchema>;

const subjectSchema = z.object({ kind: z.string(), name: z.string(), namespace: text });

/** weir.dev/v1 TagPolicy. */
export const tagPolicySchema = z.object({
  metadata: z.object({ name: z.string(), namespace: text }),
  spec: z
    .object({
      streams: z.array(z.string()).nullish(),
      protect: z
        .array(z.object({ tags: z.array(z.string()).nullish(), overriddenBy: z.array(subjectSchema).nullish() }))
        .nullish(),
      requireReason: z.array(z.string()).nullish(),
      keepEvents: number,
    })
    .nullish(),
});
export type TagPolicy = z.output<typeof tagPolicySchema>;

const importStatusSchema = z.object({ status: text, message: text, reason: text }).nullish();
const importedImageSchema = z.object({ tag: text, status: importStatusSchema, image: imageSchema });

/** image.openshift.io/v1 ImageStreamImport, as it comes back. */
export const imageStreamImportSchema = z.object({
  status: z
    .object({
      images: z.array(importedImageSchema).nullish(),
      repository: z
        .object({
          status: importStatusSchema,
          images: z.array(importedImageSchema).nullish(),
          additionalTags: z.array(z.string()).nullish(),
        })
        .nullish(),
    })
    .nullish(),
});
export type ImageStreamImport = z.output<typeof imageStreamImportSchema>;
export type ImportedImage = z.output<typeof importedImageSchema>;

function changeOf<T extends z.ZodType>(value: T) {
  return z.object({ from: value.nullish(), to: value.nullish() }).nullish();
}

const namedChangesSchema = z
  .object({
    added: z.array(z.object({ name: z.string(), value: z.string() })),
    removed: z.array(z.object({ name: z.string(), value: z.string() })),
    changed: z.array(z.object({ name: z.string(), from: z.string(), to: z.string() })),
  })
  .nullish();
export type NamedChanges = z.output<typeof namedChangesSchema>;

const comparedLayerSchema = z.object({ digest: z.string(), size: z.number(), createdBy: text });
export type ComparedLayer = z.output<typeof comparedLayerSchema>;

/** How two images for one platform differ. */
export const platformComparisonSchema = z.object({
  /** As in `linux/arm64`. */
  name: text,
  platform: changeOf(z.string()),
  image: changeOf(z.string()),
  version: changeOf(z.string()),
  created: changeOf(z.string()),
  size: changeOf(z.number()),
  config: z.record(z.string(), changeOf(z.union([z.string(), z.array(z.string())]))).nullish(),
  environment: namedChangesSchema,
  labels: namedChangesSchema,
  layers: z
    .object({
      kept: z.number(),
      keptSize: z.number(),
      added: z.array(comparedLayerSchema),
      removed: z.array(comparedLayerSchema),
    })
    .nullish(),
});
export type PlatformComparison = z.output<typeof platformComparisonSchema>;

/** weir.dev/v1 ImageComparison. */
export const imageComparisonSchema = z.object({
  platforms: z.array(platformComparisonSchema).nullish(),
  /** Platforms that one of the two is not for. */
  onlyIn: z.object({ from: z.array(z.string()).nullish(), to: z.array(z.string()).nullish() }).nullish(),
});
export type ImageComparison = z.output<typeof imageComparisonSchema>;
