// node copy-sqlite.mjs FROM TO LOCATIONS: copies the SQLite file of a registry that runs, as it is at one moment, and writes the
// locations of all its blobs, one a line. Needs no program but Node, because Weir brings SQLite along.
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import SqliteDatabase from 'better-sqlite3';

const [from, to, locations] = process.argv.slice(2);
if (locations === undefined) {
  process.stderr.write('usage: node copy-sqlite.mjs FROM TO LOCATIONS\n');
  process.exit(2);
}

// One read transaction, whatever is written meanwhile. SQLite's own backup would begin anew after each commit of others.
const source = new SqliteDatabase(from, { readonly: true, fileMustExist: true });
source.pragma('busy_timeout = 30000');
source.prepare('vacuum into ?').run(to);
source.close();

const copy = new SqliteDatabase(to);
// Their bytes are not copied: whoever was pushing begins again.
copy.exec('delete from upload');
const rows = copy.prepare('select location from blob').pluck().all();
copy.close();
writeFileSync(locations, rows.map((location) => `${location}\n`).join(''));

for (const path of [to, locations]) {
  const file = openSync(path, 'r');
  fsyncSync(file);
  closeSync(file);
}
