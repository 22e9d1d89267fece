#!/usr/bin/env bash
# find_python.sh: print the newest of python3.13, 3.12, 3.11 that really runs: a version manager's shim on the PATH may not.
# find_python.sh PYTHON: print PYTHON if it will do; else one line says why not.
set -u

if [[ $# -gt 0 ]]; then
  if ! command -v "$1" >/dev/null; then
    echo "error: PYTHON=$1: there is no such program" >&2
  elif ! version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    echo "error: PYTHON=$1 does not run" >&2
  elif [[ ! $version =~ ^[0-9]+[.][0-9]+$ || ${version%.*} -lt 3 || (${version%.*} -eq 3 && ${version#*.} -lt 11) ]]; then
    echo "error: PYTHON=$1 is Python $version; 3.11 or newer is needed" >&2
  elif ! "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "error: PYTHON=$1 lacks venv or ensurepip: install them (Debian, Ubuntu: python$version-venv), or name another" >&2
  else
    command -v "$1"
    exit 0
  fi
  exit 1
fi
for version in 3.13 3.12 3.11; do
  for candidate in $(type -aP "python$version" 2>/dev/null); do
    if "$candidate" -c "import sys, venv, ensurepip; assert sys.version_info[:2] == tuple(map(int, '$version'.split('.')))" >/dev/null 2>&1; then
      echo "$candidate"
      exit 0
    fi
  done
done
if python3 -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' >/dev/null 2>&1; then
  command -v python3
  exit 0
fi
echo "error: no working Python 3.11 or newer (with venv) found; install one, or name it: make demo PYTHON=/path/to/python" >&2
exit 1
