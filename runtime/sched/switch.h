/* sched/switch.h: the assembly's side of switching stacks. */
#pragma once
#include <stdint.h>

/* Save where we are on this stack, its pointer in *save, and go on where `to` was saved. Returns when somebody switches back, perhaps on another thread. The
 * registers are the compiler's to save, in the frame of the function this is expanded in: it keeps
 * none across, but rbp. That function calls others, too, so nothing of it lies below its stack
 * pointer. */
static inline __attribute__((always_inline)) void switch_stack(void **save, void *to)
{
    __asm__ volatile("call switch_stack"
                     : "+D"(save), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                       "memory", "cc");
}
/* The same from a stack that nobody comes back to. */
_Noreturn void switch_away(void *to);

/* Lay out a new stack below `top` (aligned to 64) so that switching to the result calls
 * goroutine_main(): one cache line. What the other registers hold then is nobody's business. */
void goroutine_first(void);
_Noreturn void goroutine_main(void);
static inline void *switch_new_stack(void *top)
{
    uint64_t *at = (uint64_t *)top - 2;
    at[0] = 0; // rbp: the frame chain ends here
    at[1] = (uint64_t)(uintptr_t)goroutine_first;
    return at;
}

/* The control words of floating point: rounding, traps, denormals. Those of a program's start are the
 * usual ones, which everybody finds who has not asked for his own. */
struct fpu_control {
    uint16_t mxcsr, x87; // all of MXCSR that has a meaning to programs
};
static inline struct fpu_control fpu_get_control(void)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (struct fpu_control){.mxcsr = (uint16_t)mxcsr, .x87 = x87};
}
static inline void fpu_set_control(struct fpu_control c)
{
    uint32_t mxcsr = c.mxcsr;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(c.x87));
}
static const struct fpu_control fpu_usual = {.mxcsr = 0x1f80, .x87 = 0x037f};

/* Where the signal handler makes an interrupted goroutine go on: as if it had called this at that
 * instruction. Saves everything, calls preempt_injected(), restores everything. */
void preempt_entry(void);
void preempt_injected(void *frame); // of preempt_entry: [0] the interrupted rbp, [1] its rip
void preempt_switch(void);

/* For preempt_entry: how the vector state is saved, and which parts of it. */
enum { PREEMPT_SAVE_FXSAVE, PREEMPT_SAVE_XSAVE, PREEMPT_SAVE_XSAVEC };
extern unsigned preempt_save_how, preempt_save_mask;
