#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each third-party library has one door: the files that may include its headers. Behind the door its types and error codes
# are translated to ours. Tests are free.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

# header (extended regex, against the name in the #include)      files that may include it (extended regex)
doors='
lmdb\.h                                                          storage/kv/
git2(\.h|/.*)                                                    storage/origin/|service/workflow/
(fuse3/)?(fuse|fuse_lowlevel|fuse_opt|fuse_common|fuse_log)\.h   fuse/session/
(grpc|protobuf-c)/.*                                             api/|service/cli/
.*\.pb-c\.h                                                      api/|service/cli/
yaml\.h                                                           service/config
openssl/.*                                                       storage/digest\.c|storage/blob/blob_redis|api/auth
zlib\.h                                                          storage/origin/loose_check|storage/inflate|service/workflow/pack(_read)?\.c
microhttpd\.h                                                    api/http
jansson\.h                                                       api/http|service/cli/|storage/origin/mega_|storage/origin/lfs_
curl/.*                                                          storage/origin/http
hiredis/.*                                                       storage/blob/blob_redis
zstd\.h                                                          storage/blob/blob_redis
urcu.*                                                           base/
systemd/.*                                                       service/daemon/|service/keeper/
cmocka\.h                                                        nowhere
'

# file:header for every #include of the product
includes=$(grep -rEo --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]+' "${floors[@]}" |
	sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]/ /')
while read -r header allowed; do
	[ -n "$header" ] || continue
	while read -r file; do
		problem "$file: includes $header, whose door is $allowed"
	done < <(echo "$includes" | grep -E " $header\$" | cut -d' ' -f1 | grep -vE "^($allowed)")
done <<<"$doors"
done_with_lint
