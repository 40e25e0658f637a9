#!/bin/sh
# Azure's SDKs read a client's secret from the environment only, and containers are given it as a file.
set -eu

if [ -n "${AZURE_CLIENT_SECRET_FILE:-}" ]; then
  AZURE_CLIENT_SECRET=$(cat "$AZURE_CLIENT_SECRET_FILE")
  export AZURE_CLIENT_SECRET
fi
exec "$@"
