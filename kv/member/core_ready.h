/* kv/member/core_ready.h: what the raft goroutine does with what raft says. Between core.c and
 * core_ready.c only.  Context of all: raft goroutine; never parks but for locks. */
#pragma once
#include "kv/member/core.h"

struct apply_job;

void core_begin(struct member *m); // a single voter stands for election at once
void core_take_ready(struct member *m, int64_t now_ns);
void core_installed(struct member *m, struct apply_job *job);
void core_release_log(struct member *m); // let the WAL forget what nobody needs
void core_publish(struct member *m);     // what others may read without asking

/* The configuration as of an index, remembered for images of older states. */
void core_remember_conf(struct member *m, uint64_t index, const struct raft_conf_state *conf);
bool core_conf_at(struct member *m, uint64_t index, struct raft_conf_state *out);
