/* injection.c: makes a stopped thread do one system call and go on as if nothing had been.
 *
 * The thread must go on rightly even when the copier is killed in between, at any moment: the
 * kernel then lets it run with whatever registers it has.  So the call is laid out like the
 * return from a signal handler.  Below the stack (past the red zone, where a handler's frame could
 * lie at any time) a frame with the thread's whole state is written; the registers point at code
 * of the target's own, `syscall; ret`, and the words on the stack lead from there through
 * `pop rax; ret` into rt_sigreturn, which puts everything back, the blocked signals too.  Nothing
 * executable is written.  Each step's order keeps one invariant: if the thread ran from here by
 * itself, it would end in its old state. */
#define _GNU_SOURCE
#include "copier.h"
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RED_ZONE = 128, /* System V ABI, x86-64: bytes below the stack pointer that are in use */
    CALL_TIMEOUT_MS = 20000, /* a fork of a very large program takes its time */
    FRAME_BYTES = 2048,      /* before the vector state */
    CHILD_BYTES = 128,
    USER_CODE = 0x33,        /* code segment of 64-bit programs */
};
enum { /* include/linux/errno.h, v6.12 */
    KERNEL_ERESTARTSYS = 512, KERNEL_ERESTARTNOINTR = 513, KERNEL_ERESTARTNOHAND = 514,
    KERNEL_ERESTART_RESTARTBLOCK = 516,
};
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

/* arch/x86/include/uapi/asm/sigcontext.h struct sigcontext_64, and the words around it */
struct frame {
    uint64_t chain[3]; /* pop rax; 15; syscall */
    uint64_t uc_flags, uc_link, ss_sp;
    int32_t ss_flags, pad;
    uint64_t ss_size;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
    uint64_t sigmask;
    uint64_t siginfo[16];
};
struct fpx_sw { /* arch/x86/include/uapi/asm/sigcontext.h struct _fpx_sw_bytes */
    uint32_t magic1, extended_size;
    uint64_t xfeatures;
    uint32_t xstate_size, padding[7];
};
enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };
enum { FP_MAGIC1 = 0x46505853, FP_MAGIC2 = 0x46505845, FX_SW_OFFSET = 464 };
/* not SS_ONSTACK, SS_DISABLE or 0: sigreturn then leaves the alternate stack as it is */
enum { SS_LEAVE_ALONE = 4 };

static int read_target(struct target *t, uint64_t at, void *to, size_t n)
{
    return pread(t->mem_fd, to, n, (off_t)at) == (ssize_t)n ? 0 : -1;
}

static int write_target(struct target *t, uint64_t at, const void *from, size_t n)
{
    return pwrite(t->mem_fd, from, n, (off_t)at) == (ssize_t)n ? 0 : -1;
}

/* Code of the target that ends in `ret` and does what is wanted before it. */
int find_gadgets(struct target *t)
{
    static const uint8_t syscall_ret[] = {0x0f, 0x05, 0xc3}, pop_rax_ret[] = {0x58, 0xc3};
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", t->pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return -1;
    enum { CHUNK = 1 << 20 };
    uint8_t *code = malloc(CHUNK);
    t->syscall_ret = t->pop_rax_ret = 0;
    while (code && fgets(line, sizeof line, maps) && !(t->syscall_ret && t->pop_rax_ret)) {
        unsigned long long start, end;
        char perms[8];
        /* a file's code: no program writes it anew while it runs, unlike generated code */
        if (sscanf(line, "%llx-%llx %7s", &start, &end, perms) != 3 || perms[2] != 'x'
            || perms[0] != 'r' || perms[1] == 'w' || !strchr(line, '/'))
            continue;
        for (uint64_t at = start; at < end; at += CHUNK - 8) {
            ssize_t n = pread(t->mem_fd, code, end - at < CHUNK ? end - at : CHUNK, (off_t)at);
            if (n <= 0)
                break;
            uint8_t *found = memmem(code, (size_t)n, syscall_ret, sizeof syscall_ret);
            if (found && !t->syscall_ret)
                t->syscall_ret = at + (uint64_t)(found - code);
            found = memmem(code, (size_t)n, pop_rax_ret, sizeof pop_rax_ret);
            if (found && !t->pop_rax_ret)
                t->pop_rax_ret = at + (uint64_t)(found - code);
        }
    }
    free(code);
    fclose(maps);
    return t->syscall_ret && t->pop_rax_ret ? 0 : -1;
}

