import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { readFile } from 'node:fs/promises';
// The name of a variable of the SDK is given a value for a moment; none is read.
import { env } from 'node:process';
import { rootCertificates } from 'node:tls';
import type { RetryPolicy, S3Request } from './s3-retries.js';

/** How new objects are encrypted by the store, with keys of its own or of a key service. */
export type S3Encryption = 'AES256' | 'aws:kms' | 'aws:kms:dsse';

/** Where a store is and how it is spoken to. */
export interface S3Options {
  readonly bucket: string;
  /** Of a store other than that of AWS: `https://s3.example.com:9000`. */
  readonly endpoint?: string | undefined;
  /** `us-east-1` when left out beside an endpoint; otherwise what the environment or the shared files of AWS say. */
  readonly region?: string | undefined;
  /** Put before every key; `registry` and `registry/` are the same. */
  readonly prefix?: string | undefined;
  /** The bucket is in the path rather than in the name of the host; when left out, it is where there is an endpoint. */
  readonly pathStyle?: boolean | undefined;
  /** Left out, with the secret: what the SDK finds in the environment, in files, or of the machine or pod. */
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  /** PEM; authorities to trust beside the usual ones. */
  readonly caFile?: string | undefined;
  readonly encryption?: S3Encryption | undefined;
  /** For `aws:kms` and `aws:kms:dsse`; that of the bucket or the account when left out. */
  readonly kmsKeyId?: string | undefined;
  /** Memory for uploads, unless there are so many that the smallest part that each may hold takes more; 128 MiB when left out. */
  readonly bufferBytes?: number | undefined;
  /** A folder for bytes that are read while they come in; its files are worthless to another process. */
  readonly scratchDir: string;
  readonly retries?: RetryPolicy | undefined;
  /** How long a connection may rest in the middle of a request; 20 seconds when left out. */
  readonly idleTimeoutMs?: number | undefined;
  /** Told of each request, tries included. */
  readonly onRequest?: ((request: S3Request) => void) | undefined;
}

const connectTimeoutMs = 5_000;
const usualIdleTimeoutMs = 20_000;
/** Three for each of some dozens of uploads at once, and as many reads. */
const maxSockets = 512;

const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Nobody reads it.
}

/** Makes a client; it connects when it is used. @throws {Error} when the file of authorities cannot be read */
export async function connectS3(options: S3Options): Promise<S3Client> {
  const { endpoint, accessKeyId, secretAccessKey, caFile, idleTimeoutMs = usualIdleTimeoutMs } = options;
  const region = options.region ?? (endpoint === undefined ? undefined : 'us-east-1');
  const ca = caFile === undefined ? undefined : [...rootCertificates, await readFile(caFile, 'utf8')];
  return withoutVersionWarning({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    // Requests are tried again in `withRetries`: the SDK does not do it for bodies that are streams.
    maxAttempts: 1,
    // Checksums are computed while the bytes come in, and clients compare digests of what they read.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // It would cost a round trip and a new connection for each part.
    expectContinueHeader: false,
    // It would warn of each failed request, though that is tried again: `onRequest` tells.
    logger: silent,
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      socketTimeout: idleTimeoutMs,
      httpAgent: { keepAlive: true, maxSockets },
      httpsAgent: { keepAlive: true, maxSockets, ...(ca !== undefined && { ca }) },
    },
  });
}

/** The SDK warns once, when the first client is made, of a version of Node that later releases of it will not know. */
function withoutVersionWarning(config: S3ClientConfig): S3Client {
  const variable = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED';
  const before = env[variable];
  env[variable] = 'true';
  try {
    return new S3Client(config);
  } finally {
    if (before === undefined) Reflect.deleteProperty(env, variable);
    else env[variable] = before;
  }
}
