/* tests/raft/test_confchange.c: the configuration changer, against etcd's conversations with it. */
#include "raft/core.h"
#include "tests/raft/disk.h"
#include "tests/raft/ops.h"
#include "tests/raft/text.h"

struct changer {
    struct disk disk;
    struct raft_members members;
    uint64_t last_index;
};

static void answer(void *ctx, const struct directive *d, struct str *out)
{
    static const struct raft_window window = {10, 0};
    struct changer *c = ctx;
    struct raft_conf_change cc = {0};
    struct raft_conf_state conf = c->members.conf;
    struct raft_ids renewed = {0};
    const char *why;
    char text[1024];
    parse_ops(d->input, &cc);
    if (strcmp(d->command, "simple") == 0) {
        why = raft_conf_simple(&conf, &cc, &renewed);
    } else if (strcmp(d->command, "enter-joint") == 0) {
        why = raft_conf_enter_joint(&conf, arg_is(d, "autoleave", "true"), &cc, &renewed);
    } else {
        assert(strcmp(d->command, "leave-joint") == 0);
        why = raft_conf_leave_joint(&conf);
    }
    if (!why)
        raft_members_set(&c->members, &c->disk.env, &conf, &renewed, c->last_index);
    c->last_index++;
    if (why) {
        str_put(out, why);
        return;
    }
    assert(raft_conf_is_sound(&conf));
    raft_describe_config(&c->members.conf, text, sizeof(text));
    str_printf(out, "%s\n", text);
    for (uint32_t i = 0; i < c->members.peer_count; i++) {
        raft_describe_progress(c->members.peer[i], &window, text, sizeof(text));
        str_printf(out, "%" PRIu64 ": %s\n", c->members.peer[i]->id, text);
    }
}

static bool run(const char *path)
{
    struct changer *c = calloc(1, sizeof(*c));
    assert(c);
    disk_init(&c->disk);
    bool ok = run_script(path, answer, c);
    raft_members_deinit(&c->members, &c->disk.env);
    if (!disk_is_clean(&c->disk)) {
        printf("# %s: %ld bytes were not given back\n", path, c->disk.allocated);
        ok = false;
    }
    disk_deinit(&c->disk);
    free(c);
    return ok;
}

int main(void) { return run_folder("confchange", run); }
