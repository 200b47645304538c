"""Owns open files and what programs do with files: the face for process/ and workload/.

Imports the rest of file_io. Has never heard of tasks, page tables or memcgs beyond the id of the
current one (`CachePages.memcg_id`). Errors of the simulated program are negative errno values; a
path or size that no machine could have is a UserError.
"""

from __future__ import annotations

from memtwin.errors import UserError, require
from memtwin.file_io.buffered_write import BufferedWrite
from memtwin.file_io.ext4 import EEXIST, ENOENT, Ext4
from memtwin.file_io.filemap import Filemap
from memtwin.file_io.flusher import Flusher
from memtwin.file_io.geometry import ROOT_INO
from memtwin.file_io.inode import DIRECTORY, REGULAR, Inode
from memtwin.file_io.invalidate import Invalidate
from memtwin.file_io.objects import FILP, Objects
from memtwin.file_io.open_file import OpenFile
from memtwin.page.vmstat_items import DROP_PAGECACHE

EBADF, EINVAL = -9, -22
MUST_EXIST, CREATE = range(2)
FOR_READING, FOR_WRITING = range(2)
FADV_NORMAL, FADV_RANDOM, FADV_SEQUENTIAL, FADV_WILLNEED, FADV_DONTNEED, FADV_NOREUSE = range(6)
ADVICE = {
    "normal": FADV_NORMAL,
    "random": FADV_RANDOM,
    "sequential": FADV_SEQUENTIAL,
    "willneed": FADV_WILLNEED,
    "dontneed": FADV_DONTNEED,
    "noreuse": FADV_NOREUSE,
}


