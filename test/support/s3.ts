import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { goTool } from '../../scripts/tools.mjs';
import { freePort } from './free-port.js';

/** A server that speaks S3, with its objects in a temporary folder; it checks signatures and checksums. */
export interface TestS3 {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** The folder with a folder for each bucket, in which objects are files. */
  readonly folder: string;
  /** Makes an empty one. @returns its name */
  createBucket(): Promise<string>;
  stop(): Promise<void>;
}

/** How the server is started. */
export interface TestS3Options {
  /** PEM files; with them it is spoken to by https. */
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
}

/** Starts a server on a free port of this machine. */
export async function startS3({ tls }: TestS3Options = {}): Promise<TestS3> {
  const root = await mkdtemp(join(tmpdir(), 'weir-s3-'));
  const folder = join(root, 'buckets');
  // Buckets have no metadata but what the server writes beside them: attributes are not to be had on every file system.
  const sidecar = join(root, 'attributes');
  await mkdir(folder);
  await mkdir(sidecar);
  const port = await freePort();
  const accessKeyId = `test${randomBytes(6).toString('hex')}`;
  const secretAccessKey = randomBytes(20).toString('hex');
  const region = 'us-east-1';
  const tlsOptions = tls === undefined ? [] : ['--cert', tls.certFile, '--key', tls.keyFile];
  const options = ['--port', `127.0.0.1:${port}`, '--region', region, '--quiet', '--keep-alive', ...tlsOptions];
  const child = spawn(goTool('versitygw'), [...options, 'posix', '--sidecar', sidecar, folder], {
    env: { PATH: '/usr/bin:/bin', ROOT_ACCESS_KEY_ID: accessKeyId, ROOT_SECRET_ACCESS_KEY: secretAccessKey },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  try {
    await vi.waitFor(() => answers(port, child, () => said), { interval: 20, timeout: 20_000 });
  } catch (error) {
    await end(child);
    await rm(root, { recursive: true, force: true });
    throw error;
  }
  const { CreateBucketCommand } = await import('@aws-sdk/client-s3');
  const { connectS3 } = await import('../../src/blobstore/s3-client.js');
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    region,
    folder,
    async createBucket() {
      const bucket = `bucket-${randomBytes(6).toString('hex')}`;
      const caFile = tls?.caFile;
      const client = await connectS3({
        bucket,
        endpoint,
        region,
        accessKeyId,
        secretAccessKey,
        caFile,
        scratchDir: '',
      });
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      client.destroy();
      return bucket;
    },
    async stop() {
      await end(child);
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function answers(port: number, child: ChildProcess, said: () => string): Promise<void> {
  if (child.exitCode !== null) throw new Error(`the S3 server ended: ${said()}`);
  const { connect } = await import('node:net');
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killing = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exited;
  clearTimeout(killing);
}
