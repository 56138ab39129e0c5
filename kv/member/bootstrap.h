/* kv/member/bootstrap.h: the data directory, and how a member begins.
 *
 *     data_dir/member/lock         held while the member runs
 *     data_dir/member/identity     who this is; written last at the first start: without it the
 *                                  directory is new, whatever else a crash left there
 *     data_dir/member/generations  our starts, counted, and the newest start seen of each peer
 *     data_dir/member/store        the store's own
 *     data_dir/member/wal          the log, unless --wal-dir says otherwise
 *     data_dir/member/installing   while an image replaces the store: (index, term) of the image */
#pragma once
#include "kv/member/member.h"
#include "kv/member/urls.h"
#include <rt/file.h>

enum { DATA_PATH_BYTES = 480 };

struct identity {
    uint64_t cluster_id, member_id;
    char name[256];
    char token[256];
};

struct data_dir {
    char root[DATA_PATH_BYTES]; // data_dir/member
    char wal[DATA_PATH_BYTES];
    char store[DATA_PATH_BYTES];
    struct rt_file *lock;
    bool has_identity;
    struct identity identity;
};

/* Make what is missing, lock it, read the identity. 0; MEMBER_REFUSED (another process has it,
 * another format, damaged); -errno; with why. */
int data_dir_open(const struct member_config *config, struct data_dir *out, struct why *why);
void data_dir_close(struct data_dir *d);
/* Make this the directory of `identity`, durably. */
int data_dir_adopt(struct data_dir *d, const struct identity *identity, struct why *why);
/* The settings were given for somebody else: MEMBER_REFUSED with why. */
int data_dir_check_settings(const struct data_dir *d, const struct member_config *config,
                            struct why *why);
/* data_dir/member/<name>, into buf (DATA_PATH_BYTES + 32). */
const char *data_dir_path(const struct data_dir *d, const char *name, char *buf);

/* The mark of an image being installed. get: 1, 0 when there is none, or an error. */
int data_dir_set_installing(struct data_dir *d, uint64_t index, uint64_t term, struct why *why);
int data_dir_get_installing(struct data_dir *d, uint64_t *index, uint64_t *term, struct why *why);
int data_dir_clear_installing(struct data_dir *d, struct why *why);

/* A small text file whose last line is a checksum; atomically replaced, durable. read: 1 with the lines
 * before the checksum appended; 0: no such file; MEMBER_REFUSED: damaged; -errno. */
int checked_file_read(const char *path, struct rt_string *out, struct why *why);
int checked_file_write(const char *path, struct rt_string *text, struct why *why);
