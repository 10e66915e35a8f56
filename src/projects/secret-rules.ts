import type { StatusCause } from '../kube/errors.js';
import { invalidValue, requiredValue } from '../kube/object-meta.js';
import type { ApiObject } from '../metadata/object-store.js';
import { dataKeyCauses, isBase64, tooLarge } from './data-keys.js';
import { accountAnnotations, secretTypes, type Secret } from './secret-object.js';

/** core/v1, MaxSecretSize. */
const maxBytes = 1024 * 1024;

/** What is wrong with a secret (Kubernetes, ValidateSecret and ValidateSecretUpdate). Values are never repeated. */
export function secretCauses(object: ApiObject, oldObject: ApiObject | undefined): readonly StatusCause[] {
  const secret = object as Secret;
  const causes: StatusCause[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(secret.data ?? {})) {
    causes.push(...dataKeyCauses(key, 'data'));
    if (isBase64(value)) bytes += Buffer.byteLength(value, 'base64');
    else causes.push(hiddenValue(`data[${key}]`, 'must be base64 (RFC 4648 section 4)'));
  }
  if (bytes > maxBytes) causes.push(tooLarge('data', maxBytes));
  causes.push(...typeCauses(secret));
  if (oldObject !== undefined) causes.push(...changeCauses(secret, oldObject as Secret));
  return causes;
}

function typeCauses(secret: Secret): StatusCause[] {
  const { type, data = {}, metadata } = secret;
  const required = (...keys: readonly string[]) =>
    keys.filter((key) => !Object.hasOwn(data, key)).map((key) => requiredValue(`data[${key}]`));
  switch (type) {
    case secretTypes.serviceAccountToken:
      return (metadata.annotations?.[accountAnnotations.name] ?? '') === ''
        ? [requiredValue(`metadata.annotations[${accountAnnotations.name}]`)]
        : [];
    case secretTypes.dockercfg:
      return [...required('.dockercfg'), ...jsonCauses(data, '.dockercfg')];
    case secretTypes.dockerConfigJson:
      return [...required('.dockerconfigjson'), ...jsonCauses(data, '.dockerconfigjson')];
    case secretTypes.basicAuth: {
      const missing = required('username', 'password');
      return missing.length === 2 ? missing : [];
    }
    case secretTypes.sshAuth:
      return (data['ssh-privatekey'] ?? '') === '' ? [requiredValue('data[ssh-privatekey]')] : [];
    case secretTypes.tls:
      return required('tls.crt', 'tls.key');
    default:
      return [];
  }
}

function jsonCauses(data: Readonly<Record<string, string>>, key: string): StatusCause[] {
  const value = data[key];
  if (value === undefined || !isBase64(value)) return [];
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return [];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return [hiddenValue(`data[${key}]`, 'must be a JSON object')];
}

function changeCauses(secret: Secret, old: Secret): StatusCause[] {
  const causes: StatusCause[] = [];
  if (secret.type !== old.type) causes.push(invalidValue('type', secret.type, 'field is immutable'));
  if (old.immutable === true) {
    const why = 'field is immutable when `immutable` is set';
    if (secret.immutable !== true) causes.push({ reason: 'FieldValueForbidden', field: 'immutable', message: why });
    if (!sameData(secret.data, old.data)) causes.push({ reason: 'FieldValueForbidden', field: 'data', message: why });
  }
  return causes;
}

function sameData(one: Secret['data'] = {}, other: Secret['data'] = {}): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

function hiddenValue(field: string, rule: string): StatusCause {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: "<secret contents redacted>": ${rule}` };
}
