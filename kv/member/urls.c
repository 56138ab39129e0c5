/* kv/member/urls.c: see urls.h. */
#include "kv/member/urls.h"
#include "kv/member/errors.h"
#include "kv/member/ids.h"
#include "kv/member/limits.h"
#include <assert.h>
#include <rt/parse.h>
#include <string.h>

static const struct scheme {
    const char *prefix;
    bool secure, is_unix;
} schemes[] = {
    {"http://", false, false},
    {"https://", true, false},
    {"unix://", false, true},
    {"unixs://", true, true},
};

static const struct scheme *scheme_of(const char *url)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
            return &schemes[i];
    return NULL;
}

/* host:port, with the port a number; [v6]:port. */
static int check_host_port(const char *url, const char *host_port, struct why *why)
{
    const char *colon = strrchr(host_port, ':');
    const char *bracket = strrchr(host_port, ']');
    uint64_t port;
    if (!colon || colon == host_port || (bracket && bracket > colon)) {
        why_set(why, "%s: needs a host and a port, like http://127.0.0.1:2380", url);
        return MEMBER_BAD_CONFIG;
    }
    if (!bracket && strchr(host_port, ':') != colon) {
        why_set(why, "%s: write an IPv6 address in brackets, like http://[::1]:2380", url);
        return MEMBER_BAD_CONFIG;
    }
    if (rt_parse_u64(colon + 1, &port) || port > 65535) {
        why_set(why, "%s: the port must be a number from 0 to 65535", url);
        return MEMBER_BAD_CONFIG;
    }
    return 0;
}

static int parse_one(const char *from, size_t len, struct rt_arena *arena, const char **out,
                     struct why *why)
{
    while (len && *from == ' ')
        from++, len--;
    while (len && from[len - 1] == ' ')
        len--;
    if (len >= MEMBER_URL_BYTES) {
        why_set(why, "a URL of %zu bytes is longer than the %d allowed", len, MEMBER_URL_BYTES - 1);
        return MEMBER_BAD_CONFIG;
    }
    char *url = rt_arena_alloc(arena, len + 1);
    memcpy(url, from, len);
    url[len] = 0;
    const struct scheme *scheme = scheme_of(url);
    if (!scheme) {
        why_set(why, "'%s': a URL starts with http://, https://, unix:// or unixs://", url);
        return MEMBER_BAD_CONFIG;
    }
    const char *rest = url + strlen(scheme->prefix);
    if (!scheme->is_unix) {
        if (len && url[len - 1] == '/' && rest < url + len - 1)
            url[len - 1] = 0;
        if (strchr(rest, '/')) {
            why_set(why, "%s: a URL here has no path", url);
            return MEMBER_BAD_CONFIG;
        }
        int err = check_host_port(url, rest, why);
        if (err)
            return err;
    } else if (!*rest) {
        why_set(why, "%s: names no socket", url);
        return MEMBER_BAD_CONFIG;
    }
    *out = url;
    return 0;
}

static int add_url(struct member_urls *urls, const char *url, struct rt_arena *arena,
                   struct why *why)
{
    if (!urls->url)
        urls->url = rt_arena_alloc(arena, MEMBER_URLS * sizeof(*urls->url));
    for (uint32_t i = 0; i < urls->count; i++) {
        if (strcmp(urls->url[i], url) == 0) {
            why_set(why, "%s is given twice", url);
            return MEMBER_BAD_CONFIG;
        }
    }
    if (urls->count == MEMBER_URLS) {
        why_set(why, "more than %d URLs for one member", MEMBER_URLS);
        return MEMBER_BAD_CONFIG;
    }
    urls->url[urls->count++] = url;
    return 0;
}

int member_urls_parse(const char *text, struct rt_arena *arena, struct member_urls *out,
                      struct why *why)
{
    struct member_urls urls = {0};
    while (*text) {
        size_t len = strcspn(text, ",");
        const char *url;
        int err = parse_one(text, len, arena, &url, why);
        if (!err)
            err = add_url(&urls, url, arena, why);
        if (err)
            return err;
        text += len + (text[len] == ',');
    }
    *out = urls;
    return 0;
}

static struct member_seed *seed_named(struct member_seeds *seeds, const char *name)
{
    for (uint32_t i = 0; i < seeds->count; i++)
        if (strcmp(seeds->seed[i].name, name) == 0)
            return &seeds->seed[i];
    return NULL;
}

