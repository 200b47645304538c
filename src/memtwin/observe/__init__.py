"""Observing memory: kernel texts to typed records and back, on a live host, a captured tree or
the twin.

Imports the rooms up to process, for the twin's figures. Has never heard of machine descriptions,
workloads or views.
"""
