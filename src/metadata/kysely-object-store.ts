import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely, Transaction } from 'kysely';
import { appendChange, nextVersion } from './change-log.js';
import { compileQuery, type RunQuery } from './compiled-query.js';
import {
  namespacesResource,
  parseVersion,
  type ApiObject,
  type Change,
  type CommitResult,
  type ObjectKey,
  type ObjectPage,
  type ObjectQuery,
  type ObjectStore,
  type ObjectWrite,
  type WriteRefusal,
} from './object-store.js';
import { projectRange, stateOfNamespace } from './repository-rows.js';
import type { ChangeTable, Database, ObjectTable, Schema } from './schema.js';

const expiredAtOnce = 500;

/** For how long those who wait for nothing that comes go by a version that was read, in milliseconds. */
const versionMs = 500;

/** A version that was read, or is being read. */
interface VersionReading {
  /** When it was asked for. */
  readonly moment: number;
  /** By `performance.now()`. */
  readonly at: number;
  readonly version: Promise<number>;
}

/** Ends a transaction whose writes cannot be. */
class Refused extends Error {
  override readonly name = 'Refused';
  readonly reason: WriteRefusal;
  constructor(reason: WriteRefusal) {
    super(reason);
    this.reason = reason;
  }
}

/** Someone who waits for a change. */
interface Waiting {
  /** The version they know. */
  readonly after: number;
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly wake: () => void;
}

/** ObjectStore in SQL. */
export class KyselyObjectStore implements ObjectStore {
  readonly #db: Database;
  readonly #now: () => Date;
  readonly #findRow: RunQuery<ObjectTable, ObjectKey>;
  readonly #readVersion: RunQuery<{ value: number }, object>;
  readonly #readPruned: RunQuery<{ value: number }, object>;
  readonly #lastChange: RunQuery<{ version: number | null }, { resource: string }>;
  readonly #pollMs: number;
  readonly #waiting = new Set<Waiting>();
  #polling = false;
  /** Grows with every request that comes and every commit that is heard of. */
  #moment = 0;
  #reading: VersionReading | undefined;
  /** Without, nothing that was read is used again. */
  #hearsArrivals = false;
  /** The versions of the last changes of resources, as of a version. */
  #lastChanges: { readonly version: number; readonly of: Map<string, number> } = { version: -1, of: new Map() };

