/* kv/store/doorbell.h: wake one goroutine that works through a log. The ringer pays one atomic load
 * while nobody listens.
 *
 *     listener: for (;;) { doorbell_listen(&b); if (there is work) ...; else doorbell_wait(&b, t); }
 *
 * A ring between listen and wait is not lost: listen is ordered before the look for work (C), the
 * ringer's publication before its load of `listening` (D), both seq_cst. */
#pragma once
#include <rt/sync.h>

struct doorbell {
    struct rt_mutex lock;
    struct rt_cond rung_cond;
    bool rung;                  // lock
    _Atomic uint32_t listening; // (C) by the listener, (D) by ringers
};

void doorbell_listen(struct doorbell *b);                    // never parks
void doorbell_wait(struct doorbell *b, int64_t deadline_ns); // parks until rung or the deadline
void doorbell_ring(struct doorbell *b);                      // parks for the lock only
