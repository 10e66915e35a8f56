import type { ApiObject } from '../metadata/object-store.js';
import { badRequest, StatusError } from './errors.js';
import { apiVersionOf, type ObjectList, type Resource } from './resource.js';
import { parseAccept, toPartialMetadata, toPartialMetadataList, toTable, type MetaVersion } from './table.js';

/** A form in which objects are shown: whole, as rows of a table, or their metadata only. */
export interface Representation {
  /** Two representations of the same key show an object alike. */
  readonly key: string;
  readonly one: (object: ApiObject, resource: Resource, now: Date) => object;
  readonly list: (list: ObjectList, resource: Resource, now: Date) => object;
  /** As the object of a watch event; columns are described in the first only. */
  readonly event: (object: ApiObject, resource: Resource, now: Date, isFirst: boolean) => object;
}

/**
 * The form that an `Accept` header asks for.
 *
 * @throws {StatusError} NotAcceptable
 */
export function representationOf(accept: string, includeObject: string | undefined): Representation {
  const wanted = parseAccept(accept);
  switch (wanted?.kind) {
    case undefined:
      throw new StatusError(
        'NotAcceptable',
        'only the following media types are accepted: application/json, and with ;as=Table or ;as=PartialObjectMetadata(List)',
      );
    case 'object':
      return whole;
    case 'partial':
    case 'partial-list':
      return partialOf(wanted.version);
    case 'table':
      return tableWith(wanted.version, includeObject);
  }
}

/** With the kind that clients want to read first. */
export function typed(object: ApiObject, resource: Resource): ApiObject {
  const { kind, apiVersion, metadata, ...fields } = object;
  return { kind: kind ?? resource.kind, apiVersion: apiVersion ?? apiVersionOf(resource), metadata, ...fields };
}

function listMeta({ resourceVersion, continue: position, remainingItemCount }: ObjectList) {
  return {
    resourceVersion,
    ...(position !== undefined && { continue: position }),
    ...(remainingItemCount !== undefined && { remainingItemCount }),
  };
}

const whole: Representation = {
  key: 'object',
  one: typed,
  list: (list, resource) => ({
    kind: `${resource.kind}List`,
    apiVersion: apiVersionOf(resource),
    metadata: listMeta(list),
    ...list.more,
    items: list.items.map((object) => typed(object, resource)),
  }),
  event: typed,
};

function partialOf(version: MetaVersion): Representation {
  return {
    key: `partial ${version}`,
    one: (object) => toPartialMetadata(object, version),
    list: (list) => toPartialMetadataList(list, version),
    event: (object) => toPartialMetadata(object, version),
  };
}

function tableWith(version: MetaVersion, includeObject = 'Metadata'): Representation {
  if (includeObject !== 'None' && includeObject !== 'Metadata' && includeObject !== 'Object') {
    throw badRequest(`includeObject ${JSON.stringify(includeObject)}: expected None, Metadata or Object`);
  }
  const table = (list: ObjectList, resource: Resource, now: Date, withColumns: boolean) =>
    toTable({
      resource,
      items: list.items.map((object) => typed(object, resource)),
      resourceVersion: list.resourceVersion,
      ...(list.continue !== undefined && { continue: list.continue }),
      includeObject,
      version,
      now,
      withColumns,
    });
  const ofOne = (object: ApiObject): ObjectList => ({
    items: [object],
    resourceVersion: object.metadata.resourceVersion ?? '',
  });
  return {
    key: `table ${version} ${includeObject}`,
    one: (object, resource, now) => table(ofOne(object), resource, now, true),
    list: (list, resource, now) => table(list, resource, now, true),
    event: (object, resource, now, isFirst) => table(ofOne(object), resource, now, isFirst),
  };
}
