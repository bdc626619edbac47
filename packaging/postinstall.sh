#!/bin/sh
set -e

# The profile only where AppArmor is and knows its words: an older one (Debian 12)
# has no restriction that it would lift, and would complain at each start.
template=/usr/share/cellblock/apparmor.profile
profile=/etc/apparmor.d/cellblock
if [ -d /etc/apparmor.d ] && command -v apparmor_parser >/dev/null && apparmor_parser -Q -K "$template" >/dev/null 2>&1; then
	cmp -s "$template" "$profile" || cp "$template" "$profile"
	if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
		apparmor_parser -r -K "$profile" || echo "cellblock: AppArmor did not load $profile" >&2
	fi
fi

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers cellblock.conf
else
	getent group cellblock >/dev/null || groupadd --system cellblock
	getent passwd cellblock-api >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin cellblock-api
fi

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ -z "$2" ]; then
	systemctl enable --quiet cellblock-warden.socket cellblock.socket cellblock-warden.service cellblock.service
	systemctl start cellblock-warden.socket cellblock.socket
	systemctl start cellblock.service || echo "cellblock.service did not start: journalctl -u cellblock -u cellblock-warden says why" >&2
	exit 0
fi

# An upgrade. Sessions are the warden's. Where systemd has a store for it (254 and
# later), and the new program reads what the one that runs hands over, the new one
# takes them over. Else the warden goes on with the program that it was started from.
handsover() {
	tr '\0' '\n' <"/proc/$1/environ" | grep -q '^FDSTORE=' &&
		version=$("/proc/$1/exe" --state-version) &&
		[ "$version" = "$(/usr/lib/cellblock/cellblock-warden --state-version)" ]
}
if systemctl --quiet is-active cellblock-warden.service; then
	if handsover "$(systemctl show -P MainPID cellblock-warden.service)" 2>/dev/null; then
		systemctl restart cellblock-warden.service || echo "cellblock-warden.service did not start: journalctl -u cellblock-warden says why" >&2
		echo "cellblock: the new warden runs, and has the sessions of the one before."
	else
		echo "cellblock: sessions live on in the warden that runs. \`systemctl restart cellblock-warden\` ends them and starts the new one."
	fi
fi
systemctl try-restart cellblock.service || echo "cellblock.service did not start: journalctl -u cellblock says why" >&2
