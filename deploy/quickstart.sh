#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a bare Debian 12 machine (root, /dev/fuse) to a mounted workspace, and back.
#
#   deploy/quickstart.sh [REPOSITORY]   install, build, start coppiced over REPOSITORY (default: this project), make a workspace, look around
#   deploy/quickstart.sh --mega [REPOSITORY]  the same, but as a Mega server: REPOSITORY is served over Mega's REST API by tests/lib/mega_server.py
#   deploy/quickstart.sh stop           delete the workspace, stop coppiced, leave nothing mounted
#
# Everything that runs lives below COPPICE_QUICKSTART_DIR (default /var/tmp/coppice-quickstart). Running it again is harmless.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${COPPICE_QUICKSTART_DIR:-/var/tmp/coppice-quickstart}
bin=$top/build/release/bin
job=quickstart
export COPPICE_ADDRESS=unix:$dir/run/coppice.sock

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

daemon_pid() {
	local pid
	pid=$(cat "$dir/pid" 2>/dev/null) || return 1
	# The number may have been given to another program since.
	[ "$(readlink "/proc/$pid/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$bin/coppiced" ] || return 1
	echo "$pid"
}

# The stand-in Mega server, if it runs.
mega_pid() {
	local pid
	pid=$(cat "$dir/mega.pid" 2>/dev/null) || return 1
	[ -d "/proc/$pid" ] || return 1
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "mega_server.py" || return 1
	echo "$pid"
}

stop() {
	local pid
	if pid=$(daemon_pid); then
		"$bin/coppice" umount "$job" 2>/dev/null || true
		kill -TERM "$pid"
		for _ in $(seq 150); do
			[ -d "/proc/$pid" ] || break
			sleep 0.1
		done
		[ ! -d "/proc/$pid" ] || { kill -KILL "$pid"; sleep 0.5; }
	fi
	if pid=$(mega_pid); then
		kill -TERM "$pid"
	fi
	awk -v d="$dir/run/" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | while read -r mountpoint; do
		umount -l "$mountpoint" || true
	done
	rm -rf --one-file-system "$dir"
	echo "stopped; nothing of it is left in $dir"
}

# Those of packages.sh, and PACKAGE...
install_packages() {
	local missing=() package
	# shellcheck source=deploy/packages.sh
	. "$top/deploy/packages.sh"
	for package in $COPPICE_BUILD_PACKAGES $COPPICE_RUN_PACKAGES "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "Installing ${#missing[@]} packages"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
	say "Building (cmake --preset release)"
	(cd "$top" && cmake --preset release >/dev/null && cmake --build --preset release --target coppiced coppice coppice-keeper)
}

# Prints the server's address.
start_mega() {
	mkdir -p "$dir"
	mega_pid >/dev/null || {
		setsid /usr/bin/python3 -B "$top/tests/lib/mega_server.py" "$1" >"$dir/mega.url" 2>>"$dir/log" </dev/null &
		echo $! >"$dir/mega.pid"
	}
	for _ in $(seq 100); do
		[ ! -s "$dir/mega.url" ] || break
		sleep 0.1
	done
	cat "$dir/mega.url"
}

start() {
	local type=$1 url=$2 pid
	mkdir -p "$dir/data" "$dir/run"
	cat >"$dir/coppice.yaml" <<-YAML
		data_dir: $dir/data
		run_dir: $dir/run
		grpc: {listen: ["unix:$dir/run/coppice.sock"]}
		http: {listen: ""}
		origins:
		  - {name: demo, type: $type, url: "$url"}
	YAML
	"$bin/coppice" config check --config "$dir/coppice.yaml"
	say "Starting coppiced (log: $dir/log)"
	setsid "$bin/coppiced" --config "$dir/coppice.yaml" >>"$dir/log" 2>&1 </dev/null &
	pid=$!
	echo "$pid" >"$dir/pid"
	for _ in $(seq 100); do
		"$bin/coppice" node >/dev/null 2>&1 && return 0
		[ -d "/proc/$pid" ] || { tail -n 5 "$dir/log" >&2; die "coppiced did not start; the lines above are the end of its log"; }
		sleep 0.1
	done
	die "coppiced does not answer; see $dir/log"
}

show() {
	local root file
	say "A workspace, made over gRPC"
	root=$("$bin/coppice" mount --job-id "$job" --origin demo --quota-bytes 1GiB --quota-inodes 100000)
	echo "$root"
	say "ls"
	ls -l "$root"
	say "a read"
	file=$(find "$root" -maxdepth 1 -type f -size +0 -not -name '.*' | sort | head -n 1)
	if [ -n "$file" ]; then
		echo "${file##*/}:"
		head -n 5 "$file"
	fi
	say "a write, which stays in this workspace"
	echo "written $(date -u +%FT%TZ)" >"$root/quickstart.txt"
	cat "$root/quickstart.txt"
	say "df shows the workspace's quota"
	df -h "$root"
	say "Yours to use: $root"
	echo "To talk to it:  export COPPICE_ADDRESS=$COPPICE_ADDRESS; $bin/coppice list"
	echo "To stop:        deploy/quickstart.sh stop"
}

[ "$(id -u)" = 0 ] || die "must run as root: it installs packages and mounts"
type=git
if [ "${1:-}" = --mega ]; then
	type=mega
	shift
fi
case ${1:-} in
stop)
	stop
	;;
-*)
	die "usage: deploy/quickstart.sh [--mega] [REPOSITORY] | stop"
	;;
*)
	repository=$(realpath -e "${1:-$top}") || die "no such repository: $1"
	[ -e /dev/fuse ] || die "/dev/fuse is missing: load the fuse module, or give the container the device"
	packages=()
	[ "$type" = git ] || packages=(python3) # the stand-in Mega server's
	install_packages "${packages[@]}"
	git -c safe.directory='*' -C "$repository" rev-parse --git-dir >/dev/null 2>&1 || die "$repository is not a Git repository"
	build
	if daemon_pid >/dev/null; then
		echo "already running; 'deploy/quickstart.sh stop' ends it"
	else
		url=$repository
		if [ "$type" = mega ]; then
			say "Starting a stand-in Mega server over $repository"
			url=$(start_mega "$repository")
			[ -n "$url" ] || die "the Mega server did not start; see $dir/log"
			echo "$url"
		fi
		start "$type" "$url"
	fi
	show
	;;
esac
