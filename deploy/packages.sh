# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # the lists are for the scripts that source this file
# The Debian 12 packages that Coppice needs, and coppice_install to get those that are missing. Sourced by the quickstart, the
# tests and the image build. cmake/dependencies.cmake is the other end of COPPICE_BUILD_PACKAGES.

COPPICE_BUILD_PACKAGES="
	gcc libc6-dev binutils cmake ninja-build pkg-config
	protobuf-compiler protobuf-c-compiler libprotobuf-dev libprotobuf-c-dev libgrpc-dev
	libfuse3-dev liblmdb-dev libgit2-dev libssl-dev libyaml-dev libjansson-dev
	libmicrohttpd-dev libsystemd-dev zlib1g-dev libcurl4-openssl-dev libhiredis-dev libzstd-dev
"

# What an installed coppiced needs beyond libc.
COPPICE_RUN_PACKAGES="
	fuse3 git ca-certificates
	libgrpc29 libprotobuf-c1 libfuse3-3 liblmdb0 libgit2-1.5 libssl3 libyaml-0-2 libjansson4
	libmicrohttpd12 libsystemd0 zlib1g libcurl4 libhiredis0.14 libzstd1
"

COPPICE_TEST_PACKAGES="
	libcmocka-dev git fuse3 python3 python3-grpcio python3-protobuf attr acl procps util-linux
	rsync ccache clang-format shellcheck sqlite3 fuse-overlayfs
	redis-server lighttpd lighttpd-mod-openssl openssl zstd openssh-server openssh-client stress-ng fio dbench
"

# coppice_missing PACKAGE...: those that are not installed, one per line.
coppice_missing() {
	local package
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
			echo "$package"
	done
}

# coppice_install PACKAGE...: install what is missing. Touches neither apt nor the network if nothing is.
coppice_install() {
	local missing
	mapfile -t missing < <(coppice_missing "$@")
	[ "${#missing[@]}" -eq 0 ] && return 0
	echo "installing: ${missing[*]}"
	if [ "$(id -u)" -ne 0 ]; then
		echo "not root: run 'apt-get install ${missing[*]}' as root first" >&2
		return 1
	fi
	DEBIAN_FRONTEND=noninteractive timeout -k 30 600 apt-get update -q &&
		DEBIAN_FRONTEND=noninteractive timeout -k 30 1800 \
			apt-get install -q -y --no-install-recommends "${missing[@]}"
}
