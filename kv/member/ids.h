/* kv/member/ids.h: the identity of members and clusters, computed exactly as etcd computes it, so
 * that a cluster described by the same flags has the same ids. Pure; never parks. */
#pragma once
#include "kv/member/urls.h"
#include <stdint.h>

/* SHA-1 of `len` bytes. Not for anything that must resist an adversary. */
void member_sha1(const void *data, size_t len, uint8_t digest[20]);

/* First 8 bytes, big-endian, of SHA-1 over the sorted peer URLs one after the other and the
 * cluster's token. */
uint64_t member_id_of(const struct member_urls *peer_urls, const char *token);

/* First 8 bytes of SHA-1 over all member ids, sorted, 8 big-endian bytes each. At most
 * MEMBER_MEMBERS of them. */
uint64_t member_cluster_id_of(const uint64_t *ids, uint32_t count);