/* Bytes of the vector state that this thread's features need: what sigreturn accepts. */
static size_t xstate_size(const struct thread *x)
{
    uint64_t features;
    memcpy(&features, x->xstate + FX_SW_OFFSET, sizeof features);
    size_t size = 576;
    for (unsigned i = 2; i < 63; i++) {
        unsigned a, b, c, d;
        if (!(features >> i & 1) || !__get_cpuid_count(0xd, i, &a, &b, &c, &d))
            continue;
        if (a && b + a > size)
            size = b + a;
    }
    return size;
}

static size_t area_bytes(const struct thread *x)
{
    return FRAME_BYTES + ((xstate_size(x) + 4 + 63) & ~(size_t)63) + 64;
}

/* Whether there is a stack with room below it, and no critical section that must be begun anew
 * (rseq) when its thread was away. */
int fit_for_injection(struct target *t, struct thread *x)
{
    if (!x->stopped || x->regs.cs != USER_CODE || x->xstate_bytes < 576)
        return 0;
    struct {
        uint64_t pointer;
        uint32_t size, signature, flags, pad;
    } rseq;
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, x->tid, (void *)sizeof rseq, &rseq) == sizeof rseq
        && rseq.pointer) {
        uint64_t section = 0;
        if (read_target(t, rseq.pointer + 8, &section, 8) || section)
            return 0;
    }
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", t->pid);
    FILE *maps = fopen(path, "re");
    int fit = 0;
    uint64_t sp = x->regs.rsp;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long long start, end;
        char perms[8];
        if (sscanf(line, "%llx-%llx %7s", &start, &end, perms) != 3 || sp < start || sp >= end)
            continue;
        /* a thread's stack has its control block above it, the first one has its name; anything
         * else (a coroutine's, a signal's) may have other things below */
        int own = strstr(line, "[stack]") || (x->regs.fs_base > sp && x->regs.fs_base < end);
        fit = perms[0] == 'r' && perms[1] == 'w' && own
              && sp - start > area_bytes(x) + RED_ZONE + CHILD_BYTES + 4096;
        break;
    }
    if (maps)
        fclose(maps);
    return fit;
}

/* The state to come back to, when nobody is there to set the registers: a system call that was
 * interrupted is done again from its beginning. */
static void resume_state(const struct thread *x, struct frame *f)
{
    const struct user_regs_struct *r = &x->regs;
    f->r8 = r->r8, f->r9 = r->r9, f->r10 = r->r10, f->r11 = r->r11, f->r12 = r->r12;
    f->r13 = r->r13, f->r14 = r->r14, f->r15 = r->r15, f->di = r->rdi, f->si = r->rsi;
    f->bp = r->rbp, f->bx = r->rbx, f->dx = r->rdx, f->ax = r->rax, f->cx = r->rcx;
    f->sp = r->rsp, f->ip = r->rip, f->flags = r->eflags;
    f->cs = (uint16_t)r->cs, f->ss = (uint16_t)r->ss;
    long long error = (long long)r->rax;
    if ((long long)r->orig_rax >= 0
        && ((error <= -KERNEL_ERESTARTSYS && error >= -KERNEL_ERESTARTNOHAND)
            || error == -KERNEL_ERESTART_RESTARTBLOCK)) {
        f->ax = r->orig_rax;
        f->ip -= 2;
    }
}

static uint64_t write_frame(struct target *t, const struct thread *x, uint8_t *area, size_t n)
{
    struct frame f = {0};
    size_t vectors = xstate_size(x);
    uint64_t end = (x->regs.rsp - RED_ZONE) & ~63ull, base = end - n;
    uint64_t fpstate = base + FRAME_BYTES;
    f.chain[0] = t->pop_rax_ret, f.chain[1] = SYS_rt_sigreturn, f.chain[2] = t->syscall_ret;
    f.uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    f.ss_flags = SS_LEAVE_ALONE;
    resume_state(x, &f);
    f.sigmask = x->sigmask;
    f.fpstate = fpstate;
    memset(area, 0, n);
    /* the frame of a child that must not live without its keeper: exit_group, and no way on */
    uint64_t child[3] = {t->pop_rax_ret, SYS_exit_group, t->syscall_ret};
    memcpy(area, child, sizeof child);
    memcpy(area + CHILD_BYTES, &f, sizeof f);
    memcpy(area + FRAME_BYTES, x->xstate, vectors);
    struct fpx_sw sw = {FP_MAGIC1, (uint32_t)vectors + 4, 0, (uint32_t)vectors, {0}};
    memcpy(&sw.xfeatures, x->xstate + FX_SW_OFFSET, 8);
    memcpy(area + FRAME_BYTES + FX_SW_OFFSET, &sw, sizeof sw);
    uint32_t magic2 = FP_MAGIC2;
    memcpy(area + FRAME_BYTES + vectors, &magic2, sizeof magic2);
    return write_target(t, base, area, n) ? 0 : base;
}

