#!/usr/bin/env bash
# Fails when a cell's group, process or mount is left on this host.
set -euo pipefail
left=0
complain() { echo "left behind: $*"; left=1; }

while read -r dir; do complain "group $dir"; done < <(find /sys/fs/cgroup -type d -name 'cellblock-*' 2>/dev/null)
while read -r line; do complain "mount $line"; done < <(grep -E '/cellblock/roots/' /proc/self/mountinfo || true)
for status in /proc/[0-9]*/status; do
	uid=$(awk '/^Uid:/ {print $2}' "$status" 2>/dev/null || true)
	if [ -n "$uid" ] && [ "$uid" -ge 1879048192 ] && [ "$uid" -lt 1879179264 ]; then complain "process $status of uid $uid"; fi
done
exit $left
