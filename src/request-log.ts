import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Context, Middleware } from 'koa';
import type { Logger } from 'pino';
import type { Principal } from './auth/principal.js';
import type { Metrics } from './metrics.js';

/**
 * Logs and counts every request when its answer has gone out. The path is named by its pattern and its repository; the
 * query and the headers, which may hold secrets, are never written.
 */
export function requestLog(log: Logger, metrics: Metrics): Middleware {
  // What earlier requests on a connection were counted for: when a handler runs, its request has been read in part.
  const counted = new WeakMap<Socket, { readonly bytesRead: number; readonly bytesWritten: number }>();
  return async (ctx, next) => {
    const began = process.hrtime.bigint();
    const { socket } = ctx.req;
    const { bytesRead, bytesWritten } = counted.get(socket) ?? { bytesRead: 0, bytesWritten: 0 };
    const id = randomUUID();
    ctx.state['requestId'] = id;
    ctx.set('X-Request-Id', id);
    ctx.res.once('close', () => {
      const seconds = Number(process.hrtime.bigint() - began) / 1e9;
      const route = matchedRoute(ctx);
      const code = ctx.res.statusCode;
      const received = socket.bytesRead - bytesRead;
      const sent = socket.bytesWritten - bytesWritten;
      counted.set(socket, { bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten });
      metrics.requests.inc({ method: ctx.method, route, code });
      metrics.requestSeconds.observe({ method: ctx.method, route }, seconds);
      metrics.receivedBytes.inc(Math.max(received, 0));
      metrics.sentBytes.inc(Math.max(sent, 0));
      log.info({
        id,
        method: ctx.method,
        route,
        repository: (ctx['params'] as Record<string, string> | undefined)?.['name']?.slice(0, 300),
        principal: (ctx.state['principal'] as Principal | undefined)?.name,
        code,
        received,
        sent,
        ms: Math.round(seconds * 1e6) / 1e3,
        ...(ctx.res.writableFinished ? {} : { aborted: true }),
      });
    });
    await next();
  };
}

function matchedRoute(ctx: Context): string {
  const route: unknown = (ctx as unknown as Record<string, unknown>)['_matchedRoute'];
  return typeof route === 'string' ? route : 'none';
}
