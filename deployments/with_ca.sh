#!/bin/sh
# Runs a command of the image's build. If the build was given the secret "ca", pip and uv trust the authorities in it.
set -eu

ca=/run/secrets/ca
if [ -s "$ca" ]; then
  export SSL_CERT_FILE="$ca" PIP_CERT="$ca"
fi
exec "$@"
