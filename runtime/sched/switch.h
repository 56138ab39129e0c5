/* sched/switch.h: the assembly's side of switching stacks. */
#pragma once

/* Save the callee-saved registers and floating-point control words on this stack, its pointer in
 * *save, and go on where `to` was saved. Returns when somebody switches back, perhaps on another
 * thread. */
void switch_stack(void **save, void *to);

/* Lay out a new stack below `top` so that switching to the result calls goroutine_main(). */
void *switch_new_stack(void *top);
_Noreturn void goroutine_main(void);

/* Where the signal handler makes an interrupted goroutine go on: as if it had called this at that
 * instruction. Saves everything, calls preempt_injected(), restores everything. */
void preempt_entry(void);
void preempt_injected(void *frame); // of preempt_entry: [0] the interrupted rbp, [1] its rip
void preempt_switch(void);

/* For preempt_entry: how the vector state is saved, and which parts of it. */
enum { PREEMPT_SAVE_FXSAVE, PREEMPT_SAVE_XSAVE, PREEMPT_SAVE_XSAVEC };
extern unsigned preempt_save_how, preempt_save_mask;
