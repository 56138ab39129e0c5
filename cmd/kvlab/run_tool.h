/* cmd/kvlab/run_tool.h: a program run to its end, and what it said. */
#pragma once
#include "cmd/kvlab/leftovers.h"

/* Run argv, a leftover until it has ended, with all it says in the file `log_path` (made anew); the first cap - 1 bytes of that in
 * `said`, without the last newline. 0, the program's status, or -errno with why.
 * Context: parks. */
int run_tool(struct leftovers *left, const char *const *argv, const char *log_path, char *said,
             size_t cap, struct why *why);
/* The same with an environment, which ends in NULL. */
int run_tool_in(struct leftovers *left, const char *const *argv, const char *const *envp,
                const char *log_path, char *said, size_t cap, struct why *why);

/* The last `lines` lines of a file, in buf; "" when it cannot be read.  Context: parks. */
void file_tail(const char *path, int lines, char *buf, size_t cap);
/* All of a small file whose size the system does not tell (/proc), cut to cap - 1 bytes and ended by
 * a NUL. Its length, or -errno.  Context: parks. */
int file_text(const char *path, char *buf, size_t cap);
/* A folder and all in it, few levels deep. What cannot be removed stays, which harms nothing. */
void file_remove_tree(const char *path);
