/* sysnum.h: the system calls the recorder understands and their numbers: x86_64's own table
 * (arch/x86/entry/syscalls/syscall_64.tbl, v6.12) and the generic one of aarch64 and riscv64
 * (include/uapi/asm-generic/unistd.h, v6.12).  A call that isn't here changes no mapping and
 * no file content that a trace speaks of. */
#ifndef MEMTWIN_SYSNUM_H
#define MEMTWIN_SYSNUM_H
#include <signal.h>
#include <stdint.h>

enum { SIGCHLD_FLAG = SIGCHLD, N_CALLS = 512 };

enum call_name {
    SC_other = 0,
    SC_read, SC_write, SC_open, SC_close, SC_mmap, SC_mprotect, SC_munmap, SC_brk, SC_pread64,
    SC_pwrite64, SC_readv, SC_writev, SC_mremap, SC_msync, SC_madvise, SC_shmat, SC_dup,
    SC_dup2, SC_sendfile, SC_sendto, SC_recvfrom, SC_sendmsg, SC_recvmsg, SC_clone, SC_fork,
    SC_vfork, SC_execve, SC_exit, SC_wait4, SC_shmdt, SC_fcntl, SC_fsync, SC_fdatasync,
    SC_truncate, SC_ftruncate, SC_rename, SC_creat, SC_unlink, SC_mlock, SC_munlock,
    SC_mlockall, SC_munlockall, SC_sync, SC_readahead, SC_fadvise64, SC_exit_group, SC_openat,
    SC_unlinkat, SC_renameat, SC_splice, SC_sync_file_range, SC_fallocate, SC_dup3, SC_preadv,
    SC_pwritev, SC_syncfs, SC_renameat2, SC_memfd_create, SC_execveat, SC_mlock2,
    SC_copy_file_range, SC_preadv2, SC_pwritev2, SC_pkey_mprotect, SC_close_range,
};

static const int16_t calls_x86_64[N_CALLS] = {
    [0] = SC_read, [1] = SC_write, [2] = SC_open, [3] = SC_close, [9] = SC_mmap,
    [10] = SC_mprotect, [11] = SC_munmap, [12] = SC_brk, [17] = SC_pread64, [18] = SC_pwrite64,
    [19] = SC_readv, [20] = SC_writev, [25] = SC_mremap, [26] = SC_msync, [28] = SC_madvise,
    [30] = SC_shmat, [32] = SC_dup, [33] = SC_dup2, [40] = SC_sendfile, [44] = SC_sendto,
    [45] = SC_recvfrom, [46] = SC_sendmsg, [47] = SC_recvmsg, [56] = SC_clone, [57] = SC_fork,
    [58] = SC_vfork, [59] = SC_execve, [60] = SC_exit, [61] = SC_wait4, [67] = SC_shmdt,
    [72] = SC_fcntl, [74] = SC_fsync, [75] = SC_fdatasync, [76] = SC_truncate,
    [77] = SC_ftruncate, [82] = SC_rename, [85] = SC_creat, [87] = SC_unlink, [149] = SC_mlock,
    [150] = SC_munlock, [151] = SC_mlockall, [152] = SC_munlockall, [162] = SC_sync,
    [187] = SC_readahead, [221] = SC_fadvise64, [231] = SC_exit_group, [257] = SC_openat,
    [263] = SC_unlinkat, [264] = SC_renameat, [275] = SC_splice, [277] = SC_sync_file_range,
    [285] = SC_fallocate, [292] = SC_dup3, [295] = SC_preadv, [296] = SC_pwritev,
    [306] = SC_syncfs, [316] = SC_renameat2, [319] = SC_memfd_create, [322] = SC_execveat,
    [325] = SC_mlock2, [326] = SC_copy_file_range, [327] = SC_preadv2, [328] = SC_pwritev2,
    [329] = SC_pkey_mprotect, [436] = SC_close_range,
};

static const int16_t calls_generic[N_CALLS] = {
    [23] = SC_dup, [24] = SC_dup3, [25] = SC_fcntl, [35] = SC_unlinkat, [38] = SC_renameat,
    [45] = SC_truncate, [46] = SC_ftruncate, [47] = SC_fallocate, [56] = SC_openat,
    [57] = SC_close, [63] = SC_read, [64] = SC_write, [65] = SC_readv, [66] = SC_writev,
    [67] = SC_pread64, [68] = SC_pwrite64, [69] = SC_preadv, [70] = SC_pwritev,
    [71] = SC_sendfile, [76] = SC_splice, [81] = SC_sync, [82] = SC_fsync, [83] = SC_fdatasync,
    [84] = SC_sync_file_range, [93] = SC_exit, [94] = SC_exit_group, [196] = SC_shmat,
    [197] = SC_shmdt, [206] = SC_sendto, [207] = SC_recvfrom, [211] = SC_sendmsg,
    [212] = SC_recvmsg, [213] = SC_readahead, [214] = SC_brk, [215] = SC_munmap,
    [216] = SC_mremap, [220] = SC_clone, [221] = SC_execve, [222] = SC_mmap,
    [223] = SC_fadvise64, [226] = SC_mprotect, [227] = SC_msync, [228] = SC_mlock,
    [229] = SC_munlock, [230] = SC_mlockall, [231] = SC_munlockall, [233] = SC_madvise,
    [260] = SC_wait4, [267] = SC_syncfs, [276] = SC_renameat2, [279] = SC_memfd_create,
    [281] = SC_execveat, [284] = SC_mlock2, [285] = SC_copy_file_range, [286] = SC_preadv2,
    [287] = SC_pwritev2, [288] = SC_pkey_mprotect, [436] = SC_close_range,
};

#endif
