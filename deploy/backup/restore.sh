#!/bin/sh
# Makes a registry from what backup.sh has copied.
#
#   restore.sh TARGET [NAME]
#
# NAME is one of TARGET/databases, the newest when it is left out. The variables say where the registry is to be, as with
# backup.sh. Nothing may be there: a database with tables, or a data folder with a database, is refused. Only the bytes that
# this database needs are copied, and before it: a restore that was cut off is begun again, and is not taken for a registry.
set -eu
umask 077

target=${1:?usage: restore.sh TARGET [NAME]}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/registry.sh"

# Names are times, so the last is the newest; unfinished backups begin with a dot and are not listed.
name=${2:-$(ls "$target/databases" | sort | tail -n 1)}
backup="$target/databases/$name"
if [ -z "$name" ] || [ ! -f "$backup/locations" ]; then
  echo "restore.sh: there is no backup in $target/databases" >&2
  exit 1
fi

if [ -n "$postgres" ]; then
  if [ ! -f "$backup/weir.dump" ]; then
    echo "restore.sh: $backup is of SQLite; restore it there, and then move with: weir db move --to postgres://..." >&2
    exit 1
  fi
  tables=$(psql --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$postgres" \
    --command="select count(*) from information_schema.tables where table_schema = current_schema()")
  if [ "$tables" != 0 ]; then
    echo "restore.sh: the database has $tables tables; give WEIR_DATABASE_URL of an empty one" >&2
    exit 1
  fi
elif [ ! -f "$backup/weir.sqlite" ]; then
  echo "restore.sh: $backup is of PostgreSQL; set WEIR_DATABASE_URL" >&2
  exit 1
elif [ -e "$data/weir.sqlite" ]; then
  echo "restore.sh: there is a registry in $data" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -v '^s3:' "$backup/locations" > "$work/blobs" || true
sed -n 's/^s3://p' "$backup/locations" > "$work/objects"

mkdir -p "$data"
if [ -s "$work/blobs" ]; then "$node" "$here/copy-blobs.mjs" "$target/blobs" "$data/blobs" "$work/blobs"; fi
if [ -s "$work/objects" ]; then
  if [ -z "$bucket" ]; then
    echo "restore.sh: $backup has bytes from a bucket; set WEIR_BLOBSTORE_S3_BUCKET" >&2
    exit 1
  fi
  "$node" "$here/copy-blobs.mjs" "$target/objects" "$bucket" "$work/objects"
fi
for file in "$backup"/files/*; do
  if [ -e "$file" ]; then cp -Rp "$file" "$data/"; fi
done

if [ -n "$postgres" ]; then
  pg_restore --no-owner --no-privileges --single-transaction --exit-on-error --dbname="$postgres" "$backup/weir.dump"
else
  rm -f "$data/weir.sqlite.restoring"
  cp "$backup/weir.sqlite" "$data/weir.sqlite.restoring"
  sync
  mv "$data/weir.sqlite.restoring" "$data/weir.sqlite"
fi
sync
echo "restored $backup; check it with: weir fsck"
