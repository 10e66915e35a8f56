import type { ObjectStore } from '../metadata/object-store.js';

const atOnce = 500;

/** Removes every object of a resource that was written with a value among its lookups. */
export async function removeLookedUp(store: ObjectStore, resource: string, lookup: string): Promise<void> {
  for (;;) {
    const { objects } = await store.list({ resource, lookup, limit: atOnce });
    if (objects.length === 0) return;
    // Refused when one of them has gone in the meantime: then there are fewer when we look again.
    await store.commit(
      objects.map(({ metadata }) => ({
        kind: 'remove' as const,
        resource,
        namespace: metadata.namespace ?? '',
        name: metadata.name,
      })),
    );
  }
}
