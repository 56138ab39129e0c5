/* cmd/kvlab/kube_server.h: a kube-apiserver of ours in front of a cluster, on loopback: started with a
 * certificate it makes itself and a token that we make; its folder goes when it is stopped, its log
 * stays (members/NAME/apiserver.log). */
#pragma once
#include "cmd/kvlab/load.h"

struct kube_server;
/* NULL with why: also when it ended, with its log's last lines, or is not ready within a minute.
 * Context: parks. */
struct kube_server *kube_start(struct lab *lab, const struct cluster *cluster, struct why *why);
void kube_stop(struct kube_server *k); // NULL is allowed

/* Make `count` pods in the namespace "default"; nobody runs them. False with why.  Context: parks. */
bool kube_make_pods(struct kube_server *k, uint32_t count, struct why *why);
/* LIST of these pods, each answer counted, for load.h. Lives as long as the server. */
const struct load_target *kube_list_pods(struct kube_server *k);
/* Bytes of the answer to the last LIST; 0: none yet. */
uint64_t kube_list_bytes(const struct kube_server *k);
