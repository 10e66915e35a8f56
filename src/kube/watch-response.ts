import { Readable } from 'node:stream';
import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { parseVersion, type Change } from '../metadata/object-store.js';
import type { ResourcePath } from './api-path.js';
import { badRequest, StatusError } from './errors.js';
import { toStatusError } from './error-middleware.js';
import { flagOf, listQueryOf, numberOf, queryOf } from './api-request.js';
import type { Representation } from './representation.js';
import type { Call, ListQuery, Resource } from './resource.js';
import { bookmark, watchChanges, type ChangeFeed, type WatchEvent } from './watch.js';

/** What a watch is of. */
interface WatchRequest {
  readonly ctx: Context;
  readonly path: ResourcePath;
  readonly resource: Resource;
  readonly call: Call;
  readonly representation: Representation;
}

/** Where watches come from and when they end. */
interface WatchSurroundings {
  readonly feed: ChangeFeed;
  readonly stopping: AbortSignal;
}

/** Without a wish of the client, a watch ends after this long, and a bit; the client then goes on with a new one. */
const usualSeconds = 1800;
const maxSeconds = 24 * 3600;
/** A client that takes nothing for so long is gone, or will have to list again. */
const stallMs = 60_000;
const initialPage = 500;
const initialEventsEnd = { 'k8s.io/initial-events-end': 'true' };

/** Lines that were written for changes, by what they show: a thousand clients get the same. */
const written = new LRUCache<string, { readonly change: Change; readonly bytes: Buffer }>({
  maxSize: 32 * 1024 * 1024,
  sizeCalculation: ({ bytes }) => bytes.length + 200,
});

/** Answers with a stream of events, one JSON object on each line. */
export function sendWatch(
  { ctx, path, resource, call, representation }: WatchRequest,
  { feed, stopping }: WatchSurroundings,
  stillMay: () => Promise<boolean>,
): void {
  const source = resource.storage.watch;
  if (source === undefined) {
    throw new StatusError('MethodNotAllowed', `watch is not supported on resources of kind "${resource.plural}"`, {
      ...(resource.group !== '' && { group: resource.group }),
      kind: resource.plural,
    });
  }
  const query = listQueryOf(ctx, resource, path.name);
  const start = startOf(ctx);
  const bookmarks = flagOf(ctx, 'allowWatchBookmarks');
  const seconds = Math.min(numberOf(ctx, 'timeoutSeconds') ?? usualSeconds * (1 + Math.random()), maxSeconds);
  const untilMs = performance.now() + seconds * 1000;

  const ended = new AbortController();
  const end = () => {
    ended.abort();
  };
  stopping.addEventListener('abort', end, { once: true });
  if (stopping.aborted) end();
  ctx.res.once('close', end);
  ended.signal.addEventListener('abort', () => {
    stopping.removeEventListener('abort', end);
  });

  const selection = {
    source,
    namespace: call.namespace,
    matches: query.matches,
    visible: source.visible?.(call),
    show: source.show?.(call),
  };
  const sight = `${resource.group} ${resource.plural} ${representation.key} ${source.show === undefined ? '' : call.origin}`;
  let isFirst = true;
  const line = (event: WatchEvent, change?: Change): Buffer => {
    const write = () =>
      Buffer.from(
        `${JSON.stringify({
          type: event.type,
          object:
            event.type === 'BOOKMARK'
              ? bookmarkOf(event, resource)
              : representation.event(event.object, resource, new Date(), isFirst),
        })}\n`,
      );
    if (change === undefined || (isFirst && representation.key.startsWith('table'))) {
      const bytes = write();
      if (event.type !== 'BOOKMARK') isFirst = false;
      return bytes;
    }
    const key = `${change.version} ${event.type} ${sight}`;
    const known = written.get(key);
    // Two registries in one process have changes of the same version.
    if (known?.change === change) return known.bytes;
    const bytes = write();
    written.set(key, { change, bytes });
    return bytes;
  };

  async function* lines(): AsyncGenerator<Buffer> {
    try {
      let from = start.version;
      if (start.withInitial) {
        for await (const item of initialObjects(resource, call, query)) {
          if (typeof item === 'string') from = parseVersion(item)!;
          else yield line({ type: 'ADDED', object: item });
        }
        if (start.sendInitialEvents) yield line(bookmark(from!, initialEventsEnd));
      }
      const options = { from: from!, bookmarks, signal: ended.signal, untilMs, stillMay };
      for await (const told of watchChanges(feed, selection, options)) {
        const parts = told.map(({ event, change }) => line(event, change));
        yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      }
    } catch (error) {
      const known = toStatusError(error);
      if (known.reason === 'InternalError') ctx.app.emit('error', error, ctx);
      yield Buffer.from(`${JSON.stringify({ type: 'ERROR', object: known.toStatus() })}\n`);
    } finally {
      end();
    }
  }

  ctx.status = 200;
  ctx.set('Content-Type', 'application/json;stream=watch');
  ctx.set('Cache-Control', 'no-cache, private');
  if (ctx.method === 'HEAD') return;
  // Bytes that wait for a slow client are bounded by the buffer of the stream; the generator is not asked for more.
  const body = Readable.from(lines(), { objectMode: false, highWaterMark: 64 * 1024 });
  dropWhenStalled(ctx, body);
  // Clients wait for the head before they believe that they watch.
  ctx.flushHeaders();
  ctx.body = body;
}

