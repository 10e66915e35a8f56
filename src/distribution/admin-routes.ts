import type Router from '@koa/router';
import { pruneRequest } from '../auth/authorize.js';
import { sendEmpty } from '../http.js';
import { parseDigest } from '../oci/digest.js';
import type { BlobService } from './blobs.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** What pruning asks of OpenShift's registry beside the OCI Distribution Spec. It takes the right to delete images. */
export function adminRoutes(router: Router, { access }: RegistryEntrance, blobs: BlobService): void {
  router.delete('/admin/blobs/:digest', async (ctx) => {
    const digest = parseDigest(ctx.params['digest']!);
    await access.requireRole(ctx, pruneRequest);
    await blobs.deleteEverywhere(digest);
    sendEmpty(ctx, 204);
  });
}
