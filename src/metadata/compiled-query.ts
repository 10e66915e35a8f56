import type { Compilable, CompiledQuery } from 'kysely';
import type { Database } from './schema.js';

/** Prepares a query for one row past Kysely, whose executor costs more than a look-up by key does. */
export type PrepareRead = (sql: string) => (parameters: readonly unknown[]) => unknown;

const directReads = new WeakMap<Database, PrepareRead>();

/** Lets an adapter answer compiled queries itself, from a connection that sees only what is committed. */
export function offerDirectReads(db: Database, prepare: PrepareRead): void {
  directReads.set(db, prepare);
}

/** Stands for a value that is known only when the query runs. */
class Parameter {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** The same query with other values, again and again. */
export type RunQuery<Row, Values> = (values: Values) => Promise<Row | undefined>;

/**
 * Compiles a query for one row once. Building and compiling one costs several times what a look-up by key does, which
 * shows in the few queries that every pull makes. It sees what is committed, and does not wait for a transaction.
 *
 * @param build makes the query; `parameter(name)` stands where the value of that name will be
 */
export function compileQuery<Row, Values extends object>(
  db: Database,
  build: (parameter: <Name extends keyof Values & string>(name: Name) => Values[Name]) => Compilable<Row>,
): RunQuery<Row, Values> {
  const compiled = build((name) => new Parameter(name) as never).compile();
  const bind = (values: Values) =>
    compiled.parameters.map((parameter) =>
      parameter instanceof Parameter ? values[parameter.name as keyof Values] : parameter,
    );
  const read = directReads.get(db)?.(compiled.sql);
  if (read !== undefined) return (values) => Promise.resolve(read(bind(values)) as Row | undefined);
  return async (values) => {
    const query: CompiledQuery<Row> = { ...compiled, parameters: bind(values) };
    return (await db.executeQuery(query)).rows[0];
  };
}
