/* cmd/kvlab/kube.c: LIST of pods through a kube-apiserver. */
#include "cmd/kvlab/kube.h"
#include "cmd/kvlab/cluster.h"

enum outcome run_kube(struct lab *lab, struct section *s, struct why *why)
{
    (void)s;
    if (!lab->options->kube_apiserver) {
        why_set(why, "no kube-apiserver is given (--kube-apiserver PATH)");
        return OUTCOME_SKIPPED;
    }
    why_set(
        why,
        "measuring through a kube-apiserver is not built yet; its analysis is (kube_analysis.c)");
    return OUTCOME_FAILED;
}
