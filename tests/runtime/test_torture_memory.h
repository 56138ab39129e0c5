/* tests/runtime/test_torture_memory.h: malloc, the runtime's allocator, arenas, shared buffers, stdio. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <rt/chan.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- a set of live blocks, some replaced in each round, each checked whole before it goes ---- */

enum { BLOCKS = 48, BLOCK_MAX = 12000 };

struct allocator {
    void *(*alloc)(size_t bytes);
    void *(*resize)(void *block, size_t bytes);
    void (*release)(void *block);
};

struct block {
    void *at;
    size_t len;
    uint64_t seed;
};

static size_t random_size(struct tortured *t)
{
    return draw_below(t, 8) == 0 ? draw_below(t, BLOCK_MAX) + 1 : draw_below(t, 600) + 1;
}

static bool replace_blocks(struct tortured *t, const struct allocator *a, struct block *blocks)
{
    for (int i = 0; i < 12; i++) {
        struct block *b = &blocks[draw_below(t, BLOCKS)];
        size_t len = random_size(t);
        if (b->at && !pattern_holds(b->at, b->len, b->seed))
            return torture_wrong(t, "a block of %zu bytes was changed by somebody else", b->len);
        if (b->at && draw_below(t, 4) == 0) {
            b->at = a->resize(b->at, len);
            if (!pattern_holds(b->at, len < b->len ? len : b->len, b->seed))
                return torture_wrong(t, "a block of %zu bytes lost its contents when it became %zu",
                                     b->len, len);
        } else {
            a->release(b->at);
            b->at = a->alloc(len);
        }
        b->len = len;
        b->seed = draw(t);
        pattern_fill(b->at, len, b->seed);
    }
    return true;
}

static bool blocks_round(struct tortured *t, const struct allocator *a)
{
    if (!t->own) {
        t->own = a->alloc(BLOCKS * sizeof(struct block));
        memset(t->own, 0, BLOCKS * sizeof(struct block));
    }
    return replace_blocks(t, a, t->own);
}

static void blocks_leave(struct tortured *t, const struct allocator *a)
{
    struct block *blocks = t->own;
    for (int i = 0; blocks && i < BLOCKS; i++)
        a->release(blocks[i].at);
    a->release(blocks);
}

static const struct allocator from_libc = {malloc, realloc, free};
static const struct allocator from_runtime = {rt_alloc, rt_realloc, rt_free};
static bool malloc_round(struct tortured *t) { return blocks_round(t, &from_libc); }
static void malloc_leave(struct tortured *t) { blocks_leave(t, &from_libc); }
static bool alloc_round(struct tortured *t) { return blocks_round(t, &from_runtime); }
static void alloc_leave(struct tortured *t) { blocks_leave(t, &from_runtime); }

/* ---- blocks and buffers that somebody else frees ---- */

struct parcel {
    struct block block;
    struct rt_buf *buf; // its bytes have the same seed
};

static void *parcels_open(const char *folder)
{
    (void)folder;
    return rt_chan_new(sizeof(struct parcel), 32);
}

static bool parcels_close(void *shared, char *wrong, size_t cap)
{
    struct parcel p;
    bool right = true;
    while (rt_chan_recv(shared, &p, 0) == 0) {
        if (!pattern_holds(p.block.at, p.block.len, p.block.seed)) {
            snprintf(wrong, cap, "a block that nobody had taken was changed");
            right = false;
        }
        rt_free(p.block.at);
        rt_buf_unref(p.buf);
    }
    rt_chan_free(shared);
    return right;
}

static bool parcels_round(struct tortured *t)
{
    struct parcel p = {.block = {NULL, random_size(t), draw(t)}};
    p.block.at = rt_alloc(p.block.len);
    pattern_fill(p.block.at, p.block.len, p.block.seed);
    p.buf = rt_buf_copy(p.block.at, p.block.len);
    struct rt_buf *kept = rt_buf_ref(p.buf);
    size_t kept_len = p.block.len;
    uint64_t kept_seed = p.block.seed;
    if (rt_chan_send(t->shared, &p, 0) != 0) { // full: it stays here
        rt_free(p.block.at);
        rt_buf_unref(p.buf);
    }
    while (draw_below(t, 3) != 0 && rt_chan_recv(t->shared, &p, 0) == 0) {
        bool right = pattern_holds(p.block.at, p.block.len, p.block.seed) &&
                     p.buf->len == p.block.len &&
                     pattern_holds(p.buf->data, p.buf->len, p.block.seed);
        rt_free(p.block.at);
        rt_buf_unref(p.buf);
        if (!right)
            return torture_wrong(t, "a block from another goroutine was not what was sent");
    }
    bool right = kept->len == kept_len && pattern_holds(kept->data, kept_len, kept_seed);
    rt_buf_unref(kept);
    return right ? true : torture_wrong(t, "a buffer with two owners changed");
}

