#!/bin/sh
# What is read from the environment alone, by Azure's SDKs and by Prefect, containers are given as a file: NAME_FILE.
set -eu

for name in AZURE_CLIENT_SECRET PREFECT_API_AUTH_STRING PREFECT_SERVER_API_AUTH_STRING PREFECT_SERVER_ENCRYPTION_KEY \
  PREFECT_SERVER_DATABASE_CONNECTION_URL KEYTURN_LEDGER_WITNESSES; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  if [ ! -r "$file" ]; then
    echo "entrypoint: ${name}_FILE names $file, which is not there or can't be read by the user $(id -u)" >&2
    exit 1
  fi
  export "$name=$(cat "$file")"
done
# libpq reads no password file that a group may read, which is how Kubernetes mounts one: it is given a copy of its own.
if [ -r "${PGPASSFILE:-}" ] && [ ! -O "$PGPASSFILE" ]; then
  copy=$(mktemp)
  cat "$PGPASSFILE" >"$copy"
  export PGPASSFILE="$copy"
fi
exec "$@"
