/* recorder.c: the plugin's front: reads its arguments, instruments the translated code and
 * owns the filter, which lets through one record a page, kind and window of references.
 *
 * Arguments: part=FILE window=N plugin=FILE cpu=MODEL [pid birth image parent pbirth: set when
 * a recorded process executes another program]. */
#define _GNU_SOURCE
#include "recorder.h"
#include "qemu_abi.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static int image_recorded;
static mem_info store_bit;

/* The way past the one-page memory in front of the table. */
static __attribute__((noinline)) void touch_page(struct thread *t, uint64_t vpn, int kind)
{
    struct entry *e = &t->table[vpn & (TABLE_ENTRIES - 1)];
    if (e->vpn != vpn) {
        e->vpn = vpn;
        e->seen[0] = e->seen[1] = e->seen[2] = 0;
    }
    uint64_t seen = e->seen[kind];
    if (kind == OP_LOAD && e->seen[OP_STORE] > seen)
        seen = e->seen[OP_STORE]; /* a store says all that a load would */
    t->last_vpn[kind] = vpn;
    if (seen > t->floor && t->refs - seen < proc.window_refs) {
        t->last_until[kind] = seen + proc.window_refs;
        return;
    }
    e->seen[kind] = t->refs;
    t->last_until[kind] = t->refs + proc.window_refs;
    put_touch(t, vpn, kind);
}

static inline int just_seen(const struct thread *t, uint64_t vpn, int kind)
{
    return t->last_vpn[kind] == vpn && t->refs < t->last_until[kind];
}

/* Not the page of the last access, or perhaps more than one page. */
static __attribute__((noinline)) void access_slowly(mem_info info, uint64_t vaddr, int kind)
{
    struct thread *t = me ? me : thread_begin();
    uint64_t first = vaddr >> PAGE_SHIFT;
    uint64_t last = (vaddr + (1ull << qemu_plugin_mem_size_shift(info)) - 1) >> PAGE_SHIFT;
    touch_page(t, first, kind);
    if (UNLIKELY(last != first))
        touch_page(t, last, kind);
}

/* Straight-line code with the rare cases in tail position: this runs once an access. */
static inline void access_memory(mem_info info, uint64_t vaddr, int kind)
{
    struct thread *t = me;
    if (LIKELY(t != NULL)) {
        t->refs++;
        if (LIKELY(just_seen(t, vaddr >> PAGE_SHIFT, kind) &&
                   (vaddr & (PAGE_BYTES - 1)) <= PAGE_BYTES - 64))
            return;
    }
    access_slowly(info, vaddr, kind);
}

/* One callback for both kinds: QEMU 7.2 mistakes one kind for the other when a callback asks
 * for loads only or for stores only. */
static void on_access(unsigned vcpu, mem_info info, uint64_t vaddr, void *data)
{
    (void)vcpu, (void)data;
    access_memory(info, vaddr, info & store_bit ? OP_STORE : OP_LOAD);
}

/* Which bit of mem_info says store, asked once instead of at each access. */
static int find_store_bit(void)
{
    for (int bit = 0; bit < 32 && !qemu_plugin_mem_is_store(0); bit++)
        if (qemu_plugin_mem_is_store((mem_info)1 << bit)) {
            store_bit = (mem_info)1 << bit;
            return 0;
        }
    return -1;
}

/* data: vpn << 11 | (the block ends in the next page) << 10 | number of instructions */
static __attribute__((noinline)) void enter_page(uint64_t packed)
{
    struct thread *t = me;
    if (!t) {
        t = thread_begin();
        t->refs = 1;
        t->insns = packed & 1023;
    }
    if (t->generation != map_generation)
        forget_all(t); /* another thread changed the address space */
    touch_page(t, packed >> 11, OP_FETCH);
    if (packed & 1024)
        touch_page(t, (packed >> 11) + 1, OP_FETCH);
}

static void on_block(unsigned vcpu, void *data)
{
    (void)vcpu;
    struct thread *t = me;
    uint64_t packed = (uint64_t)data;
    if (LIKELY(t != NULL)) {
        t->refs++;
        t->insns += packed & 1023;
        if (LIKELY(just_seen(t, packed >> 11, OP_FETCH) && !(packed & 1024) &&
                   t->generation == map_generation))
            return;
    }
    enter_page(packed);
}

