import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue } from '../kube/object-meta.js';
import type { ApiObject } from '../metadata/object-store.js';
import { PullSpecError, pullSpecOrError } from '../oci/pull-spec.js';
import { tagCauses, withTagDefaults } from '../streams/tag-validation.js';
import type { TagReference } from '../streams/types.js';

const objectReference = z.object({
  kind: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  uid: z.string().optional(),
  apiVersion: z.string().optional(),
  resourceVersion: z.string().optional(),
  fieldPath: z.string().optional(),
});
const imageSpec = z.object({
  from: objectReference.nullish().describe('The image: kind DockerImage and its pull spec.'),
  to: z.object({ name: z.string().optional() }).nullish().describe('The tag to point at it; left out: only look.'),
  importPolicy: z
    .object({
      insecure: z.boolean().optional(),
      scheduled: z.boolean().optional(),
      importMode: z.string().optional(),
    })
    .nullish(),
  referencePolicy: z.object({ type: z.string().optional() }).nullish(),
  includeManifest: z.boolean().optional().describe('Whether manifest and config are in the answer.'),
});

/** Images of one request; who wants more sends more requests. */
const maxImages = 1000;

/** image.openshift.io/v1 ImageStreamImport, as clients send it. */
export const imageStreamImportSchema = z.object({
  spec: z.object({
    import: z.boolean().default(false).describe('Whether anything is stored; false: only look.'),
    repository: imageSpec.omit({ to: true }).nullish().describe('All tags of a repository.'),
    images: z.array(imageSpec).max(maxImages, `at most ${maxImages} images`).nullish().describe('Single images.'),
  }),
  status: z.object({}).loose().nullish(),
});

export type SentImport = ApiObject & z.output<typeof imageStreamImportSchema>;
type SentImage = z.output<typeof imageSpec>;

/** An image that a request is about, or what all images of a repository have in common. */
export interface WantedImage {
  /** As written. */
  readonly from: string;
  /** Undefined: it is only looked at. */
  readonly tag: string | undefined;
  readonly importPolicy: TagReference['importPolicy'];
  readonly referencePolicy: TagReference['referencePolicy'];
  readonly includeManifest: boolean;
}

/** What is wrong with a request (openshift-apiserver, ValidateImageStreamImport). */
export function importCauses({ spec: { repository, images } }: SentImport): StatusCause[] {
  if (!repository && (images ?? []).length === 0) {
    return [invalidValue('spec', '', 'you must specify at least one image or a repository import')];
  }
  return [
    ...(repository ? repositoryCauses(repository, 'spec.repository') : []),
    ...(images ?? []).flatMap((image, position) => imageCauses(image, `spec.images[${position}]`)),
  ];
}

function imageCauses(image: SentImage, path: string): StatusCause[] {
  const causes = sourceCauses(image, path);
  if (image.to && (image.to.name ?? '') === '') {
    causes.push(requiredValue(`${path}.to.name`, 'the name of the target tag must be specified'));
  }
  const { name = '' } = image.to ?? {};
  causes.push(...policyCauses(image, name === '' ? 'latest' : name, path));
  return causes;
}

function repositoryCauses(repository: SentImage, path: string): StatusCause[] {
  const causes = sourceCauses(repository, path);
  const spec = pullSpecOrError(repository.from?.name ?? '');
  if (!(spec instanceof PullSpecError) && (spec.tag !== '' || spec.id !== '')) {
    causes.push(
      invalidValue(
        `${path}.from.name`,
        repository.from?.name ?? '',
        'you must specify an image repository, not a tag or ID',
      ),
    );
  }
  return [...causes, ...policyCauses(repository, 'latest', path)];
}

function sourceCauses({ from, to }: SentImage, path: string): StatusCause[] {
  const { kind = '', name = '' } = from ?? {};
  const causes: StatusCause[] = [];
  if (kind !== 'DockerImage') {
    causes.push(invalidValue(`${path}.from.kind`, kind.slice(0, 200), 'only DockerImage is supported'));
  }
  if (name === '') return [...causes, requiredValue(`${path}.from.name`)];
  // `oc new-app --list` looks for an image of this name, and needs an answer that there is none.
  if (name === '*' && !to) return causes;
  const spec = pullSpecOrError(name);
  if (spec instanceof PullSpecError) causes.push(invalidValue(`${path}.from.name`, name.slice(0, 300), spec.message));
  else if (spec.name === '') {
    causes.push(invalidValue(`${path}.from.name`, name, 'you must specify an image, not only a registry'));
  }
  return causes;
}

/** Those of a tag with this policy, but for its source. */
function policyCauses({ importPolicy, referencePolicy }: SentImage, tag: string, path: string): StatusCause[] {
  return tagCauses({ name: tag, importPolicy, referencePolicy }, path).map((cause) =>
    cause.field === `${path}.name` ? { ...cause, field: `${path}.to.name` } : cause,
  );
}

/** With the defaults filled in. */
export function wantedImage({ from, importPolicy, referencePolicy, includeManifest, to }: SentImage): WantedImage {
  const tag = withTagDefaults({ importPolicy, referencePolicy }, '');
  return {
    from: from?.name ?? '',
    tag: to?.name,
    importPolicy: tag.importPolicy,
    referencePolicy: tag.referencePolicy,
    includeManifest: includeManifest === true,
  };
}
