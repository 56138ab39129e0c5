#include "proto/sniff.h"

enum sniffed sniff(struct transport *t, uint8_t *first, size_t *len_out, int64_t deadline_ns)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    _Static_assert(sizeof preface - 1 == SNIFF_BYTES, "RFC 9113, 3.4");
    size_t len = 0;
    while (len < SNIFF_BYTES) {
        ssize_t n = transport_read(t, first + len, SNIFF_BYTES - len, deadline_ns);
        if (n <= 0)
            return SNIFFED_NOTHING;
        len += (size_t)n;
        *len_out = len;
        if (memcmp(first, preface, len) != 0)
            return SNIFFED_HTTP1;
    }
    return SNIFFED_HTTP2;
}
