import type { Migration } from 'kysely';
import * as registry from './001-registry.js';
import * as objects from './002-objects.js';
import * as streams from './003-streams.js';
import * as upstreams from './004-upstreams.js';
import * as replicas from './005-replicas.js';

/** Every migration by its number, in order; one direction only. A migration that was released is never edited. */
export const migrations: Readonly<Record<string, Migration>> = {
  '001-registry': registry,
  '002-objects': objects,
  '003-streams': streams,
  '004-upstreams': upstreams,
  '005-replicas': replicas,
};
