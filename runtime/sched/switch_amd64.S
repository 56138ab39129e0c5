/* sched/switch_amd64.S: what C cannot say: changing stacks, a goroutine's first instruction, and
 * the call that a signal handler injects.
 *
 * A saved stack, from the pointer upward (inspect/glance.c, the gdb script and switch_new_stack know
 * it, too):
 *     0   rbp      8   where to go on
 * What else a function may expect to keep, the caller has saved (switch.h). The control words of
 * floating point are not touched: to read MXCSR alone takes longer than all the rest of a switch. */
    .text

    .globl switch_stack
    .hidden switch_stack
    .type switch_stack, @function
    .p2align 5
switch_stack:
    .cfi_startproc
    endbr64
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    ret
    .cfi_endproc
    .size switch_stack, .-switch_stack

/* _Noreturn void switch_away(void *to): what this stack holds is needed no more. */
    .globl switch_away
    .hidden switch_away
    .type switch_away, @function
    .p2align 4
switch_away:
    .cfi_startproc
    .cfi_undefined %rip
    endbr64
    mov %rdi, %rsp
    pop %rbp
    ret
    .cfi_endproc
    .size switch_away, .-switch_away

/* Where the stacks that switch_new_stack lays out begin. */
    .globl goroutine_first
    .hidden goroutine_first
    .type goroutine_first, @function
    .p2align 4
goroutine_first:
    .cfi_startproc
    .cfi_undefined %rip         /* nothing called us: unwinding ends */
    endbr64
    call goroutine_main
    ud2
    .cfi_endproc
    .size goroutine_first, .-goroutine_first

/* The handler moved rsp 128 down (the red zone) and pushed the interrupted rip. The last
 * instruction undoes both, touching neither register nor flag. The frame comes first, so that
 * walking frame pointers passes through here. */
    .globl preempt_entry
    .hidden preempt_entry
    .type preempt_entry, @function
    .p2align 5
    .set SAVE_BYTES, 2752       /* x87 to AVX-512 in the standard form; compact needs 2,432 */
preempt_entry:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa %rsp, 136
    .cfi_offset %rip, -136
    endbr64
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_offset %rbp, -144
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    pushfq
    cld
    push %rax
    .cfi_offset %rax, -160
    push %rcx
    .cfi_offset %rcx, -168
    push %rdx
    .cfi_offset %rdx, -176
    push %rbx
    .cfi_offset %rbx, -184
    push %rsi
    .cfi_offset %rsi, -192
    push %rdi
    .cfi_offset %rdi, -200
    push %r8
    .cfi_offset %r8, -208
    push %r9
    .cfi_offset %r9, -216
    push %r10
    .cfi_offset %r10, -224
    push %r11
    .cfi_offset %r11, -232
    push %r12
    .cfi_offset %r12, -240
    push %r13
    .cfi_offset %r13, -248
    push %r14
    .cfi_offset %r14, -256
    push %r15
    .cfi_offset %r15, -264
    sub $SAVE_BYTES, %rsp
    and $-64, %rsp
    mov preempt_save_how(%rip), %ecx
    mov preempt_save_mask(%rip), %eax
    xor %edx, %edx
    cmp $1, %ecx
    jb 1f
    mov %rdx, 512(%rsp)         /* the instruction writes only part of the header */
    mov %rdx, 520(%rsp)
    mov %rdx, 528(%rsp)
    mov %rdx, 536(%rsp)
    mov %rdx, 544(%rsp)
    mov %rdx, 552(%rsp)
    mov %rdx, 560(%rsp)
    mov %rdx, 568(%rsp)
    je 2f
    xsavec64 (%rsp)
    jmp 6f
2:  xsave64 (%rsp)
6:  test $4, %eax               /* is there AVX? */
    jz 3f
    vzeroupper                  /* or every SSE instruction from here on would pay */
    jmp 3f
1:  fxsave64 (%rsp)
3:  fninit                      /* whoever runs next relies on an empty x87 stack and usual control words */
    ldmxcsr usual_mxcsr(%rip)
    mov %rbp, %rdi
    call preempt_injected
    mov preempt_save_mask(%rip), %eax
    xor %edx, %edx
    cmpl $0, preempt_save_how(%rip)
    je 4f
    xrstor64 (%rsp)
    jmp 5f
4:  fxrstor64 (%rsp)
5:  lea -120(%rbp), %rsp
    pop %r15
    .cfi_restore %r15
    pop %r14
    .cfi_restore %r14
    pop %r13
    .cfi_restore %r13
    pop %r12
    .cfi_restore %r12
    pop %r11
    .cfi_restore %r11
    pop %r10
    .cfi_restore %r10
    pop %r9
    .cfi_restore %r9
    pop %r8
    .cfi_restore %r8
    pop %rdi
    .cfi_restore %rdi
    pop %rsi
    .cfi_restore %rsi
    pop %rbx
    .cfi_restore %rbx
    pop %rdx
    .cfi_restore %rdx
    pop %rcx
    .cfi_restore %rcx
    pop %rax
    .cfi_restore %rax
    popfq
    pop %rbp
    .cfi_restore %rbp
    .cfi_def_cfa %rsp, 136
    ret $128
    .cfi_endproc
    .size preempt_entry, .-preempt_entry

    .section .rodata
    .p2align 2
usual_mxcsr:
    .long 0x1f80
    .section .note.GNU-stack, "", @progbits
