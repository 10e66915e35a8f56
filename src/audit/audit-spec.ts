import { z } from 'zod';
import type { NewAuditRecord } from '../metadata/audit-records.js';

/** An audit record as it is told: the `spec` of an AuditRecord object, and one line of the audit file. */
export const auditSpecSchema = z.object({
  at: z.string().describe('When the request was answered: RFC 3339, to the millisecond.'),
  requestID: z.string().describe('As in the X-Request-Id of the answer and in the log.'),
  user: z.string().describe('In whose name it was; empty when what was shown proved nobody.'),
  impersonatedBy: z.string().optional().describe('Who acted in the name of the user.'),
  address: z.string().describe('Address of the other end of the connection.'),
  userAgent: z.string(),
  verb: z.string().describe('As in rules: create, update, patch, delete and the like.'),
  apiGroup: z.string(),
  resource: z.string().describe('With its subresource after a slash; empty for a path that is no resource.'),
  namespace: z.string(),
  name: z.string(),
  method: z.string().describe('Of the HTTP request.'),
  path: z.string().describe('Without the query.'),
  outcome: z.enum(['allowed', 'denied', 'failed']),
  code: z.int().describe('Status of the HTTP answer.'),
  reason: z.string().optional().describe('The error in one word.'),
});

/** A record with the field names that clients see. */
export type AuditSpec = z.output<typeof auditSpecSchema>;

/** Puts a record into the words of the API. */
export function auditSpec(record: NewAuditRecord): AuditSpec {
  return {
    at: record.at.toISOString(),
    requestID: record.requestId,
    user: record.principal,
    ...(record.impersonator !== undefined && { impersonatedBy: record.impersonator }),
    address: record.address,
    userAgent: record.userAgent,
    verb: record.verb,
    apiGroup: record.apiGroup,
    resource: record.resource,
    namespace: record.namespace,
    name: record.name,
    method: record.method,
    path: record.path,
    outcome: record.outcome,
    code: record.code,
    ...(record.reason !== undefined && { reason: record.reason }),
  };
}
