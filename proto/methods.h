/* proto/methods.h: from a path to the method, and what is counted of it. Made once, then const. */
#pragma once
#include "proto/grpc.h"

struct method {
    struct grpc_method rpc;
    uint32_t path_hash;
    struct rt_counter *started, *received, *sent; // NULL without metrics
    struct rt_counter *handled[GRPC_CODES];
};

struct methods {
    struct method *all;
    uint32_t count;
    uint32_t *slots; // a hash table of positions + 1, its size a power of two
    uint32_t slot_mask;
};

void methods_init(struct methods *m, const struct grpc_method *all, uint32_t count,
                  struct rt_metrics *metrics);
void methods_deinit(struct methods *m);
/* NULL: there is none. */
const struct method *methods_find(const struct methods *m, struct rt_bytes path);
/* gRPC's words for a path that methods_find did not know, into out. */
void methods_explain(const struct methods *m, const char *path, char *out, size_t cap);
