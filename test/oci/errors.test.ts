import { describe, expect, test } from 'vitest';
import { ociErrorCodes, OciError, type OciErrorCode } from '../../src/oci/errors.js';
import { specErrorCodes } from '../support/oci-errors.js';

describe('the error table', () => {
  test('has the codes of the spec and one for outages', () => {
    expect(Object.keys(ociErrorCodes).sort()).toEqual([...specErrorCodes, 'UNAVAILABLE'].sort());
    expect(specErrorCodes).toHaveLength(14);
  });

  const statuses: Readonly<Record<OciErrorCode, number>> = {
    BLOB_UNKNOWN: 404,
    BLOB_UPLOAD_INVALID: 400,
    BLOB_UPLOAD_UNKNOWN: 404,
    DIGEST_INVALID: 400,
    MANIFEST_BLOB_UNKNOWN: 404,
    MANIFEST_INVALID: 400,
    MANIFEST_UNKNOWN: 404,
    NAME_INVALID: 400,
    NAME_UNKNOWN: 404,
    SIZE_INVALID: 400,
    UNAUTHORIZED: 401,
    DENIED: 403,
    UNSUPPORTED: 405,
    TOOMANYREQUESTS: 429,
    UNAVAILABLE: 503,
  };
  test.each(Object.entries(statuses))('%s is %i', (code, status) => {
    expect(ociErrorCodes[code as OciErrorCode].status).toBe(status);
    expect(ociErrorCodes[code as OciErrorCode].message).not.toBe('');
  });
});

describe('an OciError', () => {
  test('has status and message of its code', () => {
    const error = new OciError('BLOB_UNKNOWN', { digest: 'x' });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'OciError',
      code: 'BLOB_UNKNOWN',
      status: 404,
      message: ociErrorCodes.BLOB_UNKNOWN.message,
      detail: { digest: 'x' },
      headers: {},
    });
  });

  test('takes another status, headers and a cause', () => {
    const cause = new Error('why');
    const error = new OciError('BLOB_UPLOAD_INVALID', undefined, { status: 416, headers: { Range: '0-3' }, cause });
    expect(error).toMatchObject({ status: 416, headers: { Range: '0-3' }, cause });
  });
});
