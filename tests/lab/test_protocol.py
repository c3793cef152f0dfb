"""What an engine and a worker process say to each other arrives as it was meant."""

import pytest

from iwae_lab.engines.protocol import (
    KINDS,
    Begin,
    Checkpoint,
    Leave,
    Message,
    Pause,
    Resume,
    Slow,
    Step,
    Stop,
    SwapNow,
    decode,
    encode,
)

STOP = Stop("stopped because nobody watched it for 30 minutes\n{}")
MESSAGES = (
    Pause(),
    Resume(),
    Step(),
    Slow(),
    Checkpoint(),
    SwapNow(1, "iwae", 50),
    STOP,
    Leave(),
    Begin("/a folder", 3000, [encode(Pause()), encode(STOP)]),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_from_its_line(message: Message) -> None:
    line = encode(message)
    assert "\n" not in line, "a line is a message"
    assert decode(line) == message


def test_every_kind_is_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(KINDS.values())
