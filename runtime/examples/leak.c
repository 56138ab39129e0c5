/* examples/leak.c: a server that forgets a goroutine now and then, and the watch that finds it.
 *     build/runtime/examples/leak */
#include <rt/chan.h>
#include <rt/go.h>
#include <rt/inspect.h>
#include <rt/leak.h>
#include <rt/time.h>
#include <stdio.h>

/* Asks a backend and waits for its answer. When nobody ever answers, it waits for ever: that is the
 * leak. A deadline, or a context that the request's end cancels, would be the cure. */
static void ask_backend(void *answers)
{
    int answer;
    int err = rt_chan_recv(answers, &answer, RT_FOREVER);
    if (err)
        fprintf(stderr, "the backend is gone\n");
}

static void serve_requests(void *arg)
{
    struct rt_chan *healthy = rt_chan_new(sizeof(int), 1), *dead = rt_chan_new(sizeof(int), 0);
    (void)arg;
    for (int request = 1;; request++) {
        bool is_unlucky = request % 5 == 0;
        int answer = request;
        if (rt_go("backend-call", ask_backend, is_unlucky ? dead : healthy) != 0)
            return;
        if (!is_unlucky && rt_chan_send(healthy, &answer, RT_FOREVER) != 0)
            return;
        rt_sleep_ns(5 * RT_MS);
    }
}

static int program(void *arg)
{
    (void)arg;
    struct rt_leak_options options = RT_LEAK_DEFAULTS;
    options.period_ns = 100 * RT_MS; // 5 s in a server
    rt_go("server", serve_requests, NULL);
    struct rt_leak_watch *watch = rt_leak_watch_new(&options);
    while (rt_leak_watch_look(watch))
        ;
    struct rt_leak_summary found;
    struct rt_string report = {0};
    rt_leak_watch_summary(watch, &found);
    rt_leak_watch_report(watch, RT_LEAK_STACKS, &report);
    printf("%llu goroutines before, %llu now, %llu leak\n%s",
           (unsigned long long)found.goroutines_before, (unsigned long long)found.goroutines_now,
           (unsigned long long)found.leaks, rt_string_cstr(&report));
    rt_string_deinit(&report);
    rt_leak_watch_free(watch);
    return found.leaks == 1 ? 0 : 1;
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
