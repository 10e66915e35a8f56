// A process of its own that pushes many blobs into S3 at once, made up as they go, and says how much memory it had at most.
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';

const [built, uploads, sizeText, optionsText] = process.argv.slice(2);
const { S3BlobStore } = await import(pathToFileURL(`${built}/blobstore/s3.js`).href);
const store = await S3BlobStore.open(JSON.parse(optionsText));
const size = Number(sizeText);

let most = 0;
const watching = setInterval(() => {
  most = Math.max(most, process.memoryUsage.rss());
}, 50);

/** As a socket does it: each chunk has memory of its own. */
function source() {
  let left = size;
  return new Readable({
    highWaterMark: 64 * 1024,
    read() {
      if (left === 0) {
        this.push(null);
        return;
      }
      const chunk = Buffer.allocUnsafeSlow(Math.min(64 * 1024, left)).fill(left % 251);
      left -= chunk.length;
      setImmediate(() => this.push(chunk));
    },
  });
}

async function push() {
  const id = randomBytes(20).toString('hex');
  const observer = createHash('sha256');
  const { appendedBytes, state, failure } = await store.append({ id, size: 0, state: undefined }, source(), {
    observer,
  });
  if (failure !== undefined) throw failure;
  if (appendedBytes !== size) throw new Error(`${appendedBytes} bytes instead of ${size}`);
  if ((await store.finish({ id, size, state })) === undefined) throw new Error('not finished');
  return observer.digest('hex');
}

const start = performance.now();
const before = process.memoryUsage.rss();
const digests = new Set(await Promise.all(Array.from({ length: Number(uploads) }, push)));
clearInterval(watching);
await store.close();
const { user, system } = process.cpuUsage();
const cpuSeconds = (user + system) / 1e6;
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`${JSON.stringify({ before, most, seconds, cpuSeconds, digests: digests.size })}\n`);
