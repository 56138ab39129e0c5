/* wal/files.c: see files.h. */
#include "wal/files.h"
#include <assert.h>
#include <rt/alloc.h>
#include <string.h>

void wal_files_add_locked(struct wal_files *f, const struct wal_segment *segment)
{
    assert(f->count == 0 || f->segment[f->count - 1].number + 1 == segment->number);
    if (f->count == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 8;
        struct wal_segment *grown = rt_alloc(cap * sizeof *grown);
        assert(grown);
        if (f->count > 0)
            memcpy(grown, f->segment, f->count * sizeof *grown);
        rt_free(f->segment);
        f->segment = grown;
        f->cap = cap;
    }
    f->segment[f->count++] = *segment;
}

struct wal_segment *wal_files_find_locked(struct wal_files *f, uint64_t number)
{
    if (f->count == 0 || number < f->segment[0].number || number - f->segment[0].number >= f->count)
        return NULL;
    return &f->segment[number - f->segment[0].number];
}

void wal_files_deinit(struct wal_files *f)
{
    if (f->lock_file)
        (void)rt_file_close(f->lock_file); // it holds nothing but the lock
    rt_free(f->segment);
    wal_places_deinit(&f->places);
    *f = (struct wal_files){.count = 0};
}
