/* kv/service/limits.h: every bound of the service, and what happens at it. */
#pragma once

// The API level that clients are told: kube-apiserver wants one of 3.4.31 to 3.4.x or 3.5.13 and up.
#define SERVICE_API_VERSION     "3.6.0"
#define SERVICE_STORAGE_VERSION "3.6.0"

enum {
    SERVICE_REQUEST_TIMEOUT_MS = 5000, // and two election timeouts: then "request timed out"
    SERVICE_ENTRY_OVERHEAD = 64, // bytes of an entry besides the request, for max-request-bytes
    SERVICE_COPY_BYTES = 4096,   // smaller bodies are copied into the answer, others handed over
    SERVICE_METRICS_CONNECTIONS = 64, // at once on a metrics port; more are closed
    // Of an execution trace's events; as JSON they are four times as much, made in memory.
    SERVICE_TRACE_BYTES = 4 << 20,
    SERVICE_TRACE_MOST_BYTES = 16 << 20,
    SERVICE_RECEIVE_EXTRA =
        512 * 1024, // a message may be this much larger than max-request-bytes before
                    // gRPC refuses it (ResourceExhausted), as in etcd
    SERVICE_FRAGMENT_EXTRA =
        512 * 1024,         // a watch's answer larger than max-request-bytes and this is cut
                            // when the client allows it (WatchCreateRequest.fragment)
    SERVICE_PARTS_MAX = 64, // pieces of a watch's answer sent in place; more are copied
    SERVICE_CREATES_MAX =
        1024, // creates of a stream that wait for their answer; then reading stops
};
