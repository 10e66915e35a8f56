// Another process at the same SQLite file: reads a number and writes the next one, each time in a transaction of its own.
import SqliteDatabase from 'better-sqlite3';

const [path, times] = process.argv.slice(2);
const db = new SqliteDatabase(path, { timeout: 10_000 });
const next = db.transaction(() => {
  const { size } = db.prepare("select size from blob where digest = 'counter'").get();
  db.prepare("update blob set size = ? where digest = 'counter'").run(size + 1);
});
process.stdout.write('ready\n');
for (let count = 0; count < Number(times); count += 1) next.immediate();
db.close();
