/* panic/catch_tsan.c: see catch.h. ThreadSanitizer keeps a stack of calls of its own, which only
 * its setjmp and longjmp know how to cut back. */
#include "runtime/panic/catch.h"
#ifdef RT_TSAN
#include <setjmp.h>

bool catch_call(struct catch *c, void (*fn)(void *arg), void *arg)
{
    jmp_buf jump;
    c->jump = &jump;
    if (setjmp(jump))
        return true;
    fn(arg);
    return false;
}

void catch_return(struct catch *c) { longjmp(*(jmp_buf *)c->jump, 1); }
#endif
