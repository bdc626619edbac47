#!/bin/sh
set -e
# Not when it is only replaced: then sessions live on.
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --quiet --now cellblock.socket cellblock.service cellblock-warden.socket cellblock-warden.service
fi