class Files:
    """The files of one mounted file system."""

    def __init__(
        self,
        filemap: Filemap,
        writes: BufferedWrite,
        invalidate: Invalidate,
        ext4: Ext4,
        flusher: Flusher,
        objects: Objects,
        ra_pages: int,
    ) -> None:
        self.filemap = filemap
        self.writes = writes
        self.invalidate = invalidate
        self.ext4 = ext4
        self.cache = ext4.cache
        self.flusher = flusher
        self.objects = objects
        self.ra_pages = ra_pages
        self.open_files: dict[int, OpenFile] = {}
        self._filp_slabs: dict[int, int] = {}
        self._next_id = 1

    # what lies on disk before the machine starts

    def declare(self, path: str, size_bytes: int) -> None:
        """A file of `size_bytes` that is on disk already, not in memory (directories on the way are
        made)."""
        if size_bytes < 0:
            raise UserError(f"files: found {path!r} of {size_bytes} bytes, allowed are sizes >= 0")
        names = [name for name in path.split("/") if name]
        require(names, "files.declare", f"{path!r} names no file")
        directory = self.cache.inodes[ROOT_INO]
        for name in names[:-1]:
            directory = self._declare_name(directory, name, DIRECTORY)
        inode = self._declare_name(directory, names[-1], REGULAR)
        inode.size_bytes = size_bytes
        pages = (size_bytes + 4095) >> 12
        inode.mapped_end = pages
        if pages:
            inode.block_base = self.ext4.declare_blocks(inode, pages)

    def declare_directory(self, path: str) -> None:
        """A directory that is on disk already (those on the way are made)."""
        directory = self.cache.inodes[ROOT_INO]
        for name in filter(None, path.split("/")):
            directory = self._declare_name(directory, name, DIRECTORY)

    def _declare_name(self, directory: Inode, name: str, kind: int) -> Inode:
        if name in directory.children:
            return self.cache.inodes[directory.children[name]]
        return self.ext4.declare(directory, name, kind)

    def path_of(self, inode: Inode) -> str:
        """The path of `inode` from the root of its file system."""
        names = []
        while inode.ino != ROOT_INO:
            names.append(inode.name)
            inode = self.cache.inodes[inode.parent]
        return "/" + "/".join(reversed(names))

    # open and close

    def open(self, path: str, create: int, how: int) -> int:
        """File id (> 0) of `path`, or ENOENT; `create` is CREATE or MUST_EXIST, `how` FOR_WRITING
        or not."""
        directory, name = self.ext4.resolve(path)
        inode = self.ext4.lookup(directory, name)
        if inode is None:
            if create != CREATE:
                return ENOENT
            inode = self.ext4.create(directory, name, REGULAR)
        else:
            inode.dentry_count += 1
        self.ext4.sample_last_mounted()
        if how == FOR_WRITING:
            self.cache.attach_jinode(inode)
        file = OpenFile(self._next_id, self.ext4.mapping_of(inode), self.ra_pages, inode)
        file.writable = how
        slab = self.objects.alloc_one(FILP)
        self._filp_slabs[file.id] = slab
        self.open_files[file.id] = file
        self._next_id += 1
        return int(file.id)

    def file(self, file_id: int) -> OpenFile:
        """The open file of that id, which must be open."""
        require(file_id in self.open_files, "files.file", f"{file_id} is not open")
        return self.open_files[file_id]

    def get(self, file_id: int) -> OpenFile:
        """One more user of an open file (fork, mmap)."""
        file = self.file(file_id)
        file.users += 1
        return file

    def close(self, file_id: int) -> int:
        """One user less; the last one closes the file: 0 or EBADF."""
        file = self.open_files.get(file_id)
        if file is None:
            return EBADF
        file.users -= 1
        if file.users > 0:
            return 0
        del self.open_files[file_id]
        self.objects.free_one(FILP, self._filp_slabs.pop(file_id))
        inode: Inode = file.inode
        inode.dentry_count -= 1
        self.cache.dput(inode)
        return 0

    # reading and writing

    def read(self, file_id: int, offset: int, length: int) -> int:
        """One read(): bytes read, or NEED_OOM."""
        return int(self.filemap.read(self.file(file_id), offset, length))

    def read_range(self, file_id: int, offset: int, length: int, block_bytes: int) -> int:
        """read() of `block_bytes` at a time: bytes read until the end, the file's end or the
        slice's."""
        return int(self.filemap.read_range(self.file(file_id), offset, length, block_bytes))

    def write(self, file_id: int, offset: int, length: int) -> int:
        """One write(): bytes written, NEED_OOM or EBADF."""
        file = self.file(file_id)
        if file.writable != FOR_WRITING:
            return EBADF
        return int(self.writes.write(file, offset, length))

    def fsync(self, file_id: int) -> int:
        """fsync(): 0."""
        self.flusher.fsync(self.file(file_id).inode)
        return 0

    def sync(self) -> int:
        """sync(): 0."""
        self.flusher.sync()
        return 0

    def fadvise(self, file_id: int, advice: int) -> int:
        """posix_fadvise() of the whole file: 0 or EINVAL. mm/fadvise.c generic_fadvise(), v6.12."""
        file = self.file(file_id)
        ra = file.ra
        if advice == FADV_NORMAL:
            ra.ra_pages, ra.random_mode = self.ra_pages, 0
        elif advice == FADV_RANDOM:
            ra.random_mode = 1
        elif advice == FADV_SEQUENTIAL:
            ra.ra_pages, ra.random_mode = self.ra_pages * 2, 0
        elif advice == FADV_WILLNEED:
            self.willneed(file, 0, int(file.mapping.end_index()))
        elif advice == FADV_DONTNEED:
            self._dontneed(file)
        elif advice != FADV_NOREUSE:
            return EINVAL
        return 0

    def willneed(self, file: OpenFile, start: int, nr_pages: int) -> None:
        """Read pages ahead, in chunks of 2 MiB: mm/readahead.c force_page_cache_ra(), v6.12."""
        most = max(int(self.filemap.readahead.io_pages), int(file.ra.ra_pages))
        nr_pages = min(nr_pages, most)
        while nr_pages > 0:
            chunk = min(nr_pages, 512)
            self.filemap.read_pages(file.mapping, start, chunk, 0)
            start += chunk
            nr_pages -= chunk

    def _dontneed(self, file: OpenFile) -> None:
        """Start writing, then drop what is clean: mm/fadvise.c POSIX_FADV_DONTNEED, v6.12."""
        self.flusher.start_write(file.inode)
        end = int(file.mapping.nr_slots)
        self.invalidate.invalidate_mapping_pages(file.mapping, 0, end)
        if file.mapping.nr_pages > 0:
            self.filemap.lru.lru_add_drain_all()
            self.invalidate.invalidate_mapping_pages(file.mapping, 0, end)

    def truncate(self, file_id: int, size_bytes: int) -> int:
        """ftruncate(): 0 or EINVAL. The caller has unmapped the pages beyond the new size."""
        if size_bytes < 0:
            return EINVAL
        file = self.file(file_id)
        self._truncate(file.inode, size_bytes)
        return 0

    def _truncate(self, inode: Inode, size_bytes: int) -> None:
        mapping = self.ext4.mapping_of(inode)
        end = (size_bytes + 4095) >> 12
        if size_bytes < mapping.size_bytes:
            gone = max(int(mapping.mapped_end) - end, 0)
            self.invalidate.truncate_pages(mapping, end, mapping.nr_slots)
            mapping.unmap_from(end)
            first = (int(mapping.block_base) + end) * self.ext4.geometry.blocks_per_page
            self.ext4.change_blocks_of(inode, first, gone * self.ext4.geometry.blocks_per_page)
            self.cache.drop_es(inode)
        else:
            self.ext4.dirty_inode(inode)
        mapping.size_bytes = size_bytes
        inode.size_bytes = size_bytes

    # many small files

    def mkfiles(self, directory: str, count: int, size_bytes: int) -> int:
        """Create `count` files f000000 .. of `size_bytes` each: 0, EEXIST or NEED_OOM."""
        parent, name = self.ext4.resolve(directory)
        found = self.ext4.lookup(parent, name)
        if found is None:
            found = self.ext4.create(parent, name, DIRECTORY)
            found.dentry_count -= 1
            self.cache.dput(found)
        for i in range(count):
            if f"f{i:06d}" in found.children:
                return EEXIST
            file_id = self.open(f"{directory}/f{i:06d}", CREATE, FOR_WRITING)
            if size_bytes:
                done = self.write(file_id, 0, size_bytes)
                if done < 0:
                    return done
            self.close(file_id)
        return 0

    def statfiles(self, directory: str, count: int) -> int:
        """stat() of `count` of them: 0 or ENOENT."""
        for i in range(count):
            inode = self.ext4.lookup(*self.ext4.resolve(f"{directory}/f{i:06d}"))
            if inode is None:
                return ENOENT
            self.cache.dput(inode)
            self.ext4.metadata.border.spend(self.filemap.cost.syscall_ns)
            self.flusher.run_if_due()
        return 0

    def rmfiles(self, directory: str, count: int) -> int:
        """unlink() of `count` of them: 0 or ENOENT."""
        for i in range(count):
            parent, name = self.ext4.resolve(f"{directory}/f{i:06d}")
            inode = self.ext4.lookup(parent, name)
            if inode is None:
                return ENOENT
            self.remove(parent, inode)
            self.flusher.run_if_due()
        return 0

    def remove(self, parent: Inode, inode: Inode) -> None:
        """Take a file that nobody has open off its directory, and its pages out of the cache."""
        require(inode.dentry_count == 0, "files.remove", f"{inode.name!r} is open")
        if inode.mapping_id:
            mapping = self.ext4.mapping_of(inode)
            self.invalidate.truncate_pages(mapping, 0, mapping.nr_slots)
        self.flusher.forget(inode)
        self.ext4.unlink(parent, inode)
        self.objects.settle()

    # dropping caches

    def drop_pagecache(self) -> None:
        """The page cache's half of drop_caches: fs/drop_caches.c drop_pagecache_sb(), v6.1 and
        v6.12."""
        if self.filemap.kernel >= 612:
            self.filemap.lru.lru_add_drain_all()
            self.ext4.metadata.invalidate_bh_lrus()
        # the newest inode is first on sb->s_inodes
        for mapping_id in sorted(self.ext4.by_mapping, reverse=True):
            inode = self.ext4.by_mapping[mapping_id]
            self.drop_pages_of(inode)
        mapping = self.ext4.metadata.mapping
        self.invalidate.invalidate_mapping_pages(mapping, 0, mapping.nr_slots)
        self.objects.settle()
        self.ext4.metadata.border.count(DROP_PAGECACHE, 1)

    def drop_pages_of(self, inode: Inode) -> int:
        """invalidate_mapping_pages() of a whole inode, which may then join the inode LRU: pages
        dropped."""
        mapping = self.ext4.mapping_of(inode)
        dropped = int(self.invalidate.invalidate_mapping_pages(mapping, 0, mapping.nr_slots))
        self.cache.iput(inode, int(mapping.nr_pages))
        return dropped

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            (f"{file_id}.{name}", value)
            for file_id, file in sorted(self.open_files.items())
            for name, value in file.columns()
        ]

    def verify(self) -> None:
        """Open files have inodes in memory; every mapping of the file system has its inode."""
        for file in self.open_files.values():
            inode: Inode = file.inode
            require(inode.in_core, "files.verify", f"open inode {inode.ino} is not in memory")
            at = inode.mapping_id
            require(
                at == file.mapping.id,
                "files.verify",
                f"file {file.id} has mapping {file.mapping.id}, not {at}",
            )
        self.objects.verify()
