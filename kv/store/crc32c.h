/* kv/store/crc32c.h: CRC-32C (Castagnoli), as etcd's hashes and our images use it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of the bytes before (0: none) followed by these.  Context: never parks. */
uint32_t store_crc32c(uint32_t before, const void *data, size_t len);
