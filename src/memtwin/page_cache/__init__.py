"""Cached pages of files: slots by page index, their tree nodes, and the decisions of readahead.

`PageCache` adds, finds and deletes; `Mapping` is one file's pages; `Readahead` decides what to
read.
"""