  /** @param pollMs how long a change that another process made may stay unseen by those who wait, when nobody announces it */
  constructor(db: Database, now: () => Date = () => new Date(), pollMs = 100) {
    this.#db = db;
    this.#now = now;
    this.#pollMs = pollMs;
    this.#findRow = compileQuery(db, (parameter) =>
      db
        .selectFrom('object')
        .selectAll()
        .where('resource', '=', parameter('resource'))
        .where('namespace', '=', parameter('namespace'))
        .where('name', '=', parameter('name')),
    );
    this.#readVersion = compileQuery(db, () =>
      db.selectFrom('sequence').select('value').where('name', '=', 'resource_version'),
    );
    this.#readPruned = compileQuery(db, () =>
      db.selectFrom('sequence').select('value').where('name', '=', 'pruned_through'),
    );
    this.#lastChange = compileQuery(db, (parameter) =>
      db
        .selectFrom('change')
        .select(({ fn }) => fn.max('version').as('version'))
        .where('resource', '=', parameter('resource')),
    );
  }

  async find(key: ObjectKey): Promise<ApiObject | undefined> {
    const row = await this.#findRow({ resource: key.resource, namespace: key.namespace, name: key.name });
    if (row === undefined || (row.expires_at !== null && row.expires_at <= this.#now().getTime())) return undefined;
    return toObject(row.body, row.version);
  }

  async list({ resource, namespace, lookup, limit, after }: ObjectQuery): Promise<ObjectPage> {
    const now = this.#now().getTime();
    // The version is read first: what is committed in between shows both in the list and after its version.
    const version = await this.currentVersion();
    const rows = await this.#db
      .selectFrom('object')
      .select(['object.body', 'object.version'])
      .$if(lookup !== undefined, (query) =>
        query
          .innerJoin('object_lookup', (join) =>
            join
              .onRef('object_lookup.resource', '=', 'object.resource')
              .onRef('object_lookup.namespace', '=', 'object.namespace')
              .onRef('object_lookup.name', '=', 'object.name'),
          )
          .where('object_lookup.resource', '=', resource)
          .where('object_lookup.value', '=', lookup!),
      )
      .where('object.resource', '=', resource)
      .$if(namespace !== undefined, (query) => query.where('object.namespace', '=', namespace!))
      .$if(after !== undefined, (query) =>
        query.where((where) =>
          where.eb(where.refTuple('object.namespace', 'object.name'), '>', where.tuple(after!.namespace, after!.name)),
        ),
      )
      .where((where) => where.or([where.eb('object.expires_at', 'is', null), where.eb('object.expires_at', '>', now)]))
      .orderBy('object.namespace')
      .orderBy('object.name')
      .limit(limit + 1)
      .execute();
    return {
      objects: rows.slice(0, limit).map((row) => toObject(row.body, row.version)),
      version,
      isLast: rows.length <= limit,
    };
  }

  async commit(writes: readonly ObjectWrite[]): Promise<CommitResult> {
    const at = this.#now().getTime();
    let index = 0;
    try {
      const objects = await this.#db.transaction().execute(async (tx) => {
        const written: ApiObject[] = [];
        for (const write of writes) {
          index = written.length;
          written.push(await this.#write(tx, write, at));
        }
        return written;
      });
      this.#wake(Number.MAX_SAFE_INTEGER);
      return { kind: 'committed', objects };
    } catch (error) {
      if (error instanceof Refused) return { kind: 'refused', reason: error.reason, index };
      throw error;
    }
  }

  /**
   * Not asked again while no request has come since that was: whatever was acknowledged before a request came is seen by all
   * that it asks.
   */
  currentVersion(): Promise<number> {
    const reading = this.#reading;
    const isGood =
      this.#hearsArrivals && reading?.moment === this.#moment && performance.now() - reading.at < versionMs;
    return isGood ? reading.version : this.#askVersion();
  }

  /** Says that a request has come, which sees all that was committed before. */
  arrive(): void {
    this.#hearsArrivals = true;
    this.#moment += 1;
  }

  #askVersion(): Promise<number> {
    const version = this.#readVersion({}).then((row) => row?.value ?? 0);
    const reading = { moment: this.#moment, at: performance.now(), version };
    this.#reading = reading;
    version.catch(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    return version;
  }

  async lastChangeOf(resources: readonly string[]): Promise<number> {
    const version = await this.currentVersion();
    // Asked at every request, and mostly nothing has changed since.
    if (this.#lastChanges.version !== version) this.#lastChanges = { version, of: new Map() };
    const { of: known } = this.#lastChanges;
    let last = 0;
    for (const resource of resources) {
      let change = known.get(resource);
      if (change === undefined) {
        change = (await this.#lastChange({ resource }))?.version ?? 0;
        known.set(resource, change);
      }
      last = Math.max(last, change);
    }
    return last === 0 ? ((await this.#readPruned({}))?.value ?? 0) : last;
  }

  async readChanges(
    after: number,
    { resource, limit }: { readonly resource?: string; readonly limit: number },
  ): Promise<{ readonly changes: readonly Change[]; readonly through: number } | undefined> {
    const reading = this.#db.transaction().setAccessMode('read only');
    return reading.execute(async (tx) => {
      const sequences = await tx.selectFrom('sequence').select(['name', 'value']).execute();
      const valueOf = (name: string) => sequences.find((row) => row.name === name)?.value ?? 0;
      if (after < valueOf('pruned_through')) return undefined;
      const rows = await tx
        .selectFrom('change')
        .selectAll()
        .where('version', '>', after)
        .$if(resource !== undefined, (query) => query.where('resource', '=', resource!))
        .orderBy('version')
        .limit(limit)
        .execute();
      const through = rows.length < limit ? valueOf('resource_version') : rows.at(-1)!.version;
      return { changes: rows.map(toChange), through };
    });
  }

  /** Lets those who wait look: something else, here or in another process, wrote lines of the change log. */
  announce(): void {
    this.#wake(Number.MAX_SAFE_INTEGER);
  }

  async waitForChange(
    after: number,
    { signal, withinMs = Infinity }: { readonly signal: AbortSignal; readonly withinMs?: number },
  ): Promise<void> {
    if ((await this.currentVersion()) > after || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const entry: Waiting = {
        after,
        until: performance.now() + withinMs,
        wake: () => {
          this.#waiting.delete(entry);
          signal.removeEventListener('abort', entry.wake);
          resolve();
        },
      };
      this.#waiting.add(entry);
      signal.addEventListener('abort', entry.wake, { once: true });
      void this.#poll();
    });
  }

  async pruneChanges(before: Date): Promise<number> {
    return this.#db.transaction().execute(async (tx) => {
      const last = await tx
        .selectFrom('change')
        .select(({ fn }) => fn.max<number | null>('version').as('version'))
        .where('at', '<', before.getTime())
        .executeTakeFirstOrThrow();
      if (last.version === null) return 0;
      await tx
        .updateTable('sequence')
        .set({ value: last.version })
        .where('name', '=', 'pruned_through')
        .where('value', '<', last.version)
        .execute();
      const { numDeletedRows } = await tx.deleteFrom('change').where('version', '<=', last.version).executeTakeFirst();
      return Number(numDeletedRows);
    });
  }

  async removeInNamespace(
    namespace: string,
    { limit, except = [] }: { readonly limit: number; readonly except?: readonly string[] },
  ): Promise<number> {
    // The empty name is that of everything in no namespace.
    if (namespace === '') return 0;
    const at = this.#now().getTime();
    const count = await this.#db.transaction().execute(async (tx) => {
      let removed = 0;
      for (const { resource } of await distinctResources(tx)) {
        if (removed === limit) break;
        if (except.includes(resource)) continue;
        const rows = await tx
          .selectFrom('object')
          .select('name')
          .where('resource', '=', resource)
          .where('namespace', '=', namespace)
          .orderBy('name')
          .limit(limit - removed)
          .execute();
        for (const { name } of rows) await this.#remove(tx, { kind: 'remove', resource, namespace, name }, at);
        removed += rows.length;
      }
      return removed;
    });
    if (count > 0) this.#wake(Number.MAX_SAFE_INTEGER);
    return count;
  }

  async removeExpired(now: Date): Promise<number> {
    const rows = await this.#db
      .selectFrom('object')
      .select(['resource', 'namespace', 'name', 'uid'])
      .where('expires_at', '<=', now.getTime())
      .limit(expiredAtOnce)
      .execute();
    if (rows.length === 0) return 0;
    let count = 0;
    for (const row of rows) {
      // One by one: another process may be at it too, and what is gone already must not keep the rest.
      const result = await this.commit([{ kind: 'remove', ...row }]);
      if (result.kind === 'committed') count += 1;
    }
    return count;
  }

  async #write(tx: Transaction<Schema>, write: ObjectWrite, at: number): Promise<ApiObject> {
    if (write.kind === 'remove') return this.#remove(tx, write, at);
    const { resource, object } = write;
    const { name, namespace = '', uid } = object.metadata;
    const key: ObjectKey = { resource, namespace, name };
    let existing = await findRow(tx, key);
    if (existing?.expires_at !== null && existing !== undefined && existing.expires_at <= at) {
      await this.#remove(tx, { kind: 'remove', ...key }, at);
      existing = undefined;
    }
    if (write.kind === 'create') {
      if (existing !== undefined) throw new Refused('exists');
      if (namespace !== '') {
        const state = await stateOfNamespace(tx, namespace);
        if (state !== 'active') throw new Refused(`namespace-${state}`);
      }
    } else {
      if (existing === undefined) throw new Refused('absent');
      const from = parseVersion(object.metadata.resourceVersion ?? '');
      if (existing.version !== from || existing.uid !== uid) throw new Refused('conflict');
    }
    const body = toBody(object);
    const version = await nextVersion(tx);
    const expires_at = write.expiresAt?.getTime() ?? null;
    await tx
      .insertInto('object')
      .values({ ...key, uid, version, expires_at, body })
      .onConflict((conflict) =>
        conflict.columns(['resource', 'namespace', 'name']).doUpdateSet({ version, expires_at, body }),
      )
      .execute();
    await tx
      .deleteFrom('object_lookup')
      .where('resource', '=', resource)
      .where('namespace', '=', namespace)
      .where('name', '=', name)
      .execute();
    const lookups = [...new Set(write.lookups ?? [])];
    for (const value of lookups) {
      await tx
        .insertInto('object_lookup')
        .values({ ...key, value })
        .execute();
    }
    const kind = existing === undefined ? 'ADDED' : 'MODIFIED';
    await appendChange(tx, { version, ...key, kind, body, previous: existing?.body ?? null, at });
    return toObject(body, version);
  }

  async #remove(
    tx: Transaction<Schema>,
    write: Extract<ObjectWrite, { kind: 'remove' }>,
    at: number,
  ): Promise<ApiObject> {
    const { resource, namespace, name } = write;
    const existing = await findRow(tx, { resource, namespace, name });
    if (existing === undefined) throw new Refused('absent');
    if (write.uid !== undefined && write.uid !== existing.uid) throw new Refused('conflict');
    if (write.version !== undefined && parseVersion(write.version) !== existing.version) throw new Refused('conflict');
    if (resource === namespacesResource && (await isInUse(tx, name))) throw new Refused('namespace-in-use');
    await tx
      .deleteFrom('object')
      .where('resource', '=', resource)
      .where('namespace', '=', namespace)
      .where('name', '=', name)
      .execute();
    const version = await nextVersion(tx);
    const { body } = existing;
    await appendChange(tx, { version, resource, namespace, name, kind: 'DELETED', body, previous: body, at });
    return toObject(existing.body, version);
  }

  /** Wakes those who know less than a version, and those who have waited long enough. */
  #wake(version: number): void {
    this.#moment += 1;
    const now = performance.now();
    for (const entry of [...this.#waiting]) if (entry.after < version || entry.until <= now) entry.wake();
  }

  /** Looks for what other processes have committed, for as long as somebody waits. */
  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    try {
      while (this.#waiting.size > 0) {
        await sleep(this.#pollMs, undefined, { ref: false });
        if (this.#waiting.size > 0) this.#wake(await this.#askVersion());
      }
    } catch {
      // The database does not answer or is closed: those who wait find out when they read.
      this.#wake(Number.MAX_SAFE_INTEGER);
    } finally {
      this.#polling = false;
    }
  }
}

function findRow(tx: Kysely<Schema>, { resource, namespace, name }: ObjectKey): Promise<ObjectTable | undefined> {
  return tx
    .selectFrom('object')
    .selectAll()
    .where('resource', '=', resource)
    .where('namespace', '=', namespace)
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Whether a namespace still holds an object or a repository. */
async function isInUse(tx: Transaction<Schema>, namespace: string): Promise<boolean> {
  const [from, to] = projectRange(namespace);
  const repository = await tx
    .selectFrom('repository')
    .select('id')
    .where('name', '>=', from)
    .where('name', '<', to)
    .limit(1)
    .executeTakeFirst();
  if (repository !== undefined) return true;
  for (const { resource } of await distinctResources(tx)) {
    const object = await tx
      .selectFrom('object')
      .select('name')
      .where('resource', '=', resource)
      .where('namespace', '=', namespace)
      .limit(1)
      .executeTakeFirst();
    if (object !== undefined) return true;
  }
  return false;
}

/** A loose index scan: one step for each resource, whatever the number of objects. */
async function distinctResources(tx: Transaction<Schema>): Promise<{ readonly resource: string }[]> {
  const found: { resource: string }[] = [];
  for (;;) {
    const next = await tx
      .selectFrom('object')
      .select('resource')
      .where('resource', '>', found.at(-1)?.resource ?? '')
      .orderBy('resource')
      .limit(1)
      .executeTakeFirst();
    if (next === undefined) return found;
    found.push(next);
  }
}

function toBody(object: ApiObject): string {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...fields } = object;
  const { resourceVersion: _resourceVersion, ...kept } = metadata;
  return JSON.stringify({ metadata: kept, ...fields });
}

function toObject(body: string, version: number): ApiObject {
  const { metadata, ...fields } = JSON.parse(body) as ApiObject;
  return { metadata: { ...metadata, resourceVersion: String(version) }, ...fields };
}

function toChange({ version, resource, kind, body, previous }: ChangeTable): Change {
  return {
    version,
    resource,
    kind,
    object: toObject(body, version),
    previous: previous === null ? undefined : toObject(previous, version),
  };
}
