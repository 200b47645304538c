"""Owns the journal: the running transaction, its commit, and blocks not yet known to be in place.

Imports file_io (metadata, objects), hardware. Has never heard of inodes: it is told which blocks
change. fs/jbd2: running -> committing (descriptors, blocks, a commit block) -> on the checkpoint
list -> dropped.
"""

from __future__ import annotations

from memtwin.file_io.metadata import FROM_DISK, NEW_BLOCK, Metadata
from memtwin.file_io.objects import JOURNAL_HEAD, Objects
from memtwin.hardware.clock import STALL_DIRTY, Clock
from memtwin.page.vmstat_items import PGPGOUT
from memtwin.page_cache.constants import CHECKPOINT
from memtwin.reclaim.constants import IO_WRITE
from memtwin.reclaim.folio_io import FolioIo

SECOND_NS = 1_000_000_000
COMMIT_INTERVAL_NS = 5 * SECOND_NS  # include/linux/jbd2.h JBD2_DEFAULT_MAX_COMMIT_AGE, v6.12
SOMEONE_WAITS, IN_BACKGROUND = range(2)
TAG_BYTES, UUID_BYTES, HEADER_BYTES, CSUM_BYTES = 16, 16, 12, 4  # include/linux/jbd2.h, v6.12


class Journal:
    """The jbd2 journal of one file system."""

    def __init__(
        self, clock: Clock, metadata: Metadata, objects: Objects, folio_io: FolioIo, device: int
    ) -> None:
        self.clock = clock
        self.metadata = metadata
        self.objects = objects
        self.folio_io = folio_io
        self.device = device
        geometry = metadata.geometry
        self.nr_blocks = geometry.journal_blocks()
        # mke2fs puts the journal in the middle of the device; MODEL: one contiguous run there
        self.first_block = geometry.data_start(geometry.nr_groups // 2)
        # fs/jbd2/journal.c journal_init_common(), v6.1
        self.max_transaction_blocks = self.nr_blocks // 4
        self.head = 0  # next free block of the journal area
        self.running: dict[int, None] = {}  # blocks of the running transaction
        self.commit_due_ns = -1  # when kjournald2 commits it; -1: no transaction runs
        self.checkpoints: list[dict[int, None]] = []  # oldest transaction first
        self.nr_used = 0  # journal blocks that transactions on `checkpoints` occupy
        self._used: list[int] = []
        self.nr_commits = 0
        room = geometry.block_bytes - HEADER_BYTES - CSUM_BYTES - UUID_BYTES
        self.tags_per_block = room // TAG_BYTES

    def nr_checkpoint(self) -> int:
        """Blocks on the checkpoint lists."""
        return sum(len(blocks) for blocks in self.checkpoints)

    def start(self) -> None:
        """A handle starts: a transaction runs from now on."""
        if self.commit_due_ns >= 0:
            return
        expires_ns = self.clock.now_ns + COMMIT_INTERVAL_NS
        # fs/jbd2/transaction.c jbd2_get_transaction(), v6.1: round_jiffies_up(), to whole seconds
        self.commit_due_ns = -(-expires_ns // SECOND_NS) * SECOND_NS

    def change(self, block: int, content: int = FROM_DISK) -> None:
        """A handle changes metadata block `block`: jbd2_journal_dirty_metadata().

        `content` NEW_BLOCK: its contents are made, not read (a new block, an uninitialised bitmap).
        """
        self.start()
        if block in self.running:
            return
        if not any(block in blocks for blocks in self.checkpoints):
            self.objects.alloc(JOURNAL_HEAD, 1)
        self.metadata.set_running(block, content)
        self.running[block] = None

    def make_room(self, nr_blocks: int) -> None:
        """Before a handle that may change `nr_blocks`: commit a full transaction
        (add_transaction_credits())."""
        if len(self.running) + nr_blocks > self.max_transaction_blocks:
            self.commit(SOMEONE_WAITS)
        descriptors = len(self.running) // self.tags_per_block + 3
        while self.checkpoints and self.nr_used + len(self.running) + descriptors > self.nr_blocks:
            self.checkpoint_oldest()

    def commit(self, who: int) -> int:
        """Write the running transaction to the journal: ns waited (0 IN_BACKGROUND).

        fs/jbd2/commit.c jbd2_journal_commit_transaction(), v6.1.
        """
        if self.commit_due_ns < 0:
            return 0
        self.commit_due_ns = -1
        blocks = self.running
        self.running = {}
        if not blocks:
            return 0
        self.nr_commits += 1
        written = self._log_blocks(len(blocks))
        end_ns = self._write_log(written)
        for older in self.checkpoints:
            for block in blocks:
                older.pop(block, None)
        for block in blocks:
            self.metadata.committed(block)
        self.checkpoints.append(blocks)
        self._used.append(written)
        self.nr_used += written
        self._drop_empty()
        if who == IN_BACKGROUND:
            return 0
        waited_ns = int(self.metadata.border.wait_until(end_ns, STALL_DIRTY))
        self.folio_io.run_completions(self.clock.now_ns)
        return waited_ns

    def _log_blocks(self, nr_blocks: int) -> int:
        """Journal blocks of a commit: a descriptor before every so many, and the commit block at
        the end."""
        left = nr_blocks
        at = self.head
        while left > 0:
            self._make_buffer(at)
            here = min(left, self.tags_per_block)
            at += 1 + here
            left -= here
        self._make_buffer(at)
        return at + 1 - self.head

    def _make_buffer(self, at: int) -> None:
        """Descriptors and commit blocks are made in the device's page cache; logged blocks are
        not."""
        self.metadata.get_block(self.first_block + at % max(self.nr_blocks, 1), NEW_BLOCK)

    def _write_log(self, nr_blocks: int) -> int:
        kib = nr_blocks * self.metadata.block_kib
        nr_pages = -(-kib // 4)
        block = self.metadata.place(self.first_block + self.head)[0]
        end_ns = self.folio_io.submit_raw(self.device, IO_WRITE, block, nr_pages)
        self.metadata.border.count(PGPGOUT, kib - 4 * nr_pages)
        self.head = (self.head + nr_blocks) % max(self.nr_blocks, 1)
        return int(end_ns)

    def commit_if_due(self, now_ns: int) -> bool:
        """kjournald2's timer: commit a transaction that is old enough, in the background."""
        if self.commit_due_ns < 0 or now_ns < self.commit_due_ns:
            return False
        self.commit(IN_BACKGROUND)
        return True

    def shrink(self, nr_to_scan: int) -> int:
        """Drop blocks that are in place from the checkpoint lists: how many.

        jbd2_journal_shrink_checkpoint_list(), v6.1.
        """
        freed = 0
        for blocks in self.checkpoints:
            for block in list(blocks):
                if nr_to_scan <= 0:
                    break
                if self._try_drop(blocks, block):
                    freed += 1
                    nr_to_scan -= 1
        self._drop_empty()
        return freed

    def _try_drop(self, blocks: dict[int, None], block: int) -> bool:
        if block in self.running or self.metadata.is_dirty(block):
            return False
        del blocks[block]
        self.metadata.forget(block, CHECKPOINT)
        self.objects.free(JOURNAL_HEAD, 1)
        return True

    def _drop_empty(self) -> None:
        while self.checkpoints and not self.checkpoints[0]:
            self.checkpoints.pop(0)
            self.nr_used -= self._used.pop(0)

    def checkpoint_oldest(self) -> None:
        """Write the oldest transaction's blocks in place to free journal space
        (log_do_checkpoint())."""
        blocks = self.checkpoints[0]
        for block in sorted(blocks):
            index = self.metadata.place(block)[0]
            if self.metadata.is_dirty(block):
                self.metadata.write_pages(index, index + 1, 1)
        for block in list(blocks):
            pfn = self.metadata.page_of(block)
            self.folio_io.wait_on_writeback(pfn, STALL_DIRTY)
            if block in self.running:
                del blocks[block]
                self.metadata.forget(block, CHECKPOINT)
            else:
                self._try_drop(blocks, block)
        self._drop_empty()

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            ("head", self.head),
            ("running", list(self.running)),
            ("commit_due_ns", self.commit_due_ns),
            ("nr_commits", self.nr_commits),
            ("checkpoints", [block for blocks in self.checkpoints for block in blocks]),
        ]
