/** Works on what a generator gives, so many at a time. After the first failure nothing more is begun. */
export async function inLanes<T>(
  lanes: number,
  items: AsyncGenerator<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const lane = async () => {
    try {
      for (let next = await items.next(); next.done !== true; next = await items.next()) {
        if (failures.length > 0) return;
        await work(next.value);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  if (failures.length > 0) throw failures[0];
}
