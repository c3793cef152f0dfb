"""The commands that this package does: from the words of the command line to an exit code."""

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


def main(words: Sequence[str]) -> int:
    """Run one command; what goes wrong is told in one line."""
    try:
        options = parser().parse_args(words)
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
