/* kv/service/debug.h: the pages of the metrics port that show the insides of the process:
 *
 *     GET  /debug/                      what there is
 *     GET  /debug/goroutines            every goroutine with its stack; ?form=short: by place
 *     GET  /debug/trace?seconds=S       the execution trace of the next S seconds (up to 10)
 *     POST /debug/trace/start           begin to record; ?bytes=N (1 to 16 MiB, default 4 MiB)
 *     POST /debug/trace/stop            end it, and here it is
 *     POST /debug/leaks/start           watch for goroutines that pile up; ?period=5s&rounds=10&threshold=2
 *     GET  /debug/leaks                 what the last watch has found so far; ?form=stacks
 *     POST /debug/leaks/stop            end it early
 *
 * Private to this folder. */
#pragma once
#include "proto/http1.h"
#include "rt/log.h"

struct debug;
struct debug *debug_new(struct rt_log *log);
/* Ends a watch and a recording that are on.  Context: parks. */
void debug_free(struct debug *d);

/* Answer what begins with /debug/; false: the path is none of ours.  Context: parks. */
bool debug_serve(struct debug *d, const struct http1_request *request,
                 struct http1_response *response);
