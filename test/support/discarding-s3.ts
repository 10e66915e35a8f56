import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { operationOf, type S3Operation } from './fault-proxy.js';

/** A server that answers pushes as S3 does, and keeps nothing of them: for what is measured on our side. */
export interface DiscardingS3 {
  readonly endpoint: string;
  /** Bytes of bodies that came. */
  readonly receivedBytes: number;
  counts(): Partial<Record<S3Operation, number>>;
  stop(): Promise<void>;
}

/** Starts one on a free port. */
export async function startDiscardingS3(): Promise<DiscardingS3> {
  const counts: Partial<Record<S3Operation, number>> = {};
  let received = 0;
  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, answer) => {
    const operation = operationOf(incoming);
    counts[operation] = (counts[operation] ?? 0) + 1;
    incoming.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    incoming.on('end', () => {
      if (operation === 'UploadPart' || operation === 'PutObject') answer.setHeader('ETag', '"0"');
      answer.setHeader('Content-Type', 'application/xml');
      answer.end(bodies[operation] ?? '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get receivedBytes() {
      return received;
    },
    counts: () => ({ ...counts }),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

const bodies: Partial<Record<S3Operation, string>> = {
  CreateMultipartUpload:
    '<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId></InitiateMultipartUploadResult>',
  CompleteMultipartUpload:
    '<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>"0"</ETag></CompleteMultipartUploadResult>',
  UploadPartCopy: '<CopyPartResult><ETag>"0"</ETag></CopyPartResult>',
  DeleteObjects: '<DeleteResult></DeleteResult>',
};
