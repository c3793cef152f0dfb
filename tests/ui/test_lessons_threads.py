"""What a lesson computes leaves the other cores alone, in whichever thread it runs."""

from concurrent.futures import ThreadPoolExecutor

import torch
from streamlit.testing.v1 import AppTest

from iwae_core.training.process import one_thread


def test_each_thread_is_told_anew() -> None:
    def greedy() -> tuple[int, int]:
        torch.set_num_threads(2)
        return torch.get_num_threads(), one_thread(torch.get_num_threads)()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(greedy).result() == (2, 1)


def _page() -> None:
    import streamlit as st
    import torch

    from ui.lessons import frame, same

    torch.set_num_threads(2)

    def count() -> str:
        threads = str(torch.get_num_threads())
        torch.set_num_threads(2)
        return threads

    st.session_state.setdefault("guess_same", same.LESSON.answers[0])
    frame.show(same.LESSON._replace(reveal=count, code=()), lambda: st.text(count()))


def test_a_page_and_its_moving_part_use_one_thread_each() -> None:
    page = AppTest.from_function(_page, default_timeout=60).run()
    assert not page.exception
    assert page.success[0].value.endswith(" 1")
    assert page.text[0].value == "1"
