/* cmd/kvlab/https.h: requests over TLS, one after the other on a connection, for servers that speak
 * nothing else (kube-apiserver). The server is trusted by its certificate: one that we were shown in
 * a file. TLS is OpenSSL's, between buffers in memory; the sockets are the runtime's. */
#pragma once
#include "cmd/kvlab/http_answer.h"
#include <rt/net.h>

struct https_trust;
/* Trust who proves to hold a certificate of this file (PEM). 0, or -1 with why.  Context: parks. */
int https_trust_new(const char *certificate_path, struct https_trust **out, struct why *why);
void https_trust_free(struct https_trust *t); // NULL is allowed; after the last connection

struct https;
/* Connect and shake hands within the deadline. NULL with why.  Context: parks. */
struct https *https_dial(const struct https_trust *t, const char *address, int64_t deadline_ns,
                         struct why *why);
void https_close(struct https *h); // NULL is allowed

struct https_request {
    const char *method, *target; // "GET", "/readyz"
    const char *token;           // bearer's; NULL: none
    struct rt_bytes body;        // JSON; empty: none
};
/* Send and wait for the answer, which is the connection's until the next call. NULL with why; then, and
 * when !keeps_open, the connection is good for nothing more.  Context: parks. */
const struct http_answer *https_call(struct https *h, const struct https_request *request,
                                     int64_t deadline_ns, struct why *why);
