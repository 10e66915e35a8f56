#!/bin/sh
# make-env.sh: writes deploy/.env for compose.yaml, with secrets that nobody else has. Keep a copy of it: without
# WEIR_SECRETS_KEYS a backup of the database cannot be used.
set -eu
umask 077
file=$(cd "$(dirname "$0")" && pwd)/.env
if [ -e "$file" ]; then
  echo "$file is there already" >&2
  exit 1
fi
word() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
cat > "$file" <<END
WEIR_PUBLIC_URL=http://localhost:8080
WEIR_ADMIN_PASSWORD=$(word)
WEIR_SECRETS_KEYS=$(head -c 32 /dev/urandom | base64)
POSTGRES_PASSWORD=$(word)
S3_ACCESS_KEY=weir
S3_SECRET_KEY=$(word)
END
echo "wrote $file"
