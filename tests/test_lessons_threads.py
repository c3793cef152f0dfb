"""What a lesson computes leaves the other cores alone, in whichever thread it runs."""

from concurrent.futures import ThreadPoolExecutor

import torch

from iwae_core.lessons.threads import one_thread


def test_each_thread_is_told_anew() -> None:
    def greedy() -> tuple[int, int]:
        torch.set_num_threads(2)
        return torch.get_num_threads(), one_thread(torch.get_num_threads)()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(greedy).result() == (2, 1)
