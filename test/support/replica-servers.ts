import { randomBytes } from 'node:crypto';
import { startFaultProxy, type FaultProxy } from './fault-proxy.js';
import { startPostgres, type TestPostgres } from './postgres.js';
import { startS3, type TestS3 } from './s3.js';

/** All that replicas have in common: a database, a bucket, and the settings that lead there. */
export interface ReplicaServers {
  readonly postgres: TestPostgres;
  readonly s3: TestS3;
  /** Between the replicas and the store. */
  readonly proxy: FaultProxy;
  /** `WEIR_…` variables. */
  readonly settings: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Starts PostgreSQL, and a store that speaks S3 behind a proxy that can disturb it. Both are empty. */
export async function startReplicaServers(): Promise<ReplicaServers> {
  const [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
  const proxy = await startFaultProxy(s3.endpoint);
  return {
    postgres,
    s3,
    proxy,
    settings: {
      WEIR_DATABASE_URL: await postgres.createDatabase(),
      WEIR_BLOBSTORE_KIND: 's3',
      WEIR_BLOBSTORE_S3_ENDPOINT: proxy.endpoint,
      WEIR_BLOBSTORE_S3_BUCKET: await s3.createBucket(),
      WEIR_BLOBSTORE_S3_REGION: s3.region,
      WEIR_BLOBSTORE_S3_ACCESS_KEY_ID: s3.accessKeyId,
      WEIR_BLOBSTORE_S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      WEIR_SECRETS_KEYS: randomBytes(32).toString('base64'),
    },
    stop: async () => {
      await proxy.stop();
      await Promise.all([postgres.stop(), s3.stop()]);
    },
  };
}
