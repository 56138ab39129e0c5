/* cmd/kvd/wire.h: one running kvd: the member, the service before it, the listeners. */
#pragma once
#include "cmd/kvd/flags.h"

struct kvd;

/* Start everything the flags ask for; "ready to serve client requests" is logged and told to the
 * supervisor once the cluster knows this member. 0 and *out; or non-zero with `why`, and then nothing is left
 * of it.  Context: parks. */
int kvd_start(const struct kvd_flags *flags, struct kvd **out, struct why *why);

/* Take no new work, finish what there is, hand leadership over, close; within deadline_ns.
 * Context: parks. */
void kvd_stop(struct kvd *k, int64_t deadline_ns);
struct rt_log *kvd_log(struct kvd *k);
