/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: parsed, checked and completed once into a const structure. Every mistake is
 * reported with file, line and field. Precedence: flag > COPPICE_* environment > file > default.
 * See docs/configuration.md.
 */
#pragma once
#include <base/log.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

struct cfg_identity {
	enum { CFG_ID_UNIX_UID, CFG_ID_TLS_CN, CFG_ID_TOKEN, CFG_ID_LOOPBACK } kind;
	uint32_t uid;
	char *tls_cn;
	char *token_sha256_file;  /* file with the hex SHA-256 of the token; read at start and on
				     reload */
	uint8_t token_sha256[32]; /* as of the start; struct tenants keeps what a reload read */
};

struct cfg_origin_grant {
	char *name;
	char **paths; /* allowed prefixes; none = all */
	unsigned path_count;
	bool push;
};

struct cfg_tenant {
	char *name;
	bool admin;
	bool is_private;                    /* only the owner of a workspace can enter it */
	uint64_t bytes, inodes, mounts;     /* of all its mounts together; UINT64_MAX = unlimited */
	uint64_t mount_bytes, mount_inodes; /* default quota of one mount */
	char **mountpoints; /* directories below which it may have workspaces bound */
	unsigned mountpoint_count;
	struct cfg_origin_grant *origins; /* none = all */
	unsigned origin_count;
	struct cfg_identity *identities;
	unsigned identity_count;
};

struct cfg_origin {
	char *name, *type, *url, *mode;
	char *push_url;      /* NULL: url */
	uint64_t refresh_ns; /* this and all below: see struct origin_config; 0 or NULL = default */
	uint64_t mirror_bytes;
	char *username, *password_file, *token_file;
	char *ssh_key_file, *ssh_known_hosts_file;
	char *tls_ca, *tls_cert, *tls_key;
	char *proxy;
	uint64_t connect_timeout_ns, timeout_ns;
	unsigned max_requests;
	bool lfs;
	char *lfs_url;
};

struct cfg {
	char *data_dir, *run_dir;
	char **grpc_listen;
	unsigned grpc_listen_count;
	char *tls_cert, *tls_key, *tls_client_ca; /* NULL: no TLS */
	char *http_listen;                        /* "" = off */
	uint64_t cache_memory, cache_disk, cache_index;
	uint64_t cache_nodes;   /* of one tenant */
	unsigned fetch_threads; /* of one tenant at one origin */
	char *redis_url;        /* NULL: no shared cache */
	uint64_t redis_ttl_ns;  /* this and all below: see struct blob_redis_config; 0 = default */
	char *redis_password_file, *redis_key_file;
	char *redis_tls_ca, *redis_tls_cert, *redis_tls_key;
	uint64_t redis_connect_timeout_ns, redis_timeout_ns;
	uint64_t redis_queue, redis_blob_max;
	struct cfg_origin *origins;
	unsigned origin_count;
	struct cfg_tenant *tenants;
	unsigned tenant_count;
	enum log_level log_level;
	enum log_format log_format;
	unsigned workers;                              /* 0 = by CPUs */
	uint64_t watchdog_stuck_ns, watchdog_abort_ns; /* 0: never */
	uint64_t drain_timeout_ns;                     /* how long a stop waits for mounts to end */
	char *source;                                  /* the file it came from, or "(defaults)" */
};

/* A flag or environment setting: dotted key and value, e.g. "cache.disk" = "5GiB", "origins" not
 * settable this way. */
struct cfg_override {
	const char *key, *value;
};
/* `path` NULL: the file named by COPPICE_CONFIG, else /etc/coppice/coppice.yaml if it exists, else
 * defaults. `overrides` win over the environment. -EINVAL, reason CONFIG_INVALID: every mistake on
 * a line of its own, as far as they fit; `e->field` is the first. Another code, reason
 * CONFIG_UNREADABLE: the file cannot be read. */
int cfg_load(struct cfg **ret_cfg, const char *path, const struct cfg_override *overrides,
	unsigned override_count, struct err *e);
struct cfg *cfg_free(struct cfg *cfg);
/* The effective configuration as YAML; secrets are file names, never contents. */
int cfg_render(const struct cfg *cfg, struct buf *out);
