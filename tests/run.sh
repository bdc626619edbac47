#!/usr/bin/env bash
# Every test of Cellblock, from quick to long. REQUIRE_ALL=1 turns each skip
# into a failure.
#
# One package at a time: the tests of cells count what is left on the host
# after them, and would count each other's.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

before=$(mktemp)
trap 'rm -f "$before"' EXIT
bash tests/leftovers.sh list >"$before"

step "unit and integration"
packages=$(go list ./... | grep -v '/tests/e2b$') # that has a step of its own
CELLBLOCK_BIN="$PWD/bin/cellblock" go test -p 1 -timeout 30m $packages

step "what E2B's SDK does here, and how long it takes"
CELLBLOCK_BIN="$PWD/bin/cellblock" go test -count=1 -v -timeout 10m ./tests/e2b | grep -E '^ *---|cases;|^ok|FAIL'

step "the service again, its sessions behind a warden"
go test -p 1 -timeout 10m ./internal/api ./internal/e2b -warden

step "unit and integration with the race detector, shorter"
go test -p 1 -race -short -timeout 20m ./cgroup ./nsjail/... ./internal/... ./executor ./validator

step "the attacks again, in sessions forked from a template"
go test -p 1 -timeout 20m ./tests/escape -forked -short

step "the suites on a pure cgroup v2 machine"
make -s test-vm

step "a sample of the system calls that build and end a cell fails"
make test-faults SHORT=1

step "each layer, left out, is noticed"
make -s test-mutation

step "nothing is left behind"
bash tests/leftovers.sh check "$before"
echo "all tests passed"
