/* raft/say.h: the core's log lines. They leave by a callback; the text is made here, in buffers of the
 * core's own, so that a line costs no stack. The wording is etcd's where etcd has one: operators search
 * for it. */
#pragma once
#include "raft/raft.h"
#include <inttypes.h>
#include <stdio.h>

struct raft_voice {
    const struct raft_env *env;
    enum raft_level level; // lines below this are not made
    char line[1536];
    char part[1024]; // what describes a value inside a line
};

/* The arguments are evaluated only if the line is wanted. */
#define raft_say(voice, how, ...)                                                                  \
    do {                                                                                           \
        struct raft_voice *v_ = (voice);                                                           \
        if ((how) >= v_->level && v_->env->log) {                                                  \
            snprintf(v_->line, sizeof(v_->line), __VA_ARGS__);                                     \
            v_->env->log(v_->env->ctx, (how), v_->line);                                           \
        }                                                                                          \
    } while (0)
