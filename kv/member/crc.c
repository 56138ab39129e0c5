/* kv/member/crc.c: by the CPU's instruction where it has one (SSE 4.2), else nibble by nibble. */
#include "kv/member/crc.h"
#include <string.h>

__attribute__((target("sse4.2"))) static uint32_t crc_by_cpu(uint32_t crc, const uint8_t *p,
                                                             size_t len)
{
    uint64_t state = crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        state = __builtin_ia32_crc32di(state, word);
    }
    for (; len; len--, p++)
        state = __builtin_ia32_crc32qi((uint32_t)state, *p);
    return (uint32_t)state;
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    // the polynomial 0x82F63B78 (reflected), four bits at a time
    static const uint32_t table[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
        0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
        0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    for (; len; len--, p++) {
        crc ^= *p;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t member_crc32c(uint32_t crc, const void *data, size_t len)
{
    if (!len)
        return crc;
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_by_cpu(~crc, data, len);
    return ~crc_by_table(~crc, data, len);
}
