"""Front desk of sweep: many replays of a trace (`sizing`), the real command beside (`verify`)."""
