"""MNIST is complete, checked and binarised as it should be; damaged files are never trained on."""

import gzip
import lzma
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from iwae_core.data import BINARISATIONS, DATASETS, DataError, Dataset
from iwae_core.data.dataset import binarise, dataset_of
from iwae_core.data.mnist import BUNDLED, FILES, PIXELS
from iwae_core.randomness import generator

TEST_LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return DATASETS["mnist"]()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled files that the program is told to use."""
    copy = tmp_path / "mnist"
    shutil.copytree(BUNDLED, copy)
    monkeypatch.setenv("IWAE_DATA_DIR", str(copy))
    return copy


def test_all_images_and_labels_are_there(data: Dataset) -> None:
    assert PIXELS == 784
    assert data.train.shape == (60_000, 784)
    assert data.test.shape == (10_000, 784)
    # The known class counts of MNIST.
    assert data.train_labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert float(data.train_mean.mean()) == pytest.approx(0.1306604762738429, abs=1e-6)


def test_labels_belong_to_their_images(data: Dataset) -> None:
    # A nearest-mean rule gets about 82 per cent right if and only if images and labels are in the same order.
    means = torch.stack([data.train[data.train_labels == digit].float().mean(0) for digit in range(10)])
    guesses = torch.cdist(data.test.float(), means).argmin(1)
    assert float((guesses == data.test_labels).float().mean()) > 0.8


def test_pixels_are_on_with_probability_equal_to_their_grey_value(data: Dataset) -> None:
    grey = torch.tensor([0, 1, 64, 128, 254, 255], dtype=torch.uint8).repeat(100_000, 1)
    copies = Dataset(train=grey, train_labels=grey, test=grey, test_labels=grey)
    means = copies.held_out(seed=3, images=100_000).double().mean(0)
    expected = grey[0].double() / 255
    assert means[0] == 0
    assert means[-1] == 1
    assert ((means - expected).abs() <= 5 * (expected * (1 - expected) / 100_000).sqrt()).all()


def test_a_black_pixel_stays_black_where_the_random_number_is_zero() -> None:
    seed = 2  # of the 2^24 numbers that it gives, some are zero
    assert (torch.rand(2**24, generator=torch.Generator().manual_seed(seed)) == 0).any()
    assert not binarise(torch.zeros(2**24), torch.Generator().manual_seed(seed)).any()


def test_mean_grey_value_of_each_pixel(data: Dataset) -> None:
    assert data.train_mean.numpy() == pytest.approx(data.train.numpy().mean(0) / 255, abs=1e-6)


def test_every_presentation_is_binarised_anew_and_an_epoch_shows_each_image_once(data: Dataset) -> None:
    small = Dataset(data.train[:20], data.train_labels[:20], data.test, data.test_labels)
    epochs = [torch.cat([small.minibatch(0, step, 5) for step in range(4 * e, 4 * e + 4)]) for e in range(2)]
    # Sure pixels identify the images: black and white ones do not depend on the draw.
    sure = [(small.train == 255).float(), (small.train == 0).float()]
    for epoch in epochs:
        matches = (sure[0] @ (1 - epoch).T + sure[1] @ epoch.T) == 0
        assert matches.sum(0).tolist() == [1] * 20
        assert matches.sum(1).tolist() == [1] * 20
    assert not torch.equal(epochs[0].sort(0).values, epochs[1].sort(0).values)
    assert torch.equal(small.minibatch(0, 3, 5), small.minibatch(0, 3, 5))
    assert not torch.equal(small.minibatch(0, 3, 5), small.minibatch(1, 3, 5))


def test_static_binarisation_draws_each_image_once_per_seed(data: Dataset) -> None:
    small = Dataset(data.train[:2500], data.train_labels[:2500], data.test, data.test_labels)
    static = BINARISATIONS["static"](small, 3)
    assert set(static.train.unique().tolist()) == {0, 255}
    assert ((static.train == 255) <= (small.train > 0)).all()
    assert ((static.train == 0) <= (small.train < 255)).all()
    share, variance = small.train.double() / 255, (small.train.double() / 255) * (1 - small.train.double() / 255)
    drawn = static.train.double() / 255
    assert abs(float((drawn - share).sum())) < 5 * float(variance.sum().sqrt())
    epochs = [torch.cat([static.minibatch(3, step, 500) for step in range(5 * e, 5 * e + 5)]) for e in range(2)]
    expected = sorted(map(tuple, (static.train == 255).float().tolist()))
    assert all(sorted(map(tuple, epoch.tolist())) == expected for epoch in epochs)
    assert not torch.equal(static.train, BINARISATIONS["static"](small, 4).train)
    assert static.train.dtype == torch.uint8
    second = binarise(small.train[1000:2000], generator(3, "static binarisation", 1000))
    assert torch.equal(static.train[1000:2000], 255 * second.byte())
    twice = BINARISATIONS["static"](replace(small, train=data.train[:1000].repeat(2, 1)), 3)
    assert not torch.equal(twice.train[:1000], twice.train[1000:]), "each block has a stream of its own"
    assert torch.equal(static.held_out(3, 50), small.held_out(3, 50))
    assert BINARISATIONS["dynamic"](small, 3) is small


def test_the_order_is_new_in_every_epoch_and_the_binarisation_in_every_step() -> None:
    # Each of 40 images is white in one pixel of its own, and half grey in another 40.
    grey = torch.cat([255 * torch.eye(40), torch.full((40, 40), 128.0)], 1).byte()
    data = Dataset(grey, torch.arange(40), grey.flip(1), torch.arange(40))
    steps = [data.minibatch(3, step, 10) for step in range(8)]
    orders = [torch.cat(steps[start : start + 4])[:, :40].argmax(1) for start in (0, 4)]
    for epoch, order in enumerate(orders):
        assert torch.equal(order, torch.randperm(40, generator=generator(3, "order", epoch)))
    for step, x in enumerate(steps):
        assert torch.equal(
            x[:, 40:], (torch.rand(10, 80, generator=generator(3, "binarisation", step)) * 255 < 128).float()[:, 40:]
        )
    held_out = data.held_out(3, 40)
    assert torch.equal(held_out[:, 40:], torch.eye(40).flip(1)), "test images are held out, not training images"
    assert torch.equal(
        held_out, (torch.rand(40, 80, generator=generator(3, "test binarisation")) * 255 < data.test).float()
    )


def test_the_test_file_is_shuffled_and_the_training_file_is_not(data: Dataset) -> None:
    # The first half of the file is the easier one: a prefix of the test images has to be of both.
    file = torch.from_numpy(
        np.frombuffer(lzma.decompress((BUNDLED / f"{TEST_LABELS}.xz").read_bytes())[8:], np.uint8).copy()
    )
    order = torch.from_numpy(np.random.default_rng(0).permutation(10_000))
    assert torch.equal(data.test_labels, file[order])
    assert not torch.equal(data.test_labels, file)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_test_images_of_any_files_are_put_into_a_fixed_order() -> None:
    train, test = (np.random.default_rng(i).integers(0, 256, (n, 2, 3), np.uint8) for i, n in ((1, 5), (2, 40)))
    found, order = dataset_of(train, np.arange(5), test, np.arange(40)), np.random.default_rng(0).permutation(40)
    assert found.train.tolist() == train.reshape(5, 6).tolist()
    assert found.train_labels.tolist() == list(range(5))
    assert found.test.tolist() == test.reshape(40, 6)[order].tolist()
    assert found.test_labels.tolist() == order.tolist()


def test_held_out_images_are_binarised_once_per_seed(data: Dataset) -> None:
    assert torch.equal(data.held_out(0, 100), data.held_out(0, 100))
    assert torch.equal(data.held_out(0, 30), data.held_out(0, 100)[:30])
    assert not torch.equal(data.held_out(0, 100), data.held_out(1, 100))


def test_a_validation_split_takes_the_last_training_images_for_test_images(data: Dataset) -> None:
    small = Dataset(data.train[:600], data.train_labels[:600], data.test, data.test_labels)
    split = small.validating(70)
    assert torch.equal(split.train, data.train[:530])
    assert torch.equal(split.train_labels, data.train_labels[:530])
    assert torch.equal(split.test, data.train[530:600])
    assert torch.equal(split.test_labels, data.train_labels[530:600])
    assert len(small.validating(10_000).test) == 100, "a sixth is the most"
    assert len(Dataset(*(part[:7] for part in vars(small).values())).validating(5).test) == 2, "an error needs two"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_plain_and_gzip_files_are_read_too(folder: Path, suffix: str, data: Dataset) -> None:
    for stem in FILES:
        content = lzma.decompress((folder / f"{stem}.xz").read_bytes())
        (folder / f"{stem}{suffix}").write_bytes(gzip.compress(content, 1) if suffix else content)
        (folder / f"{stem}.xz").unlink()
    assert torch.equal(DATASETS["mnist"]().test, data.test)


def rewrite(folder: Path, change: str) -> None:
    path = folder / f"{TEST_LABELS}.xz"
    content = bytearray(lzma.decompress(path.read_bytes()))
    match change:
        case "flipped label":
            content[1000] ^= 1
        case "wrong magic":
            content[2] = 0x0D
        case "wrong count":
            content[7] += 1
        case "short":
            content = content[:-1]
        case "long":
            content += b"\0"
        case "cut in its header":
            del content[6:]
        case "empty":
            content = bytearray()
    path.write_bytes(lzma.compress(bytes(content)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("flipped label", "SHA-256"),
        ("wrong magic", "not an IDX file"),
        ("wrong count", r"declares shape \(10001,\), expected \(10000,\)"),
        ("short", "holds 10007 bytes, expected 10008"),
        ("long", "holds 10009 bytes, expected 10008"),
        ("cut in its header", r"declares shape \(0,\)"),
        ("empty", "not an IDX file"),
    ],
)
def test_altered_files_are_refused(folder: Path, change: str, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(DataError, match=message) as caught:
        DATASETS["mnist"]()
    assert TEST_LABELS in str(caught.value)


def test_truncated_compression_is_refused(folder: Path) -> None:
    path = folder / f"{TEST_LABELS}.xz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated or damaged"):
        DATASETS["mnist"]()


def test_missing_files_are_named(folder: Path) -> None:
    (folder / f"{TEST_LABELS}.xz").unlink()
    with pytest.raises(DataError, match=f"no {TEST_LABELS} .* put the four MNIST files there"):
        DATASETS["mnist"]()
