"""What a machine is made to do: scripts of the workload language, and recorded traces."""
