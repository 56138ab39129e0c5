/* sim/simdisk.h: files in memory that lose, when the power goes, what was not made durable.
 *
 *     write --> pages as they are now        datasync(file) --> durable pages and size := as they were
 *                                                               when it began; failed: never
 *     create, rename, unlink --> names now, and a list of changes, in order
 *                                            sync(directory) --> its changes from before leave the list
 *     power loss --> each dirty 512-byte sector is new or old; each listed change is kept or undone
 *
 * A change of names is one step, as in file systems with a journal: a rename is there or not, never
 * half. Which changes survive is drawn for each by itself, which is harsher than a journal (that
 * keeps their order) and what POSIX allows. Neither syncing a file nor syncing a new directory makes
 * its own name durable: only syncing the directory that holds the name does.
 *
 * simpages.c: contents of one file. simtree.c: names. simdisk.c: handles, faults, latency. */
#pragma once
#include "rt/file.h"
#include "runtime/poll/file.h"
#include "runtime/sim/driver.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_NAME_BYTES = 256 };

struct sim_name {
    struct sim_name *next; // in order of text
    struct sim_node *node;
    char text[SIM_NAME_BYTES];
};

/* A file or a directory. Freed when nothing speaks of it any more. */
struct sim_node {
    uint64_t number;
    uint32_t uses; // names, open files and listed changes
    bool is_directory;
    struct sim_node *parent;    // where its name is; the root for the root and the nameless
    struct sim_name *names;     // directory
    struct sim_pages *pages;    // file
    struct sim_file *locked_by; // file
};

struct sim_change {
    struct sim_change *next; // in order of happening
    uint64_t number;         // the first one is 1
    enum sim_change_kind { SIM_CREATED, SIM_REMOVED, SIM_RENAMED } kind;
    struct sim_node *directory; // of the name; of a rename, of the new one
    struct sim_node *from;      // of a rename, where the old name was
    struct sim_node *node;      // what the name stands or stood for
    struct sim_node *replaced;  // by a rename, or NULL
    char name[SIM_NAME_BYTES], from_name[SIM_NAME_BYTES];
};

struct sim_file {
    struct rt_file base;
    struct sim *sim;
    struct sim_file *next; // all that are open
    struct sim_node *node;
    int flags;
    bool dead; // the power was lost meanwhile
};

struct simdisk {
    struct sim_node *root;
    struct sim_change *first_change, *last_change;
    struct sim_file *open_files;
    uint64_t numbers;     // of nodes
    uint64_t changes;     // that ever happened
    uint64_t limit_bytes; // 0: none
    uint64_t used_bytes;  // pages as they are now
};

/* ---- simpages.c ---- */
struct sim_pages *sim_pages_new(void);
void sim_pages_free(struct sim_pages *p, struct simdisk *d);
uint64_t sim_pages_size(const struct sim_pages *p);
size_t sim_pages_read(const struct sim_pages *p, void *buf, size_t len, uint64_t offset);
/* 0, -ENOSPC or -EFBIG; then what fitted is written. */
int sim_pages_write(struct sim_pages *p, struct simdisk *d, const void *buf, size_t len,
                    uint64_t offset);
int sim_pages_allocate(struct sim_pages *p, struct simdisk *d, uint64_t offset, uint64_t len);
int sim_pages_truncate(struct sim_pages *p, struct simdisk *d, uint64_t size);
/* All that overlaps the range now, and the size, is to become durable; len UINT64_MAX: everything. It
 * does when one of the others is called, which frees the copy: it has become durable, or will never (and
 * the next sync will say that it has). Of a file whose power was lost meanwhile: failed. */
struct sim_pages_copy *sim_pages_sync_begin(struct sim_pages *p, uint64_t offset, uint64_t len);
void sim_pages_sync_end(struct sim_pages *p, struct sim_pages_copy *c);
void sim_pages_sync_failed(struct sim_pages *p, struct sim_pages_copy *c);
/* Neither, for all that are under way: the run has ended. */
void sim_pages_forget_syncs(struct sim_pages *p);
/* Returns how many sectors went back to what was durable. */
uint64_t sim_pages_lose_power(struct sim_pages *p, struct simdisk *d, struct sim *s);

/* ---- simtree.c ---- */
/* The node at `path`, or NULL. When dir_out is not NULL: also the directory that holds or would
 * hold it (NULL when there is none) and its last component. */
struct sim_node *sim_tree_find(struct simdisk *d, const char *path, struct sim_node **dir_out,
                               char name_out[SIM_NAME_BYTES]);
struct sim_node *sim_tree_create(struct simdisk *d, struct sim_node *dir, const char *name,
                                 bool is_directory);
void sim_tree_remove(struct simdisk *d, struct sim_node *dir, const char *name);
void sim_tree_rename(struct simdisk *d, struct sim_node *from_dir, const char *from_name,
                     struct sim_node *to_dir, const char *to_name);
bool sim_tree_is_under(const struct sim_node *node, const struct sim_node *dir);
/* The changes of names in `dir` with a number up to this one are durable. */
void sim_tree_sync(struct simdisk *d, struct sim_node *dir, uint64_t number);
/* Keep or undo each listed change under `dir`; returns how many were undone. */
uint64_t sim_tree_lose_power(struct simdisk *d, struct sim_node *dir, struct sim *s);
void sim_node_use(struct sim_node *n);
void sim_node_unuse(struct simdisk *d, struct sim_node *n);
struct sim_node *sim_node_new(struct simdisk *d, bool is_directory);
void sim_tree_free(struct simdisk *d);
