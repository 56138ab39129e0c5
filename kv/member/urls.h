/* kv/member/urls.h: the URL lists of flags. "http://10.0.0.1:2380,http://[::1]:2380" becomes a
 * list, checked, in the order given; "a=http://...,b=http://..." becomes a list of members. Memory
 * is the arena's.  Context of all: never parks. */
#pragma once
#include <rt/alloc.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct member_urls {
    const char **url;
    uint32_t count;
};

/* One member of --initial-cluster. */
struct member_seed {
    const char *name;
    struct member_urls peer_urls;
    uint64_t id;
};
struct member_seeds {
    struct member_seed *seed; // in order of id once ids are computed
    uint32_t count;
};

/* Parse a comma-separated list: each has scheme http, https, unix or unixs, a host and, but for the
 * unix schemes, a port, and no path but "/", which is taken off. 0, or MEMBER_BAD_CONFIG with why.
 * An empty text is an empty list. */
int member_urls_parse(const char *text, struct rt_arena *arena, struct member_urls *out,
                      struct why *why);

/* "name=url,name=url"; a name that comes again adds a URL. Computes the ids with `token` and sorts
 * by id. Two members that share a URL or an id are refused. */
int member_seeds_parse(const char *text, const char *token, struct rt_arena *arena,
                       struct member_seeds *out, struct why *why);

/* The same URLs in any order. */
bool member_urls_same(const struct member_urls *a, const struct member_urls *b);

/* What rt_listen and rt_dial take: "10.0.0.1:2380", "unix:/run/x"; into buf (MEMBER_URL_BYTES). */
const char *member_url_address(const char *url, char *buf);

/* True for https and unixs. */
bool member_url_is_secure(const char *url);