/* "name=url": into the seed of that name, made when it is new. */
static int add_seed(struct member_seeds *seeds, const char *item, size_t len,
                    struct rt_arena *arena, struct why *why)
{
    const char *equals = memchr(item, '=', len);
    if (!equals || equals == item) {
        why_set(why, "initial cluster: '%.*s' is not name=URL", (int)(len < 200 ? len : 200), item);
        return MEMBER_BAD_CONFIG;
    }
    size_t name_len = (size_t)(equals - item);
    if (name_len >= MEMBER_NAME_BYTES) {
        why_set(why, "initial cluster: a name of %zu bytes is longer than the %d allowed", name_len,
                MEMBER_NAME_BYTES - 1);
        return MEMBER_BAD_CONFIG;
    }
    char *name = rt_arena_alloc(arena, name_len + 1);
    memcpy(name, item, name_len);
    name[name_len] = 0;

    const char *url;
    int err = parse_one(equals + 1, len - name_len - 1, arena, &url, why);
    if (err) {
        why_prefix(why, "initial cluster, member %s", name);
        return err;
    }
    struct member_seed *seed = seed_named(seeds, name);
    if (!seed) {
        if (seeds->count == MEMBER_MEMBERS) {
            why_set(why, "initial cluster: more than %d members", MEMBER_MEMBERS);
            return MEMBER_BAD_CONFIG;
        }
        seed = &seeds->seed[seeds->count++];
        *seed = (struct member_seed){.name = name};
    }
    return add_url(&seed->peer_urls, url, arena, why);
}

static int refuse_shared_urls(const struct member_seeds *seeds, struct why *why)
{
    for (uint32_t i = 0; i < seeds->count; i++)
        for (uint32_t j = 0; j < i; j++)
            for (uint32_t u = 0; u < seeds->seed[i].peer_urls.count; u++)
                for (uint32_t v = 0; v < seeds->seed[j].peer_urls.count; v++)
                    if (strcmp(seeds->seed[i].peer_urls.url[u], seeds->seed[j].peer_urls.url[v]) ==
                        0) {
                        why_set(why, "initial cluster: %s and %s have the same URL %s",
                                seeds->seed[j].name, seeds->seed[i].name,
                                seeds->seed[i].peer_urls.url[u]);
                        return MEMBER_BAD_CONFIG;
                    }
    return 0;
}

static void sort_by_id(struct member_seeds *seeds)
{
    for (uint32_t i = 1; i < seeds->count; i++) {
        struct member_seed moving = seeds->seed[i];
        uint32_t at = i;
        for (; at > 0 && seeds->seed[at - 1].id > moving.id; at--)
            seeds->seed[at] = seeds->seed[at - 1];
        seeds->seed[at] = moving;
    }
}

int member_seeds_parse(const char *text, const char *token, struct rt_arena *arena,
                       struct member_seeds *out, struct why *why)
{
    struct member_seeds seeds = {
        .seed = rt_arena_alloc_zero(arena, MEMBER_MEMBERS * sizeof(struct member_seed))};
    while (*text) {
        size_t len = strcspn(text, ",");
        int err = add_seed(&seeds, text, len, arena, why);
        if (err)
            return err;
        text += len + (text[len] == ',');
    }
    int err = refuse_shared_urls(&seeds, why);
    if (err)
        return err;
    for (uint32_t i = 0; i < seeds.count; i++)
        seeds.seed[i].id = member_id_of(&seeds.seed[i].peer_urls, token);
    sort_by_id(&seeds);
    for (uint32_t i = 1; i < seeds.count; i++) {
        if (seeds.seed[i].id == seeds.seed[i - 1].id || seeds.seed[i - 1].id == 0) {
            why_set(why, "initial cluster: %s and %s get unusable ids; change the cluster's token",
                    seeds.seed[i - 1].name, seeds.seed[i].name);
            return MEMBER_BAD_CONFIG;
        }
    }
    *out = seeds;
    return 0;
}

bool member_urls_same(const struct member_urls *a, const struct member_urls *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < b->count && !found; j++)
            found = strcmp(a->url[i], b->url[j]) == 0;
        if (!found)
            return false;
    }
    return true;
}

const char *member_url_address(const char *url, char *buf)
{
    const struct scheme *scheme = scheme_of(url);
    assert(scheme);
    const char *rest = url + strlen(scheme->prefix);
    size_t prefix_len = scheme->is_unix ? strlen("unix:") : 0;
    size_t len = strlen(rest);
    assert(prefix_len + len < MEMBER_URL_BYTES);
    memcpy(buf, "unix:", prefix_len);
    memcpy(buf + prefix_len, rest, len + 1);
    return buf;
}

bool member_url_is_secure(const char *url)
{
    const struct scheme *scheme = scheme_of(url);
    assert(scheme);
    return scheme->secure;
}
