#!/bin/sh
# Copies a registry to a folder while it runs and is being pushed to.
#
#   backup.sh TARGET
#
# It is told where the registry is by the variables that the registry itself is told by (WEIR_DATA_DIR, WEIR_DATABASE_URL,
# WEIR_BLOBSTORE_…), and needs Node.js, this folder beside Weir's node_modules, and pg_dump for PostgreSQL. TARGET becomes
#
#   blobs/, objects/        bytes from the data folder and from the bucket; shared by all backups, only ever added to
#   databases/<time>/       one backup: the database, the names of the bytes it needs, and keys from the data folder
#
# The order makes the two one consistent pair, although nothing is stopped:
#   1. All bytes that are not in TARGET yet. They never change, and this is what takes long.
#   2. The database, as it is at one moment. Whatever it knows of was written before its row, so it is there by now.
#   3. The bytes that came during 1 and 2. They are younger than collection.graceSeconds, so nobody has collected them; what
#      is older and was collected meanwhile came with 1.
# Hence the one condition: all of it takes less than collection.graceSeconds (a day). Uploads that are not finished are left out.
set -eu
umask 077

target=${1:?usage: backup.sh TARGET}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/registry.sh"

copy_blobs() {
  if [ -d "$data/blobs" ]; then "$node" "$here/copy-blobs.mjs" "$data/blobs" "$target/blobs"; fi
  if [ -n "$bucket" ]; then "$node" "$here/copy-blobs.mjs" "$bucket" "$target/objects"; fi
}

name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
partial="$target/databases/.$name.partial"
started=$(date +%s)
mkdir -p "$partial/files"

copy_blobs

if [ -n "$postgres" ]; then
  pg_dump --format=custom --no-owner --no-privileges --exclude-table-data=upload --file="$partial/weir.dump" "$postgres"
  pg_restore --data-only --table=blob --file=- "$partial/weir.dump" | awk -F '\t' '
    /^COPY / {
      columns = $0
      sub(/^[^(]*\(/, "", columns)
      sub(/\).*$/, "", columns)
      count = split(columns, names, ", ")
      for (i = 1; i <= count; i++) if (names[i] == "location") column = i
      next
    }
    /^\\\.$/ { column = 0 }
    column { print $column }' > "$partial/locations"
else
  "$node" "$here/copy-sqlite.mjs" "$data/weir.sqlite" "$partial/weir.sqlite" "$partial/locations"
fi

copy_blobs

# The keys and the certificate authority of a data folder. Replicas keep theirs in the database.
for file in keys tls admin-password; do
  if [ -e "$data/$file" ]; then cp -Rp "$data/$file" "$partial/files/"; fi
done

took=$(($(date +%s) - started))
grace=${WEIR_COLLECTION_GRACE_SECONDS:-86400}
if [ "$took" -ge "$grace" ]; then
  echo "backup.sh: this took $took s, and collection.graceSeconds is $grace: bytes may have been collected before they were" \
    "copied. Run it again: most bytes are in $target by now." >&2
  exit 1
fi
sync
mv "$partial" "$target/databases/$name"
sync
echo "$target/databases/$name: $(wc -l < "$target/databases/$name/locations" | tr -d ' ') blobs, $took s"
