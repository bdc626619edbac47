#!/bin/sh
set -e
systemd-sysusers cellblock.conf >/dev/null 2>&1 || getent group cellblock >/dev/null || groupadd --system cellblock
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable cellblock.service >/dev/null 2>&1 || true
	systemctl restart cellblock.service || echo "cellblock.service did not start: journalctl -u cellblock says why" >&2
fi
