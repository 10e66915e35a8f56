import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import type { TestRegistry } from './registry.js';

const patience = { interval: 5, timeout: 10_000 };

/** The file that an unfinished upload is written to. @param session its Location */
export function uploadPath(registry: TestRegistry, session: string): string {
  return join(registry.dataDir, 'uploads', session.slice(session.lastIndexOf('/') + 1));
}

/**
 * Waits until the registry has written at least so many bytes of an upload, which is before it records them. It gathers
 * bytes, so what was sent last may not be written before the body ends.
 */
export async function bytesArrive(registry: TestRegistry, session: string, bytes: number): Promise<void> {
  await vi.waitFor(async () => {
    expect((await stat(uploadPath(registry, session))).size).toBeGreaterThanOrEqual(bytes);
  }, patience);
}

/** Waits until a session has recorded at least so many bytes. @returns how many it has */
export function bytesRecorded(registry: TestRegistry, session: string, bytes: number): Promise<number> {
  return vi.waitFor(async () => {
    const range = (await registry.fetch(session)).headers.get('Range')!;
    const size = Number(/^0-(\d+)$/.exec(range)![1]) + 1;
    expect(size).toBeGreaterThanOrEqual(bytes);
    return size;
  }, patience);
}
