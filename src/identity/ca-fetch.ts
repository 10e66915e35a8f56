import { request } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { CustomFetch } from 'openid-client';

const maxAnswerBytes = 1024 * 1024;

/**
 * A `fetch` for small answers that also trusts authorities of one's own; the one of Node cannot be told of them.
 *
 * @param ca PEM certificates
 */
export function fetchTrusting(ca: string): CustomFetch {
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const options = { method, headers, ca: [...rootCertificates, ca], ...(signal !== undefined && { signal }) };
      const sent = request(url, options, (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxAnswerBytes) sent.destroy(new Error(`${url} answers with more than ${maxAnswerBytes} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => {
          const status = answer.statusCode ?? 0;
          const type = answer.headers['content-type'];
          // A Response with one of these may have no body.
          const content = [101, 204, 205, 304].includes(status) ? null : Buffer.concat(chunks);
          resolve(new Response(content, { status, headers: type === undefined ? {} : { 'Content-Type': type } }));
        });
      });
      sent.on('error', reject);
      sent.end(body instanceof URLSearchParams ? body.toString() : (body ?? undefined));
    });
}
