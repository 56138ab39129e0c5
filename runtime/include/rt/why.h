/* rt/why.h: the one line that tells a person what went wrong. The caller owns it (often on its
 * stack), so it survives parking; whoever knows the facts writes it, whoever ends the request
 * prints it. A NULL `why` is allowed everywhere and drops the text. */
#pragma once
#include <stdarg.h>
#include <stddef.h>

enum { WHY_BYTES = 512 };

struct why {
    char text[WHY_BYTES]; // always ends in NUL; cut when too long
};

/* Replace the line.  Context: never parks. */
void why_set(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put `format` and ": " in front of what is there, for a caller that knows more of the story.
 * Context: never parks. */
void why_prefix(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The system's words for `err` (a positive errno or its negative), in `buf`. Never uses
 * strerror's static buffer.  Context: never parks. */
const char *why_errno(int err, char *buf, size_t cap);

/* The only way to die: print `why` (and the goroutine dump, where there are goroutines) on stderr
 * and abort. A failed assertion ends in the same place.  Context: any thread. */
_Noreturn void rt_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
