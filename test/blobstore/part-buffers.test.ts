import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { PagedBytes, PartBuffers, pagesFor, pageSize, payloadOf } from '../../src/blobstore/part-buffers.js';

const MiB = 1024 * 1024;

describe('a lease of pages', () => {
  test('gives what was promised, whatever others hold, and more while there is plenty', () => {
    const buffers = new PartBuffers(4 * MiB);
    const [greedy, late] = [buffers.lease(1), buffers.lease(2)];
    const held = Array.from({ length: 4 }, () => greedy.take()!);
    expect(held.every((page) => page.length === pageSize)).toBe(true);
    expect(greedy.take()).toBeUndefined();
    expect([late.take(), late.take()].every((page) => page !== undefined)).toBe(true);
    expect(late.take()).toBeUndefined();
    expect(buffers.usedBytes).toBe(6 * MiB);
  });

  test('gives more again when others have given back', () => {
    const buffers = new PartBuffers(2 * MiB);
    const [first, second] = [buffers.lease(1), buffers.lease(1)];
    const page = first.take()!;
    second.take();
    expect(second.take()).toBeUndefined();
    first.give([page]);
    expect(second.take()).toBe(page);
  });

  test('gives the same pages again', () => {
    const lease = new PartBuffers(2 * MiB).lease(1);
    const pages = [lease.take()!, lease.take()!];
    lease.give(pages);
    expect(new Set([lease.take(), lease.take()])).toEqual(new Set(pages));
  });

  test('promises more later, never less', () => {
    const lease = new PartBuffers(0).lease(1);
    lease.promise(3);
    lease.promise(2);
    const given = Array.from({ length: 4 }, () => lease.take());
    expect(given.map((page) => page !== undefined)).toEqual([true, true, true, false]);
  });
});

describe('bytes in pages', () => {
  test.each([1, 7, 65_536, MiB, MiB + 1])('are as they came, in chunks of %i', (chunk) => {
    const bytes = Buffer.alloc(chunk === 1 ? 5_000 : 3 * MiB - 17, 'some bytes, again and again');
    const lease = new PartBuffers(8 * MiB).lease(3);
    const gathered = pagesFor(lease, 3);
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(gathered.add(rest.subarray(0, chunk)));
    expect(Buffer.concat(gathered.chunks()).equals(bytes)).toBe(true);
    expect(gathered.crc).toBe(crc32(bytes));
    expect(gathered.room).toBe(3 * MiB - bytes.length);
    gathered.release(lease);
    expect(gathered.chunks()).toEqual([]);
  });

  test('take no more than there is room for', () => {
    const gathered = new PagedBytes();
    expect(gathered.add(Buffer.from('x'))).toBe(0);
    gathered.addPage(Buffer.alloc(pageSize));
    expect(gathered.add(Buffer.alloc(2 * MiB))).toBe(MiB);
    expect(gathered.add(Buffer.from('x'))).toBe(0);
  });

  test('of several places are one payload, with the checksum of all', () => {
    const buffers = new PartBuffers(8 * MiB);
    const [first, second] = [pagesFor(buffers.lease(1), 1), pagesFor(buffers.lease(2), 2)];
    first.add(Buffer.from('1234'));
    second.add(Buffer.from('56789'));
    const payload = payloadOf(first, new PagedBytes(), second);
    expect(Buffer.concat(payload.chunks).toString()).toBe('123456789');
    // The check value of CRC-32: cbf43926.
    expect(payload).toMatchObject({ size: 9, crc32: 'y/Q5Jg==' });
    expect(payloadOf()).toEqual({ chunks: [], size: 0, crc32: 'AAAAAA==' });
  });
});
