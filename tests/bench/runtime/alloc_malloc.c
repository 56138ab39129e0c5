/* alloc.c's work by threads, over malloc: libc's, or what LD_PRELOAD puts in its place. */
#include <stdlib.h>
#define RING_ALLOC(bytes) malloc(bytes)
#define RING_FREE(p)      free(p)
#define RING_CLOCK_NS()   bench_clock_ns()
#include "tests/bench/runtime/alloc_threads.h"
