#!/usr/bin/env bash
# What Cellblock does, in a minute: `make demo` builds it and runs this.
#
# Every step says what is tried and shows what came of it. The script fails if
# anything is not as it should be, an attack that is not refused above all.
set -euo pipefail
cd "$(dirname "$0")/.."

cellblock=${CELLBLOCK:-bin/cellblock}
packages=pandas,matplotlib
out=out
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }

csv=$(dpkg -L python-matplotlib-data 2>/dev/null | grep '/Stocks\.csv$' || true)
[ -r "$csv" ] || fail "Stocks.csv of the Debian package python-matplotlib-data is not there: apt-get install python-matplotlib-data"
[ -x "$cellblock" ] || fail "$cellblock is not there: make build"

say "1. A cell on this machine"
"$cellblock" doctor --with "$packages" || fail "no cell can be built here: see above"

say "2. A pandas script reads a CSV and draws a picture, in a cell"
echo "   $csv"
echo "   \$ cellblock run --with $packages --file Stocks.csv --out $out examples/stocks.py"
rm -f "$out/stocks.png"
"$cellblock" run --with "$packages" --file "$csv" --out "$out" examples/stocks.py
[ "$(head -c 8 "$out/stocks.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "$out/stocks.png is no picture"
echo "The picture: $PWD/$out/stocks.png ($(stat -c %s "$out/stocks.png") bytes)"

say "3. Variables live on between executions, also after one that never ends"
steps=("import pandas as pd
prices = pd.read_csv('Stocks.csv', comment='#', index_col='Date')"
	"while True: pass"
	"print(len(prices), 'rows are still here')")
status=0
"$cellblock" run --json --cpu-time 3s --with "$packages" --file "$csv" \
	-c "${steps[0]}" -c "${steps[1]}" -c "${steps[2]}" >"$work/results" || status=$?
/usr/bin/python3 - "$work/results" <<'PYTHON'
import json, sys
results = [json.loads(line) for line in open(sys.argv[1])]
for code, r in zip(["prices = pd.read_csv('Stocks.csv', …)", 'while True: pass', "print(len(prices), 'rows …')"], results):
    print(f"   {code:<38} {r['verdict']}: {r['output'].strip() or r['error'] or 'no output'}")
if [r['verdict'] for r in results] != ['ok', 'cpu-time', 'ok'] or not results[2]['output'].endswith(' rows are still here\n'):
    sys.exit('demo: the session did not live on')
PYTHON
[ "$status" = 124 ] || fail "the exit status is $status, not 124"

say "4. Attacks are refused"
# attack WHAT STATUS PATTERN FLAG… : runs code that must end with that exit
# status and the pattern in the last line of what it said.
attack() {
	local what=$1 status=$2 pattern=$3 got=0 last
	shift 3
	"$cellblock" run "$@" >"$work/out" 2>"$work/err" || got=$?
	last=$(grep -v '^cellblock: hint' "$work/err" | tail -1 || true)
	printf '   %-28s %s\n' "$what" "$last"
	[ -s "$work/out" ] && fail "$what: it printed $(head -c 200 "$work/out")"
	[ "$got" = "$status" ] || fail "$what: the exit status is $got, not $status"
	grep -qE "$pattern" <<<"$last" || fail "$what: expected $pattern"
}
attack "open a socket" 1 '^OSError: \[Errno 97\]' \
	-c 'import socket; print(socket.socket())'
attack "fetch a page" 1 'URLError.*Errno 97' \
	-c 'import urllib.request; print(urllib.request.urlopen("http://192.0.2.1/").read())'
attack "run a program" 1 '^PermissionError: \[Errno 1\]' \
	-c 'import subprocess; print(subprocess.run(["/bin/true"]))'
attack "run the Python it runs in" 1 '^PermissionError: \[Errno 1\]' \
	-c 'import os; os.execv("/proc/self/exe", ["python3", "-c", "print(1)"])'
attack "read /etc/shadow" 1 '^FileNotFoundError' \
	-c 'print(open("/etc/shadow").read())'
attack "change the system" 1 '^OSError: \[Errno 30\]' \
	-c 'print(open("/usr/lib/evil.so", "w"))'
attack "kill PID 1 of the cell" 1 '^PermissionError: \[Errno 1\]' \
	-c 'import os; print(os.kill(1, 9))'
attack "allocate 16 GB" 1 '^MemoryError' \
	-c 'print(len(bytearray(1 << 34)))'
attack "fill 64 MB with shared pages" 137 'out of memory' --memory 64M \
	-c 'import mmap; m = mmap.mmap(-1, 1 << 28)
for i in range(256): m.write(bytes(1 << 20))
print(1)'
attack "fork without end" 1 '^BlockingIOError: \[Errno 11\]' \
	-c 'import os
while True: os.fork()'
attack "fill the disk" 1 '^OSError: \[Errno 28\]' --workspace-size 16M \
	-c 'for i in range(1000): open(f"file{i}", "wb", 0).write(bytes(1 << 20))'

say "All as it should be. Next: bin/cellblock repl, bin/cellblock run --help, README.md"
