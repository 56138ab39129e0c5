/* kv/member/crc.h: CRC32C (Castagnoli), what frames between members carry.  Context: never parks. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of `len` more bytes, after `crc` (0 at first). */
uint32_t member_crc32c(uint32_t crc, const void *data, size_t len);
