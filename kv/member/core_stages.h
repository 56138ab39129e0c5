/* kv/member/core_stages.h: the stamps of the raft goroutine: what an append brings and its answer takes
 * back, whose answer made a quorum, and how long followers' windows were used up. Raft goroutine only,
 * but for persist_stamps. */
#pragma once
#include "kv/member/core.h"

/* A message is about to be given to raft. */
void core_note_message(struct member *m, const struct core_message *message);
/* The promises of `job` that answer appends get the stamps that came with those. */
void core_note_promises(struct member *m, struct persist_job *job);
/* The stamps of promise i, now that the batch is durable.  Context: WAL goroutine; never parks. */
struct peer_stamps persist_stamps(const struct persist_job *job, size_t i);
/* At the end of a turn. */
void core_note_windows(struct member *m);
