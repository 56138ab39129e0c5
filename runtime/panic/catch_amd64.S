/* panic/catch_amd64.S: see catch.h.
 *
 *     bool catch_call(struct catch *c, void (*fn)(void *), void *arg)
 *     void catch_return(struct catch *c)
 *
 * catch_call leaves on the stack what a function has to preserve and remembers where; catch_return
 * goes on there, as if fn had returned, with another result. Frames in between are just left. */
#ifndef RT_TSAN
    .text

    .globl catch_call
    .hidden catch_call
    .type catch_call, @function
    .p2align 4
catch_call:
    .cfi_startproc
    endbr64
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    mov %rsp, %rbp
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    push %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    push %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    push %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    push %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    sub $8, %rsp                /* fn is called with the stack aligned to 16 */
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    mov %rsp, (%rdi)
    mov %rsi, %rax
    mov %rdx, %rdi
    call *%rax
    xor %eax, %eax
catch_leave:
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    pop %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    pop %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    pop %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    pop %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    pop %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    ret
    .cfi_endproc
    .size catch_call, .-catch_call

    .globl catch_return
    .hidden catch_return
    .type catch_return, @function
    .p2align 4
catch_return:
    .cfi_startproc
    endbr64
    mov (%rdi), %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    mov $1, %eax
    jmp catch_leave
    .cfi_endproc
    .size catch_return, .-catch_return
#endif
    .section .note.GNU-stack,"",@progbits
