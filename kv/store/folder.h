/* kv/store/folder.h: the store's directory: its lock, and which database in it is the one. */
#pragma once
#include <rt/alloc.h>
#include <rt/file.h>

/* Make the directory if need be (mode 0700) and lock it. 0; -EAGAIN: another process has it. */
int folder_lock(const char *dir, struct rt_file **lock_file, struct why *why);
/* The path of the current database, which may have to be made; left-overs are removed. */
int folder_current(const char *dir, struct rt_string *path, struct why *why);
/* A path for the next database; what stood there is removed. */
int folder_next(const char *dir, struct rt_string *path, struct why *why);
/* Make the next database the current one, atomically and durably. */
int folder_switch(const char *dir, struct why *why);
/* Remove a database and its folder; what cannot be removed stays until the next start. */
void folder_remove(const char *path);
