/* sync/select.h: what a readiness source (a connection) does to take part in a select.
 *
 * The select arms the source when no channel was ready, parks, and disarms it afterwards:
 *
 *     conn_arm_select      the source is ready now: true, nothing kept. Else it remembers `w` as
 *                          one who is to be told once, and returns false. While it is armed no
 *                          other goroutine reads the connection.
 *     select_source_ready  by the source, when it becomes ready, holding the lock that
 *                          conn_disarm_select also takes: ends the select by w's position. The
 *                          source forgets w. Returns the goroutine that the source must
 *                          sched_ready once it has let go of its lock, or NULL: the select was
 *                          ended otherwise, or has not parked yet and sees it by itself.
 *     conn_disarm_select   the source forgets w if it still remembers it. After the return it
 *                          never touches w again.
 *
 * Readiness is a level, not an event: who was told looks for itself, and a source that was not
 * looked at is still ready. So arm must notice what came between the caller's last try and now. */
#pragma once
#include "runtime/sync/waitq.h"
#include <stdbool.h>

struct rt_conn;

/* Written by poll/. Context: goroutine, no lock held; never parks. */
bool conn_arm_select(struct rt_conn *c, struct rt_waiter *w);
void conn_disarm_select(struct rt_conn *c, struct rt_waiter *w);

/* Context: poller, timer function or goroutine, under the source's lock; never parks. */
struct g *select_source_ready(struct rt_waiter *w);