static bool arena_round(struct tortured *t)
{
    enum { PIECES = 60 };
    struct block pieces[PIECES];
    struct rt_arena *a = t->own;
    if (!a) {
        t->own = a = rt_alloc(sizeof(*a));
        rt_arena_init(a);
    }
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = (struct block){NULL, random_size(t), draw(t)};
        pieces[i].at = rt_arena_alloc(a, pieces[i].len);
        pattern_fill(pieces[i].at, pieces[i].len, pieces[i].seed);
    }
    for (int i = 0; i < PIECES; i++)
        if (!pattern_holds(pieces[i].at, pieces[i].len, pieces[i].seed))
            return torture_wrong(t, "a piece of %zu bytes of an arena changed", pieces[i].len);
    rt_arena_reset(a);
    return true;
}

static void arena_leave(struct tortured *t)
{
    if (t->own)
        rt_arena_deinit(t->own);
    rt_free(t->own);
}

/* ---- stdio: strings, memory streams, and one file for all ---- */

enum { LINES_MAX = 200000 };

struct paper {
    FILE *file;
    _Atomic int lines;
    int written[8]; // by each writer
};

static void *paper_open(const char *folder)
{
    (void)folder;
    struct paper *p = rt_alloc_zero(sizeof(*p));
    p->file = tmpfile();
    return p;
}

static bool check_line(struct paper *p, int *next, const char *line, int number)
{
    int who, seq;
    unsigned long check;
    if (sscanf(line, "%d %d %lx .........................", &who, &seq, &check) != 3)
        return false;
    if (who < 0 || who >= 8 || seq != next[who] ||
        check != (unsigned long)who * 7919u + (unsigned)seq * 31u)
        return false;
    next[who]++;
    return number <= atomic_load(&p->lines);
}

static bool paper_close(void *shared, char *wrong, size_t cap)
{
    struct paper *p = shared;
    int next[8] = {0}, number = 0;
    char line[128];
    bool right = true;
    rewind(p->file);
    while (right && fgets(line, sizeof(line), p->file))
        right = check_line(p, next, line, ++number);
    if (!right)
        snprintf(wrong, cap, "line %d of the file is: %.80s", number, line);
    for (int i = 0; i < 8 && right; i++)
        if (next[i] != p->written[i]) {
            snprintf(wrong, cap, "writer %d wrote %d lines, %d are there", i, p->written[i],
                     next[i]);
            right = false;
        }
    fclose(p->file);
    rt_free(p);
    return right;
}

static bool print_to_memory(struct tortured *t)
{
    char *text = NULL, want[64];
    size_t len = 0, expected = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return torture_wrong(t, "no memory stream");
    for (int i = 0; i < 20; i++) {
        uint64_t x = draw(t);
        expected +=
            (size_t)snprintf(want, sizeof(want), "%016lx %d %.3f|", (unsigned long)x, i, i / 8.0);
        fprintf(f, "%016lx %d %.3f|", (unsigned long)x, i, i / 8.0);
        stroll(t);
        fflush(f);
        if (len != expected || memcmp(text + len - strlen(want), want, strlen(want)) != 0) {
            fclose(f);
            free(text);
            return torture_wrong(t, "a memory stream holds something else than was printed");
        }
    }
    fclose(f);
    free(text);
    return true;
}

static bool stdio_round(struct tortured *t)
{
    struct paper *p = t->shared;
    char text[64];
    uint64_t x = draw(t) >> 1;
    unsigned long back = 0;
    snprintf(text, sizeof(text), "%lu", (unsigned long)x);
    if (sscanf(text, "%lu", &back) != 1 || back != x)
        return torture_wrong(t, "%lu was printed and read back as %lu", (unsigned long)x, back);
    if (atomic_fetch_add(&p->lines, 1) < LINES_MAX) {
        int seq = p->written[t->who]++;
        fprintf(p->file, "%d %d %lx .........................\n", t->who, seq,
                (unsigned long)t->who * 7919u + (unsigned)seq * 31u);
    }
    return draw_below(t, 8) != 0 || print_to_memory(t);
}

static const struct work memory_works[] = {
    {"malloc", 3, NULL, malloc_round, malloc_leave, NULL},
    {"rt_alloc", 3, NULL, alloc_round, alloc_leave, NULL},
    {"blocks freed elsewhere", 3, parcels_open, parcels_round, NULL, parcels_close},
    {"arenas", 2, NULL, arena_round, arena_leave, NULL},
    {"stdio", 3, paper_open, stdio_round, NULL, paper_close},
};
