"""What a worker process tells the engine that started it, besides the log of its run."""

from typing import Literal, TypeAlias

BEAT = b"."  # once every second, for as long as it lives
READY = b"!"  # its run is over, or given up with its state saved, and it could take another
DISK_FULL = 74  # its exit code when it could not even write how the run ended


# "step" makes one step and pauses, "slow" makes one every few seconds until "resume" or "pause". There is also
# "swap RUN ESTIMATOR K", see `Engine.swap`, and "leave", which saves the state and ends without an end in the log.
Command: TypeAlias = Literal["pause", "resume", "step", "slow", "checkpoint", "stop"]
