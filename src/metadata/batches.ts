/** Databases bind a limited number of values to one statement, so long lists go in batches. */
export function* inBatches<T>(values: Iterable<T>, size = 500): Generator<T[]> {
  let batch: T[] = [];
  for (const value of values) {
    batch.push(value);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
