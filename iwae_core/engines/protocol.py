"""What a worker process tells the engine that started it, besides the log of its run."""

BEAT = b"."  # once every second, for as long as it lives
READY = b"!"  # its run is over, or given up with its state saved, and it could take another
DISK_FULL = 74  # its exit code when it could not even write how the run ended
