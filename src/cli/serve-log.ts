import { pino, type Logger } from 'pino';
import type { Config } from '../config.js';

/** As POSIX has it at least: what several processes write into a pipe at once is not mixed when each piece is no longer. */
const atomicBytes = 4096;

/** The log of a process that serves. */
export interface ServeLog {
  readonly log: Logger;
  /** Resolves when all of it is written. */
  readonly close: () => Promise<void>;
}

/**
 * Opens a log on standard error. Lines are collected and written in the background: they must not hold up an answer.
 *
 * @param worker the number of this process when several share standard error; every line says it
 */
export function openServeLog({ logLevel }: Pick<Config, 'logLevel'>, worker?: number): ServeLog {
  const collected =
    worker === undefined ? { minLength: 16_000 } : { minLength: atomicBytes - 500, maxWrite: atomicBytes };
  const log = pino(
    { level: logLevel, base: worker === undefined ? null : { worker } },
    pino.destination({ dest: 2, sync: false, ...collected }),
  );
  const flush = setInterval(() => {
    log.flush();
  }, 1000).unref();
  return {
    log,
    close: async () => {
      clearInterval(flush);
      await new Promise((resolve) => {
        log.flush(resolve);
      });
    },
  };
}
