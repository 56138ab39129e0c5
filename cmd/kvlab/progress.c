/* cmd/kvlab/progress.c: how far we are, on stderr. */
#include "cmd/kvlab/lab.h"
#include <rt/go.h>
#include <stdio.h>

enum { BAR = 24, TICK_MS = 500 };

void progress_plan(struct lab *lab, double seconds)
{
    struct progress *p = &lab->progress;
    rt_mutex_lock(&p->lock);
    p->planned_s += seconds;
    rt_mutex_unlock(&p->lock);
}

/* Of the step that runs, what its time says, and never more than the whole. */
static double done_s(const struct progress *p, int64_t now_ns)
{
    double within = (double)(now_ns - p->step_ns) / 1e9;
    return p->done_s + (within < p->step_s ? within : p->step_s);
}

double progress_part(const struct progress *p, int64_t now_ns)
{
    double part = p->planned_s > 0 ? done_s(p, now_ns) / p->planned_s : 0;
    return part > 1 ? 1 : part;
}

void progress_line(const struct progress *p, int64_t now_ns, char *buf, size_t cap)
{
    double elapsed = (double)(now_ns - p->started_ns) / 1e9, done = done_s(p, now_ns),
           part = progress_part(p, now_ns);
    // What is left at the pace so far; at the beginning, as planned.
    double left = done > 2 ? elapsed * (1 - part) / part : p->planned_s - done;
    int minutes = left > 0 ? (int)(left / 60) : 0, seconds = left > 0 ? (int)left % 60 : 0;
    if (!p->is_terminal) {
        snprintf(buf, cap, "%3.0f %% (%d:%02d left) %s", part * 100, minutes, seconds, p->text);
        return;
    }
    char bar[BAR + 1];
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(part * BAR) ? '#' : '.';
    bar[BAR] = 0;
    snprintf(buf, cap, "[%s] %3.0f %% %2d:%02d left  %-36.36s", bar, part * 100, minutes, seconds,
             p->text);
}

/* Context: the lock is held. */
static void draw_locked(struct progress *p)
{
    char line[256];
    progress_line(p, rt_now_ns(), line, sizeof line);
    fprintf(stderr, p->is_terminal ? "\r%s" : "%s\n", line);
    p->drawn = p->is_terminal;
}

/* The bar moves within a long step, too. Ends with the process. */
static void tick(void *arg)
{
    struct progress *p = arg;
    for (;;) {
        rt_sleep_ns(TICK_MS * RT_MS);
        rt_mutex_lock(&p->lock);
        if (p->drawn && !p->quiet)
            draw_locked(p);
        rt_mutex_unlock(&p->lock);
    }
}

void progress_start(struct lab *lab, bool is_terminal)
{
    struct progress *p = &lab->progress;
    p->is_terminal = is_terminal;
    p->started_ns = p->step_ns = rt_now_ns();
    if (is_terminal)
        rt_go("progress", tick, p); // without it the bar moves from step to step only
}

void progress_begin(struct lab *lab, double seconds)
{
    struct progress *p = &lab->progress;
    rt_mutex_lock(&p->lock);
    p->due_s = p->done_s + seconds;
    rt_mutex_unlock(&p->lock);
}

/* Context: the lock is held. */
static void end_step_locked(struct progress *p)
{
    p->done_s += p->step_s;
    p->step_s = 0;
    p->step_ns = rt_now_ns();
}

void progress_end(struct lab *lab)
{
    struct progress *p = &lab->progress;
    rt_mutex_lock(&p->lock);
    end_step_locked(p);
    p->planned_s += p->done_s - p->due_s;
    rt_mutex_unlock(&p->lock);
}

void progress_clear(struct lab *lab)
{
    struct progress *p = &lab->progress;
    rt_mutex_lock(&p->lock);
    if (p->drawn)
        fprintf(stderr, "\r%78s\r", "");
    p->drawn = false;
    p->quiet = true;
    rt_mutex_unlock(&p->lock);
}

void progress_step(struct lab *lab, double seconds, const char *format, ...)
{
    struct progress *p = &lab->progress;
    va_list args;
    rt_mutex_lock(&p->lock);
    va_start(args, format);
    vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
    end_step_locked(p);
    p->step_s = seconds;
    p->quiet = false;
    draw_locked(p);
    rt_mutex_unlock(&p->lock);
}
