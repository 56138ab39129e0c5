/* cmd/kvd/addresses.c: URLs of the command line, one by one, each refused with the flag it stands in. */
#include "cmd/kvd/addresses.h"
#include "rt/parse.h"
#include <errno.h>

static int read_one(const char *flag, const char *url, struct rt_arena *arena, const char **address,
                    struct why *why)
{
    if (strncmp(url, "unix://", 7) == 0) {
        *address = rt_arena_printf(arena, "unix:%s", url + 7);
        return 0;
    }
    if (strncmp(url, "https://", 8) == 0 || strncmp(url, "unixs://", 8) == 0) {
        why_set(
            why,
            "--%s: %s: TLS is not built yet; use http:// and keep the port on a trusted network",
            flag, url);
        return -EINVAL;
    }
    if (strncmp(url, "http://", 7) != 0) {
        why_set(why, "--%s: \"%s\" must begin with http:// or unix://", flag, url);
        return -EINVAL;
    }
    const char *host = url + 7;
    size_t len = strcspn(host, "/");
    if (host[len] && host[len + 1]) {
        why_set(why, "--%s: %s must not have a path", flag, url);
        return -EINVAL;
    }
    char *text = rt_arena_printf(arena, "%.*s", (int)len, host);
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || rt_parse_u64(colon + 1, &port) || port > 65535) {
        why_set(why, "--%s: %s must name a port, as in http://127.0.0.1:2379", flag, url);
        return -EINVAL;
    }
    bool is_localhost = strncmp(text, "localhost:", 10) == 0;
    *address = is_localhost ? rt_arena_printf(arena, "127.0.0.1%s", colon) : text;
    return 0;
}

int kvd_addresses_read(const char *flag, const char *list, struct rt_arena *arena,
                       struct kvd_addresses *out, struct why *why)
{
    out->count = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        if (out->count == KVD_LISTENERS_MAX) {
            why_set(why, "--%s: more than %d URLs", flag, KVD_LISTENERS_MAX);
            return -EINVAL;
        }
        const char *url = rt_arena_printf(arena, "%.*s", (int)len, list);
        int err = read_one(flag, url, arena, &out->address[out->count], why);
        if (err)
            return err;
        out->url[out->count++] = url;
        list += list[len] ? len + 1 : len;
    }
    return 0;
}
