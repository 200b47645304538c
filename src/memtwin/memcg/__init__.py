"""Control groups' memory: the table of groups, charging against limits, pressure stall figures."""
