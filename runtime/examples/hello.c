/* examples/hello.c: a hundred goroutines add up; main waits for them.
 *     build/runtime/examples/hello */
#include <rt/go.h>
#include <rt/sync.h>
#include <stdatomic.h>
#include <stdio.h>

struct sum {
    _Atomic int total;
    struct rt_waitgroup done;
};

static void add(void *arg)
{
    struct sum *sum = arg;
    atomic_fetch_add(&sum->total, 1);
    rt_waitgroup_done(&sum->done);
}

static int program(void *arg)
{
    (void)arg;
    struct sum sum = {.total = 0};
    rt_waitgroup_add(&sum.done, 100);
    for (int i = 0; i < 100; i++)
        if (rt_go("adder", add, &sum) != 0)
            return 1;
    rt_waitgroup_wait(&sum.done, RT_FOREVER);
    printf("hello from %d goroutines on %u Ps\n", atomic_load(&sum.total), rt_procs());
    return 0;
}

int main(void)
{
    struct why why;
    int result = 1;
    if (rt_run(NULL, program, NULL, &result, &why) != 0) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    return result;
}
