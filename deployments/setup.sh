#!/usr/bin/env bash
# Makes the virtual environment, from hashed locks alone, and brings it up to date when a lock has changed.
# Usage: deployments/setup.sh [DIRECTORY], by default .venv; KEYTURN_PYTHON names a Python to use.
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${1:-.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
stamp=$venv/.keyturn-setup

fail() {
  printf 'setup: %s\n' "$1" >&2
  exit 1
}

# A name on the PATH need not run, as with version managers, so each is asked.
new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local name
  for name in ${KEYTURN_PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if new_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Whether the environment is one that was made in this place: its programs know where they are.
usable() {
  grep -q " $venv\$" "$venv/pyvenv.cfg" 2>/dev/null && new_enough "$venv/bin/python" &&
    "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

# All that decides what the environment holds.
fingerprint() {
  {
    echo "$venv"
    "$venv/bin/python" --version
    cat requirements.lock requirements-setup.txt pyproject.toml deployments/setup.sh
  } | cksum
}

up_to_date() {
  [[ -x $venv/bin/python && -f $stamp ]] && [[ $(fingerprint) == "$(<"$stamp")" ]]
}

make_environment() {
  local python
  python=$(find_python) || fail "Python 3.11 or newer is needed, and none was found${KEYTURN_PYTHON:+ at $KEYTURN_PYTHON}.
On Debian and Ubuntu: apt-get install python3 python3-venv"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python can't make virtual environments.
On Debian and Ubuntu: apt-get install python3-venv"
  "$python" -m venv --clear "$venv"
}

pip_setting() {
  "$venv/bin/python" -m pip config get ":env:.$1" 2>/dev/null || "$venv/bin/python" -m pip config get "global.$1" 2>/dev/null
}

# uv has settings of its own; where only pip is set up, as on machines with an index of their own, it follows pip.
follow_pip() {
  local value
  if [[ -z ${!2:-} ]] && value=$(pip_setting "$1"); then
    export "$2=$(paste -sd "$3" <<<"$value")"
  fi
}

install() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.txt
  [[ -n ${UV_INDEX_URL:-} ]] || follow_pip index-url UV_DEFAULT_INDEX ' '
  [[ -n ${UV_EXTRA_INDEX_URL:-} ]] || follow_pip extra-index-url UV_INDEX ' '
  follow_pip find-links UV_FIND_LINKS ','
  follow_pip cert SSL_CERT_FILE ' '
  # pip trusts the authorities that the system trusts; uv does so when told.
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}
  "$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes -r requirements.lock
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
}

if up_to_date; then
  exit 0
fi
if ! usable; then
  echo "setup: making $venv"
  make_environment
fi
echo "setup: installing what requirements.lock names into $venv"
install
fingerprint >"$stamp"
