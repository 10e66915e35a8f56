import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { operationOf } from '../support/fault-proxy.js';

/** A server that answers as S3 does and keeps nothing but the sizes of what it was given. */
export interface SwallowingS3 {
  readonly endpoint: string;
  /** Bytes of all bodies. */
  readonly swallowed: () => number;
  stop(): Promise<void>;
}

/** Starts the server on a free port of loopback. What is written to it cannot be read. */
export async function startSwallowingS3(): Promise<SwallowingS3> {
  const sizes = new Map<string, number>();
  let swallowed = 0;
  let uploads = 0;
  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, answer) => {
    const { pathname } = new URL(incoming.url!, 'http://s3');
    let size = 0;
    incoming.on('error', () => undefined);
    incoming.on('data', (bytes: Buffer) => (size += bytes.length));
    incoming.on('end', () => {
      swallowed += size;
      respond(incoming, answer, pathname, size);
    });
  });

  function respond(incoming: IncomingMessage, answer: ServerResponse, pathname: string, size: number): void {
    const headers = { ETag: '"swallowed"', 'Content-Type': 'application/xml' };
    switch (operationOf(incoming)) {
      case 'UploadPart':
        sizes.set(pathname, (sizes.get(pathname) ?? 0) + size);
        answer.writeHead(200, headers).end();
        return;
      case 'PutObject':
        sizes.set(pathname, size);
        answer.writeHead(200, headers).end();
        return;
      case 'HeadObject':
        answer.writeHead(sizes.has(pathname) ? 200 : 404, { 'Content-Length': sizes.get(pathname) ?? 0 }).end();
        return;
      case 'CreateMultipartUpload':
        uploads += 1;
        answer.writeHead(200, headers);
        answer.end(xml('InitiateMultipartUploadResult', `<UploadId>${uploads}</UploadId>`));
        return;
      case 'CompleteMultipartUpload':
        answer.writeHead(200, headers).end(xml('CompleteMultipartUploadResult', '<ETag>"swallowed"</ETag>'));
        return;
      case 'ListObjectsV2':
        answer.writeHead(200, headers).end(xml('ListBucketResult', '<IsTruncated>false</IsTruncated>'));
        return;
      case 'ListMultipartUploads':
        answer.writeHead(200, headers).end(xml('ListMultipartUploadsResult', '<IsTruncated>false</IsTruncated>'));
        return;
      case 'DeleteObjects':
        answer.writeHead(200, headers).end(xml('DeleteResult', ''));
        return;
      case 'AbortMultipartUpload':
      case 'DeleteObject':
        answer.writeHead(204).end();
        return;
      case 'GetObject':
      case 'ListParts':
      case 'UploadPartCopy':
      case 'other':
        answer.writeHead(501, headers).end(xml('Error', '<Code>NotImplemented</Code>'));
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    swallowed: () => swallowed,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function xml(element: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><${element}>${content}</${element}>`;
}
