import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Readable } from 'node:stream';
import { ClientError } from './client-error.js';

/** More than the longest page a server gives. */
const maxAnswerBytes = 64 * 1024 * 1024;
const idleTimeoutMs = 60_000;

/** How a server proves who it is. */
export interface Trust {
  /** PEM certificates of the only authorities that are trusted; those that Node knows when undefined. */
  readonly ca?: string | undefined;
  /** Whether anybody is taken for the server. */
  readonly isInsecure: boolean;
}

/** A body that is sent as it comes. */
export interface StreamedBody {
  readonly source: Readable;
  /** Bytes; undefined when nobody knows. */
  readonly size: number | undefined;
}

/** A request as it is sent. */
export interface PlainRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | StreamedBody | undefined;
  readonly trust: Trust;
}

/** An answer, whole. */
export interface PlainAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** Whether what is sent there stays on this machine. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/**
 * Sends a request and reads the whole answer. Redirects are not followed: what was meant for one server is sent to no
 * other. The `fetch` of Node is no choice, as it cannot be told of an authority of one's own.
 *
 * @throws {ClientError} when there is no answer, or one of more than 64 MiB
 */
export function sendRequest({ method, url, headers, body, trust }: PlainRequest): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => {
      reject(cause instanceof ClientError ? cause : new ClientError(explainFailure(url, cause), { cause }));
    };
    const options: RequestOptions & { ca?: string; rejectUnauthorized?: boolean } = {
      method,
      headers: { ...headers, ...lengthOf(body) },
      timeout: idleTimeoutMs,
      ...(trust.ca !== undefined && { ca: trust.ca }),
      ...(trust.isInsecure && { rejectUnauthorized: false }),
    };
    const sent = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      // Who answers before the end has had enough of it.
      if (typeof body === 'object') body.source.unpipe(sent);
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxAnswerBytes) sent.destroy(new ClientError(`${url.host} answers with more than 64 MiB`));
        else chunks.push(chunk);
      });
      answer.on('error', fail);
      answer.on('end', () => {
        const { statusCode = 0, headers: answered } = answer;
        resolve({ status: statusCode, headers: answered, text: Buffer.concat(chunks).toString('utf8') });
        if (!sent.writableEnded) sent.destroy();
      });
    });
    sent.on('timeout', () => {
      sent.destroy(new ClientError(`${url.host} has been silent for ${idleTimeoutMs / 1000} seconds; try again later`));
    });
    sent.on('error', fail);
    if (typeof body !== 'object') sent.end(body);
    else body.source.on('error', (error) => sent.destroy(error)).pipe(sent);
  });
}

function lengthOf(body: PlainRequest['body']): Readonly<Record<string, string>> {
  if (body === undefined) return {};
  const size = typeof body === 'string' ? Buffer.byteLength(body) : body.size;
  return size === undefined ? {} : { 'Content-Length': String(size) };
}

const unknownAuthority = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
]);

function explainFailure(url: URL, error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const { host, hostname } = url;
  if (unknownAuthority.has(code)) {
    return (
      `the certificate of ${host} is by an authority that is not known here; give its certificate with --ca FILE ` +
      '(of a Weir with its own: tls/ca.crt in its data folder), or trust anybody with --insecure'
    );
  }
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the certificate of ${host} is for other names; call the server by one that its certificate has`;
    case 'CERT_HAS_EXPIRED':
      return `the certificate of ${host} has expired; whoever runs the server has to renew it`;
    case 'CERT_NOT_YET_VALID':
      return `the certificate of ${host} is not valid yet; look at the clock of this machine`;
    case 'ECONNREFUSED':
      return `nothing listens at ${host}; is the server running, and is this its port?`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `there is no host ${hostname} to be found; look at the name of the server`;
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return `${host} does not speak TLS; for a server without it, name it as http://${host}`;
    default:
      return `no answer from ${host}: ${error.message}`;
  }
}
