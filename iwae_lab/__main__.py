"""The command line: `iwae train ...`, `evaluate DIR` and the rest of `iwae_lab.cli.commands`."""

import sys
from collections.abc import Sequence

from iwae_core.data import DataError
from iwae_core.device import DeviceError
from iwae_core.training.fields import SpecError
from iwae_core.training.process import prepare_process
from iwae_lab.arguments import UsageError
from iwae_lab.cli.commands import COMMANDS
from iwae_lab.cli.options import parser
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.log import LogError
from iwae_lab.shipped.models import PretrainedError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        prepare_process()
        return COMMANDS[options.command](options)
    except (UsageError, SpecError) as error:
        print(f"iwae: {error}", file=sys.stderr)
        return 2
    except (CheckpointError, LogError, DataError, DeviceError, PretrainedError, OSError) as error:
        print(f"iwae: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
