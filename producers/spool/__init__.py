"""The spool: records that wait for the broker on disk, so that they outlive a process that is killed."""
