#!/usr/bin/env bash
# Each fuzz target for FUZZTIME (30s), with FUZZWORKERS (1) at a time. A crasher
# is written below testdata/fuzz of its package and stays there as a seed.
# ONLY=pattern takes some of the targets.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
while IFS=: read -r file target; do
	name=$(dirname "$file"):$target
	[[ $name =~ ${ONLY:-.} ]] || continue
	printf '\n== %s\n' "$name"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" -parallel "${FUZZWORKERS:-1}" "./$(dirname "$file")" || failed=1
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z]+' . | sed -E 's|^\./||; s/func //' | sort)
exit "$failed"
