import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { allVerbs, type Resource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';
import { dataKeyCauses, isBase64, tooLarge } from './data-keys.js';
import { invalidValue } from '../kube/object-meta.js';

/** core/v1 ConfigMap. */
interface ConfigMap extends ApiObject {
  readonly data?: Readonly<Record<string, string>>;
  /** Base64 by key. */
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

const names: StoredNames = { group: '', plural: 'configmaps', kind: 'ConfigMap', isNamespaced: true };
/** core/v1, MaxSecretSize, which holds for both. */
const maxBytes = 1024 * 1024;

/** core/v1 ConfigMap. */
export function configMapResource(store: ObjectStore): Resource {
  const texts = z.record(z.string(), z.string()).optional();
  return {
    ...names,
    version: 'v1',
    singular: 'configmap',
    shortNames: ['cm'],
    verbs: allVerbs,
    description: 'ConfigMap holds data that everybody who may look into the project may see.',
    schema: z.object({ data: texts, binaryData: texts, immutable: z.boolean().optional() }),
    columns: [
      {
        name: 'Data',
        type: 'integer',
        description: 'How many entries it has.',
        cell: (object) => {
          const { data = {}, binaryData = {} } = object as ConfigMap;
          return Object.keys(data).length + Object.keys(binaryData).length;
        },
      },
      ageColumn,
    ],
    storage: new StoredResource(store, names, { validate: configMapCauses }),
  };
}

/** What is wrong with a config map (Kubernetes, ValidateConfigMap and ValidateConfigMapUpdate). */
export function configMapCauses(object: ApiObject, oldObject: ApiObject | undefined): readonly StatusCause[] {
  const { data = {}, binaryData = {}, immutable } = object as ConfigMap;
  const causes: StatusCause[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(data)) {
    causes.push(...dataKeyCauses(key, 'data'));
    if (Object.hasOwn(binaryData, key)) {
      causes.push(invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    }
    bytes += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(binaryData)) {
    causes.push(...dataKeyCauses(key, 'binaryData'));
    if (isBase64(value)) bytes += Buffer.byteLength(value, 'base64');
    else causes.push(invalidValue(`binaryData[${key}]`, key, 'must be base64 (RFC 4648 section 4)'));
  }
  if (bytes > maxBytes) causes.push(tooLarge('', maxBytes));
  const old = oldObject as ConfigMap | undefined;
  if (old?.immutable !== true) return causes;
  const refuse = (field: string) => {
    causes.push({ reason: 'FieldValueForbidden', field, message: 'field is immutable when `immutable` is set' });
  };
  if (immutable !== true) refuse('immutable');
  if (!sameEntries(data, old.data)) refuse('data');
  if (!sameEntries(binaryData, old.binaryData)) refuse('binaryData');
  return causes;
}

/** Whether two sets of entries are the same, in whichever order. */
function sameEntries(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>> = {}): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
