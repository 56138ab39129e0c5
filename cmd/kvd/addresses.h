/* cmd/kvd/addresses.h: from the URL lists of the command line to addresses to listen on. */
#pragma once
#include <rt/alloc.h>
#include <rt/why.h>

enum { KVD_LISTENERS_MAX = 16 }; // a URL list longer than this is refused

struct kvd_addresses {
    const char *url[KVD_LISTENERS_MAX];     // as given
    const char *address[KVD_LISTENERS_MAX]; // for rt_listen: "127.0.0.1:2379", "unix:/path"
    uint32_t count;
};

/* Read "http://host:port,..." of the flag `flag`. "localhost" becomes 127.0.0.1, as clients expect
 * of etcd. An empty list gives count 0. 0, or -EINVAL with why. Strings come from `arena`. */
int kvd_addresses_read(const char *flag, const char *list, struct rt_arena *arena,
                       struct kvd_addresses *out, struct why *why);
