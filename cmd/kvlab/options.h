/* cmd/kvlab/options.h: what the user asked for. */
#pragma once
#include <rt/alloc.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

enum { LAB_ENDPOINTS_MAX = 9 };

struct lab_options {
    const char *experiment; // a name of the table in main.c, or "list", "help"
    bool quick;
    const char *out; // NULL: kvlab-<date>-<time>
    const char *endpoints[LAB_ENDPOINTS_MAX];
    uint32_t endpoint_count; // 0: start clusters of our own
    int64_t trials;          // of each setting that is compared; 0: the experiment's own
    int64_t rate;            // requests a second, open loop; 0: the experiment's own
    int64_t value_bytes;
    int64_t clients;  // at once
    int64_t trial_ns; // length of a trial; 0: the experiment's own
    int64_t soak_ns;  // of leak; 0: the experiment's own
    int64_t seed;
    const char *kvd;  // the server's program; NULL: kvd beside kvlab
    const char *etcd; // NULL: etcd of PATH
    const char *kube_apiserver;
    int64_t streams; // of watch; 0: 10,000
    bool keep_data;  // leave the members' data folders
};

enum options_result { OPTIONS_RUN, OPTIONS_SHOWN, OPTIONS_WRONG };
/* Read the command line; strings point into argv or the arena. WRONG with why; SHOWN: the help is in
 * `text`. Which experiments there are is the caller's to check. */
enum options_result options_read(int argc, char **argv, struct rt_arena *arena,
                                 struct lab_options *out, struct rt_string *text, struct why *why);

/* The name of `names` that is nearest to `word`, or NULL when none is near. */
const char *options_nearest(const char *word, const char *const *names, uint32_t count);
