import type { Compilable, CompiledQuery } from 'kysely';
import type { Database } from './schema.js';

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
 * shows in the few queries that every pull makes.
 *
 * @param build makes the query; `parameter(name)` stands where the value of that name will be
 */
export function compileQuery<Row, Values extends object>(
  db: Database,
  build: (parameter: <Name extends keyof Values & string>(name: Name) => Values[Name]) => Compilable<Row>,
): RunQuery<Row, Values> {
  const compiled = build((name) => new Parameter(name) as never).compile();
  return async (values) => {
    const parameters = compiled.parameters.map((parameter) =>
      parameter instanceof Parameter ? values[parameter.name as keyof Values] : parameter,
    );
    const query: CompiledQuery<Row> = { ...compiled, parameters };
    return (await db.executeQuery(query)).rows[0];
  };
}