/** Closes the connection of a client that takes nothing though there is something for it. */
function dropWhenStalled(ctx: Context, body: Readable): void {
  let written = 0;
  let stalledSince: number | undefined;
  const timer = setInterval(() => {
    const { socket } = ctx.req;
    const isStuck = socket.writableLength > 0 && socket.bytesWritten - socket.writableLength === written;
    written = socket.bytesWritten - socket.writableLength;
    if (!isStuck) stalledSince = undefined;
    else if (stalledSince === undefined) stalledSince = performance.now();
    else if (performance.now() - stalledSince > stallMs) socket.destroy();
  }, stallMs / 6);
  timer.unref();
  body.once('close', () => {
    clearInterval(timer);
  });
}

/** Where a watch begins. @throws {StatusError} BadRequest */
function startOf(ctx: Context): {
  readonly version: number | undefined;
  readonly withInitial: boolean;
  readonly sendInitialEvents: boolean;
} {
  const given = queryOf(ctx, 'resourceVersion') ?? '0';
  const version = parseVersion(given);
  if (version === undefined) throw badRequest(`resourceVersion ${JSON.stringify(given)} is none of this server`);
  const sendInitialEvents = flagOf(ctx, 'sendInitialEvents');
  if (sendInitialEvents && queryOf(ctx, 'resourceVersionMatch') !== 'NotOlderThan') {
    throw new StatusError('Invalid', 'sendInitialEvents needs resourceVersionMatch=NotOlderThan');
  }
  return { version, withInitial: sendInitialEvents || version === 0, sendInitialEvents };
}

/** The objects as they are now, page by page; at the end the version from which to go on. */
async function* initialObjects(resource: Resource, call: Call, query: ListQuery) {
  let position: string | undefined;
  let version: string | undefined;
  for (;;) {
    const list = await resource.storage.list!(call, { ...query, limit: initialPage, continue: position });
    if (!('items' in list)) throw new StatusError('MethodNotAllowed', `${resource.plural} cannot be watched`, {});
    version ??= list.resourceVersion;
    yield* list.items;
    position = list.continue;
    if (position === undefined) break;
  }
  yield version;
}

function bookmarkOf({ object }: WatchEvent, resource: Resource): object {
  return {
    kind: resource.kind,
    apiVersion: resource.group === '' ? resource.version : `${resource.group}/${resource.version}`,
    ...object,
  };
}
