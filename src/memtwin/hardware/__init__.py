"""The machine below the kernel: clock, random streams, costs, block devices."""
