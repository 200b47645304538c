"""Reading and writing files: `Files` is the face for programs, `Filemap.fault` for page faults.

`mount.FileRooms` puts one file system together; `Flusher.run` and `next_ns` are for the machine's
clock.
"""
