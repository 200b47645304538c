"""Reports of leaks, whoever wrote them, as one record: `read_reports(path)` gives `LeakReport`s."""

from __future__ import annotations

from memtwin.observe.leak_reports.reader import read_reports, report_of
from memtwin.observe.leak_reports.report import KINDS, Frame, LeakReport, LossRecord, Tally

__all__ = ["KINDS", "Frame", "LeakReport", "LossRecord", "Tally", "read_reports", "report_of"]