static void set_registers(struct thread *x, struct user_regs_struct *regs)
{
    struct iovec general = {regs, sizeof *regs};
    ptrace(PTRACE_SETREGSET, x->tid, (void *)NT_PRSTATUS, &general);
}

static void set_blocked(struct thread *x, uint64_t mask)
{
    ptrace(PTRACE_SETSIGMASK, x->tid, (void *)sizeof mask, &mask);
}

/* Drives the thread to the end of its call; the stop is before its next instruction. */
static int run_call(struct target *t, struct thread *x, struct injected *out,
                    void (*copied)(struct target *, struct thread *))
{
    int status, entered = 0, stop_signal = 0;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, x->tid, 0, 0) || wait_for(x->tid, &status, CALL_TIMEOUT_MS))
            return -1;
        if (!WIFSTOPPED(status))
            return -1;
        int event = status >> 16;
        if (event == PTRACE_EVENT_CLONE) {
            unsigned long child = 0;
            ptrace(PTRACE_GETEVENTMSG, x->tid, 0, &child);
            out->child = (pid_t)child;
            stage(ST_COPIED);
            if (copied)
                copied(t, x);
        } else if (!event && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            if (entered++)
                break;
            stage(ST_CALL_ENTERED);
        } else if (!event) {
            stop_signal = WSTOPSIG(status); /* only SIGSTOP can't be blocked */
        }
    }
    struct user_regs_struct regs;
    struct iovec general = {&regs, sizeof regs};
    ptrace(PTRACE_GETREGSET, x->tid, (void *)NT_PRSTATUS, &general);
    out->result = (long)regs.rax;
    /* the way back must pass the kernel's restarting of interrupted calls, which is where signals
     * are looked for: so another stop there */
    ptrace(PTRACE_INTERRUPT, x->tid, 0, 0);
    ptrace(PTRACE_CONT, x->tid, 0, 0);
    do {
        if (wait_for(x->tid, &status, CALL_TIMEOUT_MS) || !WIFSTOPPED(status))
            return -1;
    } while (status >> 16 != PTRACE_EVENT_STOP && !ptrace(PTRACE_CONT, x->tid, 0, 0));
    stage(ST_CALL_LEFT);
    if (stop_signal)
        syscall(SYS_tgkill, t->pid, x->tid, stop_signal);
    return 0;
}

int inject(struct target *t, struct thread *x, long number, const uint64_t args[6],
           void (*copied)(struct target *, struct thread *), struct injected *out)
{
    size_t n = area_bytes(x);
    uint8_t *area = malloc(n), *before = malloc(n);
    uint64_t base = ((x->regs.rsp - RED_ZONE) & ~63ull) - n;
    *out = (struct injected){0, 0};
    uint8_t code[3], pop[2];
    if (!area || !before || read_target(t, base, before, n)
        || read_target(t, t->syscall_ret, code, 3) || memcmp(code, "\x0f\x05\xc3", 3)
        || read_target(t, t->pop_rax_ret, pop, 2) || memcmp(pop, "\x58\xc3", 2)
        || !write_frame(t, x, area, n)) {
        free(area);
        free(before);
        return -1;
    }
    stage(ST_FRAME_WRITTEN);
    struct user_regs_struct regs = x->regs;
    regs.rax = (unsigned long long)number;
    regs.orig_rax = (unsigned long long)-1;
    regs.rip = t->syscall_ret;
    regs.rsp = base + CHILD_BYTES;
    regs.rdi = args[0], regs.rdx = args[2], regs.r10 = args[3], regs.r8 = args[4];
    regs.r9 = args[5];
    regs.rsi = args[1] == SELF_EXITING_CHILD ? base : args[1];
    ptrace(PTRACE_SETOPTIONS, x->tid, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD);
    set_registers(x, &regs);
    stage(ST_REGISTERS_SET);
    set_blocked(x, ~0ull); /* after the registers: the frame unblocks */
    stage(ST_SIGNALS_BLOCKED);
    int error = run_call(t, x, out, copied);
    set_blocked(x, x->sigmask); /* before the registers: until then the frame does it all */
    stage(ST_SIGNALS_RESTORED);
    set_registers(x, &x->regs);
    stage(ST_REGISTERS_RESTORED);
    write_target(t, base, before, n); /* dead bytes below the stack, put back all the same */
    ptrace(PTRACE_SETOPTIONS, x->tid, 0, 0);
    free(area);
    free(before);
    return error;
}
