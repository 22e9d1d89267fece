#!/usr/bin/env bash
# Print the newest of python3.13, 3.12, 3.11 that really runs: a version manager's shim on the PATH may not.
set -u
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
echo "no working Python 3.11 or newer (with venv) found; install one and run again" >&2
exit 1
