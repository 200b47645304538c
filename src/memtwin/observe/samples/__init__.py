"""Samples of a machine over time: what is sampled, the journal, and the store on disk.

Imports observe's records and pyarrow. Has never heard of trends.
"""
