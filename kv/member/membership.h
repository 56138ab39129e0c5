/* kv/member/membership.h: who is in the cluster, as replicated records of the store:
 *
 *     membership        {1: ConfState, 2: repeated {1: id, 2: repeated peer URL, 3: learner}, 3: cluster}
 *     attributes/<hex>  {1: name, 2: repeated client URL}, published by each member after its start
 *     cluster_version   "3.6.0", decided by the leader
 *
 * The first one carries raft's configuration, too, for both change by one command. Of all this a copy
 * is kept here, under a lock, for lists and links. */
#pragma once
#include "kv/member/urls.h"
#include "raft/raft.h"
#include <rt/sync.h>

struct member;
struct store;

#define MEMBERSHIP_KEY         "membership"
#define MEMBERSHIP_ATTRIBUTES  "attributes/"
#define MEMBER_CLUSTER_VERSION "3.6.0" // what the leader makes of a cluster that has none
#define MEMBERSHIP_VERSION_KEY "cluster_version"

struct membership_entry {
    uint64_t id;
    struct member_urls peer_urls, client_urls;
    const char *name;
    bool is_learner;
};

struct membership {
    struct rt_mutex lock;
    struct rt_cond changed; // lock
    struct rt_arena arena;  // lock; of the strings below, made anew with each change
    struct membership_entry entry[RAFT_MEMBERS_MAX]; // lock; in order of id
    uint32_t count;
    uint64_t cluster_id;
    struct raft_conf_state conf;
    char version[16];
    bool announced; // our own attributes went through raft in this life
    bool stopped;
};

/* The first record of a new cluster, the same on each of its members. */
void membership_first_record(const struct member_seeds *seeds, uint64_t cluster_id,
                             struct rt_string *out);
/* The same record with another configuration, and a member changed as the change's context says. */
void membership_changed_record(struct member *m, const struct raft_conf_state *conf,
                               const struct raft_conf_change *change, struct rt_string *out);

/* Read everything from the store: at start and after an image. 1; 0: the store has no membership;
 * MEMBER_MALFORMED. */
int membership_load(struct member *m);
/* Read the first record before the store has it: 0 or MEMBER_MALFORMED. */
int membership_preload(struct member *m, struct rt_bytes record);
/* A record was applied. */
void membership_record_applied(struct member *m, struct rt_bytes key, struct rt_bytes record);
/* Say which version the cluster has, when it is known: at start. */
void membership_log_version(struct member *m);
void membership_deinit(struct membership *ms);

/* The key of a member's attributes, into buf (at least 40 bytes). */
struct rt_bytes membership_attributes_key(uint64_t id, char *buf);
void membership_put_attributes(struct rt_string *out, const char *name,
                               const struct member_urls *client_urls);
