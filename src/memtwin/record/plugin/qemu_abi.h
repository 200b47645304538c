/* qemu_abi.h: the part of QEMU's plugin interface (API version 1, QEMU 4.2 to 8.x) that the
 * recorder calls.  Distributions ship the emulator without its plugin header, so the few
 * symbols are declared here; the names and argument types are the interface itself. */
#ifndef MEMTWIN_QEMU_ABI_H
#define MEMTWIN_QEMU_ABI_H
#include <stddef.h>
#include <stdint.h>

typedef uint64_t plugin_id;
typedef uint32_t mem_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { CB_NO_REGS = 0 };
enum { MEM_BOTH = 3 };

struct plugin_info {
    const char *target_name;
    struct {
        int min;
        int cur;
    } version;
};

typedef void (*tb_trans_cb)(plugin_id, struct qemu_plugin_tb *);
typedef void (*tb_exec_cb)(unsigned vcpu, void *data);
typedef void (*mem_cb)(unsigned vcpu, mem_info, uint64_t vaddr, void *data);
typedef void (*syscall_cb)(plugin_id, unsigned vcpu, int64_t num, uint64_t a1, uint64_t a2,
                           uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                           uint64_t a8);
typedef void (*syscall_ret_cb)(plugin_id, unsigned vcpu, int64_t num, int64_t ret);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, tb_trans_cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, tb_exec_cb, int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, mem_cb, int, int, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_cb);
void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, syscall_ret_cb);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(mem_info);
_Bool qemu_plugin_mem_is_store(mem_info);

/* Not part of the plugin interface, yet exported by user-mode builds; absent ones are NULL. */
extern uintptr_t guest_base __attribute__((weak));
extern const char *exec_path __attribute__((weak));
int page_get_flags(uint64_t address) __attribute__((weak));
enum { PAGE_READ = 1, PAGE_WRITE = 2, PAGE_EXEC = 4, PAGE_VALID = 8, PAGE_WRITE_ORG = 16 };

#endif
