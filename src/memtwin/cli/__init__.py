"""Front desk of cli: `main` is the command `memtwin`; the reports stand beside it."""
