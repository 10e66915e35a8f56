import { imageGroup } from '../auth/authorize.js';
import {
  forbidden,
  invalid,
  notFound,
  type GroupResource,
  type StatusCause,
  type StatusError,
} from '../kube/errors.js';
import { ProjectUnavailableError } from '../metadata/repository-rows.js';
import { ConfigUnknownError } from '../metadata/stream-store.js';
import { StreamLimitError, TagProtectedError } from '../metadata/tag-history.js';
import { streamNameOf } from '../oci/repository-name.js';

/** Image streams, as errors name them. */
export const streamNames = {
  group: imageGroup,
  plural: 'imagestreams',
  kind: 'ImageStream',
  isNamespaced: true,
} as const;

const qualifiedKind = `ImageStream.${imageGroup}`;

/** What is wrong with the spec of a stream, found out while its tags were being resolved. */
export class TagCausesError extends Error {
  override readonly name = 'TagCausesError';
  readonly causes: readonly StatusCause[];
  constructor(causes: readonly StatusCause[]) {
    super(causes.map(({ field, message }) => `${field}: ${message}`).join(', '));
    this.causes = causes;
  }
}

/** A failure of an edit in the terms of the API; what is none of ours stays as it is. */
export function toApiError(error: unknown, resource: GroupResource, streamName: string): unknown {
  if (error instanceof TagCausesError) return invalid(streamNames, streamName, error.causes);
  if (error instanceof TagProtectedError) {
    return forbidden(resource, `${streamNameOf(error.repository)}:${error.tag}`, error.message);
  }
  if (error instanceof StreamLimitError) {
    const message = `Forbidden: ${qualifiedKind} "${streamName}" is forbidden: ${error.message}`;
    return invalid(streamNames, streamName, [{ reason: 'FieldValueForbidden', field: 'imageStream', message }]);
  }
  if (error instanceof ConfigUnknownError) {
    const message = 'Required value: the config of this image has to come along';
    return invalid(streamNames, streamName, [
      { reason: 'FieldValueRequired', field: 'image.dockerImageConfig', message },
    ]);
  }
  if (error instanceof ProjectUnavailableError) return unavailable(error, resource, streamName);
  return error;
}

function unavailable({ project, state }: ProjectUnavailableError, resource: GroupResource, name: string): StatusError {
  if (state === 'absent') return notFound({ group: '', plural: 'namespaces' }, project);
  return forbidden(
    resource,
    name,
    `unable to create new content in namespace ${project} because it is being terminated`,
  );
}
