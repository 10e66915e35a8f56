import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { StatusCause } from '../kube/errors.js';
import { ageOf } from '../kube/ages.js';
import { invalidValue } from '../kube/object-meta.js';
import { allVerbs, type Resource } from '../kube/resource.js';
import { StoredResource, type StoredNames } from '../kube/stored-resource.js';
import { allObjects, type ApiObject, type ObjectStore, type ObjectWrite } from '../metadata/object-store.js';

/** core/v1 Event, as far as it is looked at here. */
interface Event extends ApiObject {
  readonly involvedObject?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
  readonly reason?: string;
  readonly message?: string;
  readonly type?: string;
  readonly firstTimestamp?: string;
  readonly lastTimestamp?: string;
  readonly eventTime?: string;
  readonly series?: { readonly lastObservedTime?: string };
}

/** How events are kept. */
export interface EventOptions {
  readonly store: ObjectStore;
  readonly now?: () => Date;
  /** Above it the oldest of a namespace go; 1000 when left out. */
  readonly maxPerNamespace?: number;
}

const names: StoredNames = { group: '', plural: 'events', kind: 'Event', isNamespaced: true };
/** kube-apiserver, `--event-ttl`. */
const lifetimeMs = 3600 * 1000;
const usualMax = 1000;
/** How many may come to a namespace before somebody counts again. */
const slack = 50;

const text = z.string().optional();
const reference = z.object({
  kind: text,
  namespace: text,
  name: text,
  uid: text,
  apiVersion: text,
  resourceVersion: text,
  fieldPath: text,
});

const schema = z.object({
  involvedObject: reference.optional(),
  reason: text,
  message: text,
  source: z.object({ component: text, host: text }).optional(),
  firstTimestamp: text,
  lastTimestamp: text,
  count: z.number().optional(),
  type: text,
  eventTime: text,
  series: z.object({ count: z.number().optional(), lastObservedTime: text }).optional(),
  action: text,
  related: reference.optional(),
  reportingComponent: text,
  reportingInstance: text,
});

/** core/v1 Event: what happened to an object, for an hour. */
export function eventResource({ store, now = () => new Date(), maxPerNamespace = usualMax }: EventOptions): Resource {
  const stored = new StoredResource(store, names, {
    nameRule: 'path-segment',
    traits: () => ({ expiresAt: new Date(now().getTime() + lifetimeMs) }),
    validate: eventCauses,
  });
  const bound = new EventBound(store, maxPerNamespace);
  return {
    ...names,
    version: 'v1',
    singular: 'event',
    shortNames: ['ev'],
    verbs: allVerbs,
    description: 'Event tells of something that happened to an object.',
    schema,
    columns: [
      {
        name: 'Last Seen',
        type: 'string',
        description: 'How long ago it happened last.',
        cell: (event, at) => ageOf(lastSeen(event), at),
      },
      { name: 'Type', type: 'string', description: 'Normal or Warning.', cell: (event) => (event as Event).type ?? '' },
      {
        name: 'Reason',
        type: 'string',
        description: 'Why, in a word.',
        cell: (event) => (event as Event).reason ?? '',
      },
      {
        name: 'Object',
        type: 'string',
        description: 'What it happened to.',
        cell: (event) => {
          const { kind = '', name = '' } = (event as Event).involvedObject ?? {};
          return `${kind.toLowerCase()}/${name}`;
        },
      },
      {
        name: 'Message',
        type: 'string',
        description: 'What happened, for people to read.',
        cell: (event) => (event as Event).message?.trim() ?? '',
      },
    ],
    fieldSelectors: [
      'involvedObject.apiVersion',
      'involvedObject.fieldPath',
      'involvedObject.kind',
      'involvedObject.name',
      'involvedObject.namespace',
      'involvedObject.resourceVersion',
      'involvedObject.uid',
      'reason',
      'reportingComponent',
      'source',
      'type',
    ],
    storage: {
      get: stored.get,
      list: stored.list,
      update: stored.update,
      remove: stored.remove,
      watch: stored.watch,
      create: async (call, event, options) => {
        const created = await stored.create(call, event, options);
        if (!options.dryRun) await bound.keep(call.namespace);
        return created;
      },
    },
  };
}

/** When it happened, or happened last. */
function lastSeen(object: ApiObject): string {
  const { series, lastTimestamp, eventTime, firstTimestamp, metadata } = object as Event;
  return series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? firstTimestamp ?? metadata.creationTimestamp;
}

/** Kubernetes, ValidateEvent: an event is where its object is; that of an object in no namespace may be anywhere. */
function eventCauses(object: ApiObject): readonly StatusCause[] {
  const { involvedObject, metadata } = object as Event;
  const namespace = involvedObject?.namespace ?? '';
  return namespace === '' || namespace === metadata.namespace
    ? []
    : [invalidValue('involvedObject.namespace', namespace, 'does not match event.namespace')];
}

/** Lets no namespace fill the database with events. */
class EventBound {
  readonly #store: ObjectStore;
  readonly #max: number;
  /** How many came since they were counted. */
  readonly #uncounted = new LRUCache<string, number>({ max: 10_000 });

  constructor(store: ObjectStore, max: number) {
    this.#store = store;
    this.#max = max;
  }

  async keep(namespace: string): Promise<void> {
    const uncounted = (this.#uncounted.get(namespace) ?? slack) + 1;
    this.#uncounted.set(namespace, uncounted > slack ? 0 : uncounted);
    if (uncounted <= slack) return;
    const events = await this.#all(namespace);
    if (events.length <= this.#max) return;
    events.sort((one, other) => one.at - other.at);
    for (const { write } of events.slice(0, events.length - this.#max)) {
      // Refused when it is gone already.
      await this.#store.commit([write]);
    }
  }

  async #all(namespace: string): Promise<{ readonly at: number; readonly write: ObjectWrite }[]> {
    const found: { readonly at: number; readonly write: ObjectWrite }[] = [];
    for await (const { metadata } of allObjects(this.#store, { resource: names.plural, namespace })) {
      const { name, uid, resourceVersion } = metadata;
      const write = { kind: 'remove', resource: names.plural, namespace, name, uid } as const;
      found.push({ at: Number(resourceVersion), write });
    }
    return found;
  }
}
