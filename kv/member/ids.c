/* kv/member/ids.c: SHA-1 (FIPS 180-4) and the two ids made of it. Identity only: nothing secret and
 * nothing an attacker could gain by a collision he could not have by typing the same flags. */
#include "kv/member/ids.h"
#include "kv/member/limits.h"
#include <assert.h>
#include <string.h>

static uint32_t rotated(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);

    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5A827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ED9EBA1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
        else
            f = b ^ c ^ d, k = 0xCA62C1D6;
        uint32_t next = rotated(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void member_sha1(const void *data, size_t len, uint8_t digest[20])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    const uint8_t *bytes = data;
    size_t left = len;
    for (; left >= 64; left -= 64, bytes += 64)
        sha1_block(state, bytes);

    uint8_t tail[128] = {0};
    size_t tail_len = left < 56 ? 64 : 128;
    if (left)
        memcpy(tail, bytes, left);
    tail[left] = 0x80;
    uint64_t bits = (uint64_t)len * 8;
    for (int i = 0; i < 8; i++)
        tail[tail_len - 1 - i] = (uint8_t)(bits >> (8 * i));
    for (size_t at = 0; at < tail_len; at += 64)
        sha1_block(state, tail + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static uint64_t first_eight(const void *data, size_t len)
{
    uint8_t digest[20];
    uint64_t id = 0;
    member_sha1(data, len, digest);
    for (int i = 0; i < 8; i++)
        id = id << 8 | digest[i];
    return id;
}

uint64_t member_id_of(const struct member_urls *peer_urls, const char *token)
{
    const char *sorted[MEMBER_URLS];
    assert(peer_urls->count <= MEMBER_URLS);
    for (uint32_t i = 0; i < peer_urls->count; i++) {
        uint32_t at = i;
        for (; at > 0 && strcmp(sorted[at - 1], peer_urls->url[i]) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = peer_urls->url[i];
    }
    struct rt_string text = {0};
    for (uint32_t i = 0; i < peer_urls->count; i++)
        rt_string_append(&text, sorted[i], strlen(sorted[i]));
    rt_string_append(&text, token, strlen(token));
    uint64_t id = first_eight(text.data, text.len);
    rt_string_deinit(&text);
    return id;
}

uint64_t member_cluster_id_of(const uint64_t *ids, uint32_t count)
{
    uint64_t sorted[MEMBER_MEMBERS];
    uint8_t bytes[MEMBER_MEMBERS * 8];
    assert(count <= MEMBER_MEMBERS);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > ids[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = ids[i];
    }
    for (uint32_t i = 0; i < count; i++)
        for (int b = 0; b < 8; b++)
            bytes[8 * i + b] = (uint8_t)(sorted[i] >> (56 - 8 * b));
    return first_eight(bytes, 8 * count);
}
