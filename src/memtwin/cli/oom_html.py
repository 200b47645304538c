"""Owns an explained log as one page for the browser, without anything from outside of it.

Imports importlib only. The words are those of the terminal.
"""

from __future__ import annotations

import html
from importlib import resources


def page(name: str, text: str) -> str:
    """A self-contained page that shows `text`."""
    style = (resources.files("memtwin") / "cli" / "report.css").read_text(encoding="utf-8")
    title = f"Out of memory: {name}"
    own = "pre { white-space: pre; overflow-x: auto; line-height: 1.35; font-size: 13px; }"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}\n{own}</style></head>\n"
        f"<body><main><h1>{html.escape(title)}</h1>\n<pre>{html.escape(text)}</pre>\n"
        "</main></body></html>\n"
    )
