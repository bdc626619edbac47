#!/usr/bin/env bash
# The Python package on every CPython from 3.9 to 3.13 that is here, and its types.
set -euo pipefail
cd "$(dirname "$0")/../python"
export CELLBLOCK_BIN="${CELLBLOCK_BIN:-$PWD/../bin/cellblock}" PYTHONDONTWRITEBYTECODE=1

tested=0
for python in /usr/bin/python3 "$HOME"/.pyenv/versions/3.*/bin/python3; do
  version=$("$python" -I -S -c 'import sys; print(sys.version_info[:2] >= (3, 9) and sys.version_info[:2] <= (3, 13) and sys.version.split()[0] or "")' 2>/dev/null) || continue
  [ -n "$version" ] || continue
  echo "-- $python ($version)"
  "$python" -W error::ResourceWarning -m unittest -b tests.test_validator tests.test_folder tests.test_old_parts
  tested=$((tested + 1))
done
[ "$tested" -gt 0 ] || { echo "no CPython from 3.9 to 3.13 was found" >&2; exit 1; }

if command -v mypy >/dev/null; then
  mypy --cache-dir=/dev/null
elif [ "${REQUIRE_ALL:-}" = 1 ]; then
  echo "mypy is missing, and REQUIRE_ALL=1" >&2
  exit 1
fi
