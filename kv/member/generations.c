/* kv/member/generations.c: see generations.h. The file: "self <n>", then "seen <id> <n> <life>" lines,
 * numbers but for n in hex. */
#include "kv/member/generations.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/parse.h>
#include <rt/time.h>
#include <stdio.h>

static int save_locked(struct generations *g, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    struct rt_string text = {0};
    rt_string_printf(&text, "self %" PRIu64 "\n", g->self);
    for (uint32_t i = 0; i < g->count; i++)
        rt_string_printf(&text, "seen %" PRIx64 " %" PRIu64 " %" PRIx64 "\n", g->seen[i].id,
                         g->seen[i].generation, g->seen[i].life);
    int err = checked_file_write(data_dir_path(g->dir, "generations", path), &text, why);
    rt_string_deinit(&text);
    return err;
}

/* The n-th word of a line, into buf. */
static const char *word(const char *line, int n, char *buf, size_t cap)
{
    for (; n > 0; n--) {
        line += strcspn(line, " \n");
        line += *line == ' ';
    }
    snprintf(buf, cap, "%.*s", (int)strcspn(line, " \n"), line);
    return buf;
}

static int parse_line(struct generations *g, const char *line)
{
    char buf[64];
    if (strncmp(line, "self ", 5) == 0)
        return rt_parse_u64(word(line, 1, buf, sizeof(buf)), &g->self);
    if (strncmp(line, "seen ", 5) != 0 || g->count == 2 * MEMBER_MEMBERS)
        return -1;
    uint64_t id, generation, life;
    if (rt_parse_hex(word(line, 1, buf, sizeof(buf)), &id) ||
        rt_parse_u64(word(line, 2, buf, sizeof(buf)), &generation) ||
        rt_parse_hex(word(line, 3, buf, sizeof(buf)), &life))
        return -1;
    g->seen[g->count].id = id;
    g->seen[g->count].generation = generation;
    g->seen[g->count].life = life;
    g->count++;
    return 0;
}

int generations_begin(struct generations *g, const struct data_dir *dir, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    struct rt_string text = {0};
    *g = (struct generations){.dir = dir};
    int got = checked_file_read(data_dir_path(dir, "generations", path), &text, why);
    if (got == 0 && dir->has_identity) {
        why_set(why,
                "%s is missing: somebody removed it. Replace this member: deploy/README.md, "
                "\"Replace a member\"",
                path);
        got = MEMBER_REFUSED;
    }
    for (const char *line = rt_string_cstr(&text); got == 1 && *line;) {
        if (parse_line(g, line)) {
            why_set(why, "%s is not understood at \"%.40s\"", path, line);
            got = MEMBER_REFUSED;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    rt_string_deinit(&text);
    if (got < 0)
        return got;
    g->self++;
    rt_random(&g->life, sizeof(g->life));
    return save_locked(g, why);
}

int generations_check(struct generations *g, uint64_t id, uint64_t generation, uint64_t life,
                      struct why *why)
{
    int err = 0;
    rt_mutex_lock(&g->lock);
    uint32_t i = 0;
    while (i < g->count && g->seen[i].id != id)
        i++;
    bool known = i < g->count;
    if (known && (generation < g->seen[i].generation ||
                  (generation == g->seen[i].generation && life != g->seen[i].life))) {
        why_set(why,
                "the data directory of member %" PRIx64 " is emptied or older than what it has "
                "acknowledged (start %" PRIu64 "; start %" PRIu64 " was seen). Replace it: remove "
                "the member, empty its directory, add it again",
                id, generation, g->seen[i].generation);
        err = MEMBER_REFUSED;
    } else if (!known && i == 2 * MEMBER_MEMBERS) {
        why_set(why, "the starts of %d members are remembered already", 2 * MEMBER_MEMBERS);
        err = MEMBER_REFUSED;
    } else if (!known || generation > g->seen[i].generation) {
        g->count += !known;
        g->seen[i].id = id;
        g->seen[i].generation = generation;
        g->seen[i].life = life;
        err = save_locked(g, why);
        if (err) // not remembered, so not accepted: what stands in the file counts
            g->seen[i].generation = generation - 1;
    }
    rt_mutex_unlock(&g->lock);
    return err;
}
