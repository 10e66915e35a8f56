import type { AuditOutcome } from '../metadata/audit-records.js';

/** What decides whether a request belongs in the audit log. */
export interface AnsweredRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Of the answer. */
  readonly status: number;
  /** Whether nothing was to be stored (`dryRun=All`). */
  readonly isDryRun: boolean;
  /** Whether the query of an upload names the blob it would make: `digest` or `mount`. */
  readonly namesBlob: boolean;
  readonly showsCredentials: boolean;
  /** Whether the path is one to which credentials are sent in the body. */
  readonly isLogin: boolean;
  /** Whether it came from somebody whose name is known. */
  readonly isFromUser: boolean;
}

/**
 * What is recorded of a request; undefined when it is nothing. A 401 without credentials is no refusal but the first
 * step of every client, which learns from it where to log in. What failed is recorded of users alone, or anybody on the
 * network could fill the log.
 */
export function outcomeOf(request: AnsweredRequest): AuditOutcome | undefined {
  const { status } = request;
  if (status === 403) return 'denied';
  if (status === 401) {
    return request.showsCredentials || (request.isLogin && request.method === 'POST') ? 'denied' : undefined;
  }
  if (!isChange(request)) return undefined;
  if (status < 400) return 'allowed';
  return request.isFromUser ? 'failed' : undefined;
}

const readingMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

function isChange({ method, path, status, ...request }: AnsweredRequest): boolean {
  if (readingMethods.has(method) || request.isDryRun || request.isLogin || isReview(path)) return false;
  switch (uploadPart(path)) {
    case undefined:
      return true;
    case 'uploads':
      // One request may bring or mount the whole blob; when it only began a session, it changed nothing yet.
      return status < 400 ? status === 201 : request.namesBlob;
    case 'session':
      return method === 'PUT';
  }
}

/** Questions that are asked by POST (authorization.k8s.io, authorization.openshift.io, authentication.k8s.io). */
const reviews = new Set([
  'localresourceaccessreviews',
  'localsubjectaccessreviews',
  'resourceaccessreviews',
  'selfsubjectaccessreviews',
  'selfsubjectreviews',
  'selfsubjectrulesreviews',
  'subjectaccessreviews',
  'subjectrulesreviews',
  'tokenreviews',
]);

function isReview(path: string): boolean {
  return isApiPath(path) && reviews.has(path.replace(/\/$/, '').split('/').at(-1)!);
}

/** Whether a path is one of the Kubernetes API. */
export function isApiPath(path: string): boolean {
  return /^\/apis?\//.test(path);
}

/** The upload sessions of a repository, or one of them (OCI Distribution Spec, end-4, end-5, end-6, end-11). */
function uploadPart(path: string): 'uploads' | 'session' | undefined {
  const match = /^\/v2\/.+\/blobs\/uploads(\/[^/]*)?$/.exec(path);
  if (match === null) return undefined;
  return (match[1] ?? '/') === '/' ? 'uploads' : 'session';
}
