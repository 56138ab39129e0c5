/* cmd/kvctl/http.h: a request over HTTP/1.1 to an endpoint's metrics port, for the debug commands. */
#pragma once
#include "cmd/kvctl/kvctl.h"

enum { HTTP_BODY_MAX = 256 << 20 };

/* Ask `endpoint` ("host:port", http:// may stand before it) for `target` ("/debug/leaks?form=stacks")
 * and put what it says into *body (the caller's, to deinit). It may take --command-timeout and
 * patience_ns. 0 for status 200; else an exit status: printed.  Context: parks. */
int kvctl_http(struct kvctl *k, const char *endpoint, const char *method, const char *target,
               int64_t patience_ns, struct rt_string *body);
