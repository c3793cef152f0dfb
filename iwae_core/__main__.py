"""The command line: `python -m iwae_core train ...`, `evaluate DIR` and the rest of `iwae_core.commands`."""

import sys
from collections.abc import Sequence

from iwae_core.checkpoint import CheckpointError
from iwae_core.commands import COMMANDS
from iwae_core.datasets import DataError
from iwae_core.device import DeviceError
from iwae_core.log import LogError
from iwae_core.options import UsageError, parser
from iwae_core.pretrained import PretrainedError
from iwae_core.spec import SpecError
from iwae_core.train import prepare_process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        prepare_process()
        return COMMANDS[options.command](options)
    except (UsageError, SpecError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 2
    except (CheckpointError, LogError, DataError, DeviceError, PretrainedError, OSError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
