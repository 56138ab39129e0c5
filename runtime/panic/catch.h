/* panic/catch.h: a place to come back to. Not setjmp: that may return twice into a function whose
 * compiler knows nothing of it, and longjmp refuses to cross what it takes for another stack. Here
 * the place is a call: catch_call returns once, either when fn has returned or when somebody under
 * it said catch_return.
 *
 * Under ThreadSanitizer, which follows calls and returns itself, the same by setjmp (catch_tsan.c);
 * everywhere else catch_amd64.S. */
#pragma once
#include <stdbool.h>

struct catch
{
    void *sp;   // catch_amd64.S: the saved registers
    void *jump; // catch_tsan.c: a jmp_buf
};

/* Call fn(arg). False when it returned, true when catch_return(c) was called under it. */
bool catch_call(struct catch *c, void (*fn)(void *arg), void *arg);
_Noreturn void catch_return(struct catch *c);
