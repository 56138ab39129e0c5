/* poll/address.c: see address.h. The C library's resolver blocks, loads libraries and wants some
 * 12 KiB of stack, so it is asked only for names that are not numbers, in rt_blocking; by a goroutine
 * of its own where there is a deadline, since it takes as long as it likes. */
#include "runtime/poll/address.h"
#include "rt/alloc.h"
#include "rt/go.h"
#include "rt/parse.h"
#include "rt/sync.h"
#include "rt/time.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static void add(struct addresses *out, const void *data, socklen_t len)
{
    if (out->count == ADDRESS_RESOLVED_MAX)
        return; // the first ones are enough
    struct address *a = &out->list[out->count++];
    memset(&a->data, 0, sizeof a->data);
    memcpy(&a->data, data, len);
    a->len = len;
}

static void add_v4(struct addresses *out, struct in_addr host, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = host, .sin_port = htons(port)};
    add(out, &a, sizeof a);
}

static void add_v6(struct addresses *out, struct in6_addr host, uint16_t port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = host, .sin6_port = htons(port)};
    add(out, &a, sizeof a);
}

static int parse_unix(const char *text, const char *path, struct addresses *out, struct why *why)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof a.sun_path) {
        why_set(why, "\"%s\": the path of a unix socket has 1 to %zu bytes", text,
                sizeof a.sun_path - 1);
        return -EINVAL;
    }
    memcpy(a.sun_path, path, len + 1);
    add(out, &a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1));
    return 0;
}

int address_split(const char *text, char host[ADDRESS_HOST_MAX], uint16_t *port_out,
                  struct why *why)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || rt_parse_u64(colon + 1, &port) || port > 65535) {
        why_set(why, "\"%s\" is no address: it must end in :PORT, a number up to 65535", text);
        return -EINVAL;
    }
    const char *first = text, *end = colon;
    bool bracketed = *first == '[';
    if (bracketed) {
        if (end - first < 2 || end[-1] != ']') {
            why_set(why, "\"%s\" is no address: \"[\" without \"]\"", text);
            return -EINVAL;
        }
        first++;
        end--;
    }
    size_t len = (size_t)(end - first);
    if (len >= ADDRESS_HOST_MAX || (!bracketed && memchr(first, ':', len))) {
        why_set(why,
                len >= ADDRESS_HOST_MAX ? "the host of \"%s\" is too long"
                                        : "\"%s\" is no address: an IPv6 host goes in brackets",
                text);
        return -EINVAL;
    }
    memcpy(host, first, len);
    host[len] = 0;
    *port_out = (uint16_t)port;
    return 0;
}

/* The resolver cannot be stopped: who waits for it no longer leaves the question to who asks it. */
struct lookup {
    _Atomic uint32_t refs;
    struct rt_note answered;
    char host[ADDRESS_HOST_MAX];
    bool passive;
    uint16_t port;
    int err; // of the answer, and what it found
    struct addresses found;
    char error[96]; // the resolver's words
};

static int64_t look_up(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_ADDRCONFIG | (l->passive ? AI_PASSIVE : 0)};
    struct addrinfo *found = NULL;
    int err = getaddrinfo(l->host, NULL, &hints, &found);
    if (err) {
        snprintf(l->error, sizeof l->error, "%s", gai_strerror(err));
        return err == EAI_AGAIN || err == EAI_MEMORY || err == EAI_SYSTEM ? -EAGAIN : -ENOENT;
    }
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        if (a->ai_family == AF_INET)
            add_v4(&l->found, ((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr, l->port);
        else if (a->ai_family == AF_INET6)
            add_v6(&l->found, ((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr, l->port);
    }
    freeaddrinfo(found);
    return l->found.count ? 0 : -ENOENT;
}

static void lookup_unref(struct lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) == 1)
        rt_free(l);
}

static void ask(void *arg)
{
    struct lookup *l = arg;
    l->err = (int)rt_blocking(look_up, l);
    rt_note_set(&l->answered);
    lookup_unref(l);
}

static int resolve_name(const char *host, bool passive, uint16_t port, int64_t deadline_ns,
                        struct addresses *out, struct why *why)
{
    struct lookup *l = rt_alloc_zero(sizeof(*l));
    if (!l)
        return -ENOMEM;
    memcpy(l->host, host, strlen(host) + 1);
    l->passive = passive;
    l->port = port;
    snprintf(l->error, sizeof l->error, "no address");
    atomic_init(&l->refs, 2);
    int err = 0;
    if (deadline_ns == RT_FOREVER)
        ask(l);
    else if ((err = rt_go("resolve", ask, l)) != 0)
        lookup_unref(l);
    else
        err = rt_note_wait(&l->answered, deadline_ns);
    if (err) {
        why_set(why,
                err == -ETIMEDOUT ? "cannot resolve \"%s\": no answer in time"
                                  : "cannot resolve \"%s\": no goroutine left to ask",
                host);
    } else if ((err = l->err) != 0) {
        why_set(why, "cannot resolve \"%s\": %s", host, l->error);
    } else {
        *out = l->found;
    }
    lookup_unref(l);
    return err;
}

int address_resolve(const char *text, bool passive, int64_t deadline_ns, struct addresses *out,
                    struct why *why)
{
    char host[ADDRESS_HOST_MAX];
    uint16_t port;
    out->count = 0;
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, out, why);
    int err = address_split(text, host, &port, why);
    if (err)
        return err;
    struct in_addr v4;
    struct in6_addr v6;
    if (!*host || strcmp(host, "*") == 0) {
        if (passive) {
            add_v6(out, in6addr_any, port); // takes IPv4 too
            add_v4(out, (struct in_addr){htonl(INADDR_ANY)}, port);
        } else {
            add_v4(out, (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        }
        return 0;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        add_v4(out, v4, port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        add_v6(out, v6, port);
        return 0;
    }
    return resolve_name(host, passive, port, deadline_ns, out, why);
}

char *address_text(const struct sockaddr_storage *data, socklen_t len, char text[ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (data->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)data;
        inet_ntop(AF_INET, &a->sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT, "%s:%u", host, ntohs(a->sin_port));
    } else if (data->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)data;
        if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
            inet_ntop(AF_INET, &a->sin6_addr.s6_addr[12], host, sizeof host);
            snprintf(text, ADDRESS_TEXT, "%s:%u", host, ntohs(a->sin6_port));
        } else {
            inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof host);
            snprintf(text, ADDRESS_TEXT, "[%s]:%u", host, ntohs(a->sin6_port));
        }
    } else {
        const struct sockaddr_un *a = (const void *)data;
        size_t path_len = len > offsetof(struct sockaddr_un, sun_path)
                              ? len - offsetof(struct sockaddr_un, sun_path)
                              : 0;
        path_len = strnlen(a->sun_path, path_len);
        snprintf(text, ADDRESS_TEXT, "unix:%.*s", (int)path_len, a->sun_path);
    }
    return text;
}
