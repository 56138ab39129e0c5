/* kv/member/start.h: everything of a member that is opened before its goroutines run: directory,
 * generation, log, store, raft's state. */
#pragma once
#include "kv/member/member.h"

/* 0, or why not; what was opened stays in *m and is closed by member_free. `given` is what the caller
 * gave, without defaults.  Context: parks. */
int member_open_state(struct member *m, const struct member_config *given, struct why *why);
