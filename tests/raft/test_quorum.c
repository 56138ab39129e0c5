/* tests/raft/test_quorum.c: majorities and joint majorities, against etcd's table of cases. Beside the
 * answers of the files, each case is also checked for what must hold of any: a joint quorum with an empty
 * half, or with itself, is the majority; the halves commute; lowering what lies below the result changes
 * nothing. */
#include "raft/ids.h"
#include "raft/quorum.h"
#include "tests/raft/text.h"
#include <inttypes.h>

struct acks {
    struct raft_ids voters; // all, sorted
    uint64_t index[RAFT_MEMBERS_MAX * 2];
    bool known[RAFT_MEMBERS_MAX * 2];
    bool yes[RAFT_MEMBERS_MAX * 2];
};

static uint32_t place(const struct raft_ids *s, uint64_t id)
{
    uint32_t i = 0;
    while (i < s->count && s->id[i] != id)
        i++;
    return i;
}

static uint64_t acked(const void *ctx, uint64_t id)
{
    const struct acks *a = ctx;
    uint32_t i = place(&a->voters, id);
    return a->known[i] ? a->index[i] : 0;
}

static uint64_t committed(const struct raft_ids *a, const struct raft_ids *b,
                          const struct acks *acks)
{
    return raft_quorum_committed(&(struct raft_quorum){a, b}, acked, acks);
}

static void check_laws(const struct raft_ids *in, const struct raft_ids *out,
                       const struct acks *acks, struct str *said)
{
    static const struct raft_ids none;
    uint64_t result = committed(in, out, acks);
    if (committed(out, in, acks) != result)
        str_put(said, "the halves do not commute\n");
    if (committed(in, &none, acks) != committed(in, in, acks))
        str_put(said, "joint with itself is not joint with nothing\n");
    for (uint32_t i = 0; i < acks->voters.count; i++) {
        struct acks lower = *acks;
        if (!lower.known[i] || lower.index[i] == 0 || lower.index[i] >= result)
            continue;
        lower.index[i]--;
        if (committed(in, out, &lower) != result)
            str_put(said, "lowering an index below the result changed it\n");
    }
}

static void describe_acks(const struct acks *a, struct str *out)
{
    uint32_t n = a->voters.count;
    if (n == 0) {
        str_put(out, "<empty majority quorum>");
        return;
    }
    str_printf(out, "%*sidx\n", (int)n + 4, "");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = 0; // voters with a lower index; those equal share a rank
        for (uint32_t j = 0; j < n; j++)
            rank += (a->known[j] ? a->index[j] : 0) < (a->known[i] ? a->index[i] : 0);
        if (!a->known[i]) {
            str_printf(out, "?%*s", (int)n, "");
        } else {
            for (uint32_t j = 0; j < rank; j++)
                str_put(out, "x");
            str_printf(out, ">%*s", (int)(n - rank), "");
        }
        str_printf(out, " %5" PRIu64 "    (id=%" PRIx64 ")\n", a->known[i] ? a->index[i] : 0,
                   a->voters.id[i]);
    }
}

static void read_ids(const struct arg *a, struct raft_ids *ids)
{
    for (size_t i = 0; a && i < a->count; i++)
        raft_ids_add(ids, strtoull(a->value[i], NULL, 10));
}

/* Deal the values to the ids of cfg, then cfgj, in the order written, each id once. */
static bool deal(const struct directive *d, const char *key, struct acks *acks)
{
    const char *const parts[] = {"cfg", "cfgj"};
    const struct arg *values = find_arg(d, key);
    struct raft_ids seen = {0};
    size_t next = 0;
    for (size_t p = 0; p < 2; p++) {
        const struct arg *ids = find_arg(d, parts[p]);
        for (size_t i = 0; ids && i < ids->count; i++) {
            uint64_t id = strtoull(ids->value[i], NULL, 10);
            if (id == 0 || raft_ids_has(&seen, id))
                continue;
            raft_ids_add(&seen, id);
            if (!values || next >= values->count)
                return false;
            const char *v = values->value[next++];
            uint32_t at = place(&acks->voters, id);
            acks->known[at] = strcmp(v, "_") != 0;
            acks->index[at] = strtoull(v, NULL, 10);
            acks->yes[at] = *v == 'y';
        }
    }
    return next == (values ? values->count : 0);
}

static void answer(void *ctx, const struct directive *d, struct str *out)
{
    static const char *const result_text[] = {"VotePending", "VoteLost", "VoteWon"};
    struct raft_ids in = {0}, outgoing = {0}, yes = {0}, no = {0};
    struct acks acks = {0};
    bool votes = strcmp(d->command, "vote") == 0;
    (void)ctx;
    read_ids(find_arg(d, "cfg"), &in);
    if (!arg_is(d, "cfgj", "zero"))
        read_ids(find_arg(d, "cfgj"), &outgoing);
    acks.voters = in;
    raft_ids_add_all(&acks.voters, &outgoing);
    if (!deal(d, votes ? "votes" : "idx", &acks)) {
        str_put(out, "error: mismatched input (explicit or _) for voters ");
        str_put(out, "[");
        for (uint32_t i = 0; i < acks.voters.count; i++)
            str_printf(out, "%s%" PRIu64, i ? " " : "", acks.voters.id[i]);
        str_put(out, "]");
        return;
    }
    if (votes) {
        for (uint32_t i = 0; i < acks.voters.count; i++)
            if (acks.known[i])
                raft_ids_add(acks.yes[i] ? &yes : &no, acks.voters.id[i]);
        str_put(out,
                result_text[raft_quorum_vote(&(struct raft_quorum){&in, &outgoing}, &yes, &no)]);
        return;
    }
    describe_acks(&acks, out);
    uint64_t result = committed(&in, &outgoing, &acks);
    if (result == UINT64_MAX)
        str_put(out, "∞");
    else
        str_printf(out, "%" PRIu64, result);
    str_put(out, "\n");
    check_laws(&in, &outgoing, &acks, out);
}

static bool run(const char *path) { return run_script(path, answer, NULL); }

int main(void) { return run_folder("quorum", run); }
