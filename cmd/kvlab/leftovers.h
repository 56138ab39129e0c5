/* cmd/kvlab/leftovers.h: what would stay behind if kvlab ended now: processes that it has started, each in
 * a process group of its own, and knobs of clusters that are not ours. */
#pragma once
#include <rt/alloc.h>
#include <rt/process.h>
#include <rt/sync.h>

struct left_child;
struct left_knob;
/* Zero-initialised; of a run of kvlab. */
struct leftovers {
    struct rt_mutex lock; // of all below
    struct left_child *children;
    struct left_knob *knobs;
    bool ended;
};

/* rt_spawn and rt_child_free, for all that kvlab starts. After leftovers_end nothing is started any
 * more: -ECANCELED.  Context: parks. */
int leftovers_spawn(struct leftovers *left, const struct rt_command *command, struct rt_child **out,
                    struct why *why);
void leftovers_child_free(struct leftovers *left, struct rt_child *c); // NULL is allowed

/* A knob of the member at `endpoint` is no longer what it was; it is again.  Context: parks. */
void leftovers_knob_turned(struct leftovers *left, const char *endpoint, const char *name,
                           const char *was);
void leftovers_knob_back(struct leftovers *left, const char *endpoint, const char *name);

/* Kill every process and add a line to `text` for each knob that is not put back, with the command that
 * does it.  Context: parks. */
void leftovers_end(struct leftovers *left, struct rt_string *text);