void forget_all(struct thread *t)
{
    t->generation = map_generation;
    t->floor = t->refs;
    for (int k = 0; k < 3; k++)
        t->last_vpn[k] = ~0ull;
}

/* The pages of a range are new to the kernel: their next touch must be recorded again.
 * Other threads learn of it by the generation, and forget everything. */
void forget_range(struct thread *t, uint64_t addr, uint64_t length_bytes)
{
    uint64_t first = addr >> PAGE_SHIFT;
    uint64_t pages = ((addr + length_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT) - first;
    if (proc.threads > 1)
        __atomic_fetch_add(&map_generation, 1, __ATOMIC_SEQ_CST);
    if (proc.threads > 1 || pages > TABLE_ENTRIES) {
        forget_all(t);
        return;
    }
    for (uint64_t vpn = first; vpn < first + pages; vpn++) {
        struct entry *e = &t->table[vpn & (TABLE_ENTRIES - 1)];
        if (e->vpn == vpn)
            e->seen[0] = e->seen[1] = e->seen[2] = 0;
    }
    for (int k = 0; k < 3; k++)
        t->last_vpn[k] = ~0ull;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    if (UNLIKELY(!image_recorded)) { /* the program is loaded, none of it has run */
        image_recorded = 1;
        record_image(me ? me : thread_begin());
    }
    size_t n = qemu_plugin_tb_n_insns(tb);
    struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, n - 1);
    uint64_t vpn = qemu_plugin_insn_vaddr(first) >> PAGE_SHIFT;
    uint64_t end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last) - 1;
    uint64_t packed = vpn << 11 | (uint64_t)(end >> PAGE_SHIFT != vpn) << 10 | (n & 1023);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, CB_NO_REGS, (void *)packed);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, CB_NO_REGS, MEM_BOTH, NULL);
    }
}

static const char *value_of(const char *arg, const char *key)
{
    size_t n = strlen(key);
    return !strncmp(arg, key, n) && arg[n] == '=' ? arg + n + 1 : NULL;
}

static void take_argument(const char *arg)
{
    static const struct {
        const char *key;
        char **where;
    } texts[] = {{"part", &proc.part_path}, {"plugin", &proc.plugin_path},
                 {"cpu", &proc.cpu_model}};
    static const struct {
        const char *key;
        uint64_t *where;
    } numbers[] = {{"window", &proc.window_refs}, {"birth", &proc.birth_ns},
                   {"pbirth", &proc.parent_birth_ns}};
    static const struct {
        const char *key;
        uint32_t *where;
    } shorts[] = {{"ppid", &proc.ppid}, {"image", &proc.image}};
    const char *v;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if ((v = value_of(arg, texts[i].key)))
            *texts[i].where = strdup(v);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((v = value_of(arg, numbers[i].key)))
            *numbers[i].where = strtoull(v, NULL, 10);
    for (size_t i = 0; i < sizeof shorts / sizeof *shorts; i++)
        if ((v = value_of(arg, shorts[i].key)))
            *shorts[i].where = (uint32_t)strtoul(v, NULL, 10);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id,
                                                               const struct plugin_info *info,
                                                               int argc, char **argv)
{
    proc.pid = (uint32_t)getpid();
    proc.window_refs = 10000;
    for (int i = 0; i < argc; i++)
        take_argument(argv[i]);
    snprintf(proc.target, sizeof proc.target, "%s", info->target_name);
    if (!proc.birth_ns) { /* the first process: it shall not outlive its recorder unseen */
        proc.birth_ns = now_ns();
        proc.ppid = (uint32_t)getppid();
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    proc.qemu_path = n > 0 ? strndup(self, (size_t)n) : NULL;
    if (!proc.cpu_model)
        proc.cpu_model = strdup("");
    if (!proc.part_path || !proc.plugin_path || !proc.qemu_path || stream_open() ||
        syscalls_choose(proc.target) || find_store_bit()) {
        fprintf(stderr, "memtwin: the recorder can't start in %s\n", proc.target);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
    return 0;
}
