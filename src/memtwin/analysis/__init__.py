"""Front desk of analysis: pure questions over results (the records, the sizing of a curve)."""
