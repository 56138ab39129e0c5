/* wal/errors.h: what can be wrong with a log, one line each: name, number, words. */
#pragma once

#define WAL_ERRORS(X)                                                                              \
    X(WAL_DAMAGED, -7001, "the log is damaged")                                                    \
    X(WAL_FOREIGN, -7002, "the log belongs to another cluster or member")                          \
    X(WAL_VERSION, -7003, "the log is written in a format that this program does not know")        \
    X(WAL_IN_USE, -7004, "another process has the log open")                                       \
    X(WAL_COMPACTED, -7005, "the entry is no longer in the log")                                   \
    X(WAL_UNAVAILABLE, -7006, "the entry is not in the log yet")                                   \
    X(WAL_NO_SPACE, -7007, "the disk has no space for the log's next segment")                     \
    X(WAL_BAD_OPTION, -7008, "a setting of the log is out of its bounds")                          \
    X(WAL_NONE, -7009, "nothing of that kind is there") /* inside wal/ only */

enum wal_error {
#define X(name, number, words) name = number,
    WAL_ERRORS(X)
#undef X
};

/* The words of `err`, one of the above; NULL for anything else.  Context: never parks. */
const char *wal_error_words(int err);
