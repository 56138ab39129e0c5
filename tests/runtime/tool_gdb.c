/* tests/runtime/tool_gdb.c: goroutines in every state, for test_gdb.sh to look at from a debugger, which
 * stops in everybody_is_there: one waits for a channel, one is in a blocking call, one is in a queue,
 * one runs. */
#include <poll.h>
#include <rt/chan.h>
#include <rt/go.h>
#include <rt/inspect.h>
#include <rt/time.h>
#include <stdio.h>
#include <string.h>

static struct {
    struct rt_chan *never;
    _Atomic bool stop;
} all;

__attribute__((noinline)) static int wait_for_the_channel(void)
{
    int value = 0;
    int err = rt_chan_recv(all.never, &value, RT_FOREVER);
    return err + value;
}

static void wait_in_vain(void *arg)
{
    (void)arg;
    volatile int result = wait_for_the_channel();
    (void)result;
}

static int64_t sit(void *arg)
{
    (void)arg;
    return poll(NULL, 0, -1);
}

__attribute__((noinline)) static void block_for_ever(void *arg)
{
    (void)arg;
    volatile int64_t result = rt_blocking(sit, NULL);
    (void)result;
}

static void yield_again_and_again(void *arg)
{
    (void)arg;
    while (!atomic_load(&all.stop))
        rt_yield();
}

__attribute__((noinline)) void everybody_is_there(void) { __asm__ volatile(""); }

static bool is_everybody_there(void)
{
    struct rt_string text = {0};
    rt_dump(&text);
    const char *dump = rt_string_cstr(&text);
    bool there = strstr(dump, "[chan receive") && strstr(dump, "[blocking call") &&
                 strstr(dump, "[runnable");
    rt_string_deinit(&text);
    return there;
}

static int run(void *arg)
{
    (void)arg;
    all.never = rt_chan_new(sizeof(int), 0);
    rt_go("waiter", wait_in_vain, NULL);
    rt_go("blocker", block_for_ever, NULL);
    rt_go("yielder", yield_again_and_again, NULL);
    while (!is_everybody_there())
        rt_yield();
    everybody_is_there();
    rt_exit(0); // the blocker never comes back
}

int main(void)
{
    struct why why;
    int status = 1;
    if (rt_run(&(struct rt_options){.procs = 1}, run, NULL, &status, &why))
        fprintf(stderr, "%s\n", why.text);
    return status;
}
