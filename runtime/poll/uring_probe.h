/* poll/uring_probe.h: what this kernel's io_uring can do, each feature found out by using it once. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>
#include <stddef.h>

struct uring_features {
    bool recv;   // multishot receive into provided buffers (6.0)
    bool accept; // multishot accept (5.19)
    bool write;  // a write that carries RWF_DSYNC
};

/* 0, and what there is; -errno with why when not even multishot polls work (5.13) or io_uring is not
 * allowed. KVD_URING=readiness leaves all features out, KVD_URING=recv,accept,write takes those named.
 * Context: never parks. */
int uring_probe(struct uring_features *out, struct why *why);

/* "a ring for each of 2 P, multishot receive and accept, ..." */
void uring_features_text(const struct uring_features *has, unsigned rings, char *text, size_t cap);
