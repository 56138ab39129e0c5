/* kv/member/knobs.h: what can be changed while a member runs: one table of names, bounds and setters
 * (knobs.c). A value is text at the door and a number inside: a count, bytes, nanoseconds, 0 or 1.
 *
 * Kept over a restart only when asked: data_dir/member/knobs has a line "name value" for each that was
 * set to persist; it counts more than the command line. The value "default" is the command line's; set to
 * persist it takes the line out. */
#pragma once
#include <rt/metrics.h>
#include <rt/sync.h>
#include <rt/why.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct member;

enum knob {
    KNOB_MAX_INFLIGHT_MSGS,
    KNOB_SYNC_TIMEOUT,
    KNOB_GROUP_COMMIT_BYTES,
    KNOB_GROUP_COMMIT_ENTRIES,
    KNOB_PREEMPT,
    KNOB_SLICE,
    KNOB_SLOW_REQUEST,
    KNOB_DEBUG_FSYNC_DELAY,
    KNOB_DEBUG_NETWORK_DELAY,
    KNOB_DEBUG_BURN,
    KNOBS
};

struct knobs {
    struct rt_mutex lock;
    int64_t initial[KNOBS];           // set before start, then const
    bool persisted[KNOBS];            // lock
    int64_t saved[KNOBS];             // lock: what the file says of those
    struct rt_counter *gauges[KNOBS]; // set before start, then const; NULL without metrics
    bool burning;                     // lock: the goroutine exists
    _Atomic int64_t value[KNOBS];     // lock to write
    // what hot paths read; written under lock
    _Atomic int64_t network_delay_ns;
};

/* Take the defaults from the configuration, then what was persisted. 0; MEMBER_REFUSED: a file that is
 * not ours, is damaged, or names what there is not; -errno; with why, nothing was set. */
int knobs_open(struct member *m, struct why *why);
