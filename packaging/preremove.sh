#!/bin/sh
set -e
# Not when it is only replaced: then the new one restarts it.
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --now cellblock.service >/dev/null 2>&1 || true
fi
