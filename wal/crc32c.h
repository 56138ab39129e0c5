/* wal/crc32c.h: the checksum of everything in the log: CRC-32C (Castagnoli, RFC 3720), by the
 * instruction of SSE 4.2 where the CPU has it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The CRC of what gave `before` followed by these bytes; 0 begins.  Context: never parks. */
uint32_t wal_crc32c(uint32_t before, const void *data, size_t len);

/* The form without the instruction: the same number, slower. */
uint32_t wal_crc32c_by_table(uint32_t before, const void *data, size_t len);
