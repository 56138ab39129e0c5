/* kv/store/lease_clock.h: the leader's clock over the leases. What is public of it is in store.h. */
#pragma once
#include "kv/store/lease.h"

/* Context of all: leases.lock held. */
void lease_clock_start_locked(struct leases *l, struct lease *it, int64_t now_ns,
                              int64_t extend_ns);
void lease_clock_drop_locked(struct leases *l, struct lease *it);
