import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type S3Client,
  type ServerSideEncryption,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ByteRange } from './blob-store.js';
import type { Payload } from './part-buffers.js';
import type { S3Options } from './s3-client.js';
import { isAbsent, patientRetries, withRetries, type RetryPolicy } from './s3-retries.js';
import type { Multipart, StoredPart } from './s3-state.js';

/** An object of a list. */
export interface ListedObject {
  readonly key: string;
  readonly modifiedAt: Date;
}

/** A multipart upload of a list. */
export interface ListedMultipart {
  readonly key: string;
  readonly id: string;
  readonly begunAt: Date;
}

/** Bytes of an object that were asked for. */
export interface ObjectBody {
  readonly body: Readable;
  /** Bytes that the body has. */
  readonly size: number;
  readonly etag: string | undefined;
}

/** Objects deleted in one request. */
const deletedAtOnce = 1_000;

/** The requests we make of one bucket, with keys below our prefix; each is tried again while that may help. */
export class S3Bucket {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #encryption: { readonly ServerSideEncryption?: ServerSideEncryption; readonly SSEKMSKeyId?: string };
  readonly #retries: RetryPolicy;
  readonly #onRequest: S3Options['onRequest'];

  constructor(client: S3Client, options: S3Options) {
    const { bucket, prefix = '', encryption, kmsKeyId } = options;
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
    this.#encryption = {
      ...(encryption !== undefined && { ServerSideEncryption: encryption }),
      ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
    };
    this.#retries = options.retries ?? patientRetries;
    this.#onRequest = options.onRequest;
  }

  /** @throws {Error} as every request: what S3 answered, once it is of no use to try again */
  async putObject(key: string, { chunks, size, crc32 }: Payload, signal?: AbortSignal): Promise<void> {
    const input = { ...this.#at(key), ...this.#encryption, ContentLength: size, ChecksumCRC32: crc32 };
    await this.#try('PutObject', signal, (abortSignal) =>
      this.#client.send(new PutObjectCommand({ ...input, Body: streamOf(chunks) }), { abortSignal }),
    );
  }

  /** @param range both ends inclusive; fewer bytes come when the object ends before @returns undefined when there is none */
  async getObject(key: string, range?: ByteRange, etag?: string): Promise<ObjectBody | undefined> {
    const input = {
      ...this.#at(key),
      ...(range !== undefined && { Range: `bytes=${range.start}-${range.end}` }),
      ...(etag !== undefined && { IfMatch: etag }),
    };
    const answer = await undefinedWhenAbsent(
      // The signal of a try ends with its failure, not with the body.
      this.#try('GetObject', undefined, (abortSignal) =>
        this.#client.send(new GetObjectCommand(input), { abortSignal }),
      ),
    );
    if (answer === undefined) return undefined;
    if (!(answer.Body instanceof Readable)) throw new Error('the answer has no body');
    return { body: answer.Body, size: answer.ContentLength ?? 0, etag: answer.ETag };
  }

  /** @returns undefined when there is none */
  async sizeOfObject(key: string): Promise<number | undefined> {
    const answer = await undefinedWhenAbsent(
      this.#try('HeadObject', undefined, (abortSignal) =>
        this.#client.send(new HeadObjectCommand(this.#at(key)), { abortSignal }),
      ),
    );
    return answer && (answer.ContentLength ?? 0);
  }

  async createMultipart(key: string, { hasCrc }: Pick<Multipart, 'hasCrc'>): Promise<Multipart> {
    const input = { ...this.#at(key), ...this.#encryption, ...(hasCrc && { ChecksumAlgorithm: 'CRC32' as const }) };
    const { UploadId } = await this.#try('CreateMultipartUpload', undefined, (abortSignal) =>
      this.#client.send(new CreateMultipartUploadCommand(input), { abortSignal }),
    );
    if (UploadId === undefined) throw new Error('the store gave no id for an upload in parts');
    return { key, id: UploadId, parts: [], next: 1, hasCrc };
  }

  async putPart(
    { key, id, hasCrc }: Pick<Multipart, 'key' | 'id' | 'hasCrc'>,
    number: number,
    { chunks, size, crc32 }: Payload,
    signal?: AbortSignal,
  ): Promise<StoredPart> {
    const checksum = hasCrc ? { ChecksumCRC32: crc32 } : { ContentMD5: md5Of(chunks) };
    const part = { ...this.#at(key), UploadId: id, PartNumber: number, ContentLength: size, ...checksum };
    const { ETag } = await this.#try('UploadPart', signal, (abortSignal) =>
      this.#client.send(new UploadPartCommand({ ...part, Body: streamOf(chunks) }), { abortSignal }),
    );
    return { number, size, etag: ETag ?? '', crc32: hasCrc ? crc32 : undefined };
  }

  /** Makes bytes of another object a part, inside of the store. */
  async copyPart(
    { key, id, hasCrc }: Pick<Multipart, 'key' | 'id' | 'hasCrc'>,
    number: number,
    from: string,
    { start, end }: ByteRange,
  ): Promise<StoredPart> {
    const source = `${this.#bucket}/${this.#prefix}${from}`.split('/').map(encodeURIComponent).join('/');
    const input = {
      ...this.#at(key),
      UploadId: id,
      PartNumber: number,
      CopySource: source,
      CopySourceRange: `bytes=${start}-${end}`,
    };
    const { CopyPartResult } = await this.#try('UploadPartCopy', undefined, (abortSignal) =>
      this.#client.send(new UploadPartCopyCommand(input), { abortSignal }),
    );
    const { ETag = '', ChecksumCRC32: crc32 } = CopyPartResult ?? {};
    return { number, size: end - start + 1, etag: ETag, crc32: hasCrc ? crc32 : undefined };
  }

  async completeMultipart({ key, id, parts }: Multipart): Promise<void> {
    const input = {
      ...this.#at(key),
      UploadId: id,
      MultipartUpload: {
        Parts: parts.map(({ number, etag, crc32 }) => ({
          PartNumber: number,
          ETag: etag,
          ...(crc32 !== undefined && { ChecksumCRC32: crc32 }),
        })),
      },
    };
    await this.#try('CompleteMultipartUpload', undefined, (abortSignal) =>
      this.#client.send(new CompleteMultipartUploadCommand(input), { abortSignal }),
    );
  }

  async hasMultipart({ key, id }: Multipart): Promise<boolean> {
    const input = { ...this.#at(key), UploadId: id, MaxParts: 1 };
    const answer = await undefinedWhenAbsent(
      this.#try('ListParts', undefined, (abortSignal) =>
        this.#client.send(new ListPartsCommand(input), { abortSignal }),
      ),
    );
    return answer !== undefined;
  }

  /** No error when there is none any more. */
  async abortMultipart({ key, id }: Pick<Multipart, 'key' | 'id'>): Promise<void> {
    await undefinedWhenAbsent(
      this.#try('AbortMultipartUpload', undefined, (abortSignal) =>
        this.#client.send(new AbortMultipartUploadCommand({ ...this.#at(key), UploadId: id }), { abortSignal }),
      ),
    );
  }

  /** No error when they are gone already. @throws {Error} when one could not be deleted */
  async deleteObjects(keys: readonly string[]): Promise<void> {
    for (let start = 0; start < keys.length; start += deletedAtOnce) {
      const objects = keys.slice(start, start + deletedAtOnce).map((key) => ({ Key: this.#prefix + key }));
      const input = { Bucket: this.#bucket, Delete: { Objects: objects, Quiet: true } };
      const { Errors = [] } = await this.#try('DeleteObjects', undefined, (abortSignal) =>
        this.#client.send(new DeleteObjectsCommand(input), { abortSignal }),
      );
      const [failed] = Errors.filter(({ Code }) => Code !== 'NoSuchKey');
      if (failed !== undefined) throw new Error(`the store did not delete ${failed.Key ?? ''}: ${failed.Code ?? ''}`);
    }
  }

  async *listObjects(prefix: string): AsyncIterable<ListedObject> {
    for (let token: string | undefined, isMore = true; isMore;) {
      const input = {
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ...(token !== undefined && { ContinuationToken: token }),
      };
      const page = await this.#try('ListObjectsV2', undefined, (abortSignal) =>
        this.#client.send(new ListObjectsV2Command(input), { abortSignal }),
      );
      for (const { Key, LastModified } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: this.#withoutPrefix(Key), modifiedAt: LastModified ?? new Date() };
      }
      token = page.NextContinuationToken;
      isMore = token !== undefined;
    }
  }

  async *listMultiparts(prefix: string): AsyncIterable<ListedMultipart> {
    for (let last: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } | undefined = {}; last;) {
      const input: ListMultipartUploadsCommandInput = {
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ...last,
      };
      const page: ListMultipartUploadsCommandOutput = await this.#try(
        'ListMultipartUploads',
        undefined,
        (abortSignal) => this.#client.send(new ListMultipartUploadsCommand(input), { abortSignal }),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue;
        yield { key: this.#withoutPrefix(Key), id: UploadId, begunAt: Initiated ?? new Date() };
      }
      const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      last = IsTruncated && KeyMarker ? { KeyMarker, ...(UploadIdMarker ? { UploadIdMarker } : {}) } : undefined;
    }
  }

  /** Made here, without a request. */
  presignGet(key: string, expiresSeconds: number): Promise<string> {
    return getSignedUrl(this.#client, new GetObjectCommand(this.#at(key)), { expiresIn: expiresSeconds });
  }

  close(): void {
    this.#client.destroy();
  }

  #try<T>(
    operation: string,
    signal: AbortSignal | undefined,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return withRetries(attempt, { operation, policy: this.#retries, signal, onRequest: this.#onRequest });
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  #withoutPrefix(key: string): string {
    return key.slice(this.#prefix.length);
  }
}

function md5Of(chunks: readonly Buffer[]): string {
  const hash = createHash('md5');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('base64');
}

/** A body that can be sent once, without the chunks becoming one buffer before. */
function streamOf(chunks: readonly Buffer[]): Readable | Buffer {
  return chunks.length === 0 ? Buffer.alloc(0) : Readable.from(chunks, { objectMode: false });
}

async function undefinedWhenAbsent<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
