#!/bin/sh
set -e
if [ "$1" = remove ] || [ "$1" = purge ]; then
	if [ -e /etc/apparmor.d/cellblock ]; then
		if command -v apparmor_parser >/dev/null && [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
			apparmor_parser -R /etc/apparmor.d/cellblock || true # it was not loaded
		fi
		rm -f /etc/apparmor.d/cellblock
	fi
	rm -rf /run/cellblock-warden
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ "$1" = purge ]; then
		systemctl reset-failed cellblock.service cellblock-warden.service 2>/dev/null || true # none had
	fi
fi
if [ "$1" = purge ]; then
	# The user and the group stay, as Debian has it: their numbers are never somebody else's.
	rm -rf /var/lib/cellblock /run/cellblock
fi
