"""Single digits before and after, on images whose distance to the boundary is known."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from causalnb import UserError, attacks
from causalnb.chapters.bench import examples, experiments, toys
from causalnb.chapters.bench.networks import Net
from causalnb.data import Images
from causalnb.store import Store


@pytest.fixture
def nets():
    line = toys.Line()
    plain = Net("plain", "a line", line, 0.1, torch.ones(1))
    masked = toys.Scaled(line, 1000.0).eval()
    return {
        "plain": plain,
        "masked": examples.blinded(plain, masked),
        "always": replace(plain, model=Always()),
    }


class Always(torch.nn.Module):
    """The second class, whatever the image: no change is an error where that is the label."""

    def forward(self, images):
        return 0 * images.flatten(1)[:, :2] + torch.tensor([0.0, 1.0])


@pytest.fixture
def run(tmp_path):
    images, labels = toys.halfway(toys.Line(), 10, 0.1)
    some = Images("halves", "test", images, labels, ("left", "right"), "0")
    return SimpleNamespace(
        p=SimpleNamespace(data="halves", n_panel=10, seed=0, steps=20),
        store=Store(tmp_path),
        device=torch.device("cpu"),
        load=lambda name, split="test": some,
    )


def test_an_attack_turns_what_noise_and_a_blind_attack_leave(run, nets):
    plain = nets["plain"]
    seen = {one.what: one for one in examples.first(run, plain, nets["masked"].model)}
    clean, other = seen["clean"].read, {"left": "right", "right": "left"}[seen["clean"].read]
    assert {what: one.read for what, one in seen.items()} == {
        "clean": clean,
        "noise": clean,
        "attack": other,
        "blinded": clean,
        "knowing": other,
    }
    for one in seen.values():
        assert (one.image - seen["clean"].image).abs().max() <= plain.eps + 1e-6
    assert torch.equal(seen["blinded"].image, seen["clean"].image)
    assert examples.told(list(seen.values())) == (
        f"One network reads {clean} (clean), {clean} (noise), {other} (attack), {clean} (blinded) "
        f"and {other} (knowing)."
    )


def test_there_is_a_tile_for_every_choice_and_it_opens_on_an_error_that_was_found(run, nets):
    choices, tiles = examples.tiles(run, nets)
    assert set(tiles) == set(product(*choices.values()))
    assert choices["budget"] == ["0.1", "0.2", "0.033", "0"] and len(choices["digit"]) == 2
    opening = tiles[tuple(options[0] for options in choices.values())]
    assert opening.said.startswith("Found. Read as ") and 0.09 < opening.effects.abs().max() <= 0.1 + 1e-6


def test_a_tile_says_what_came_out(run, nets):
    choices, tiles = examples.tiles(run, nets, images=1)
    [digit] = choices["digit"]
    label = digit.partition(": ")[2]
    other = {"left": "right", "right": "left"}[label]
    said = {
        ("plain", "PGD", "0.1"): f"Found. Read as {other}; the label is {label}.",
        (
            "plain",
            "PGD",
            "0.033",
        ): f"Nothing found: the clean image comes back. Read as {label}; the label is {label}.",
        ("masked", "PGD", "0.1"): f"Nothing found: the clean image comes back. Read as {label}; the label is "
        f"{label}.",
        ("masked", "PGD, margin", "0.1"): f"Found. Read as {other}; the label is {label}.",
        (
            "always",
            "PGD, margin",
            "0.2",
        ): f"Nothing found: the clean image comes back. Read as {label}; the label is {label}.",
        ("plain", "noise", "0.1"): f"Noise, which aims at nothing. Read as {label}; the label is {label}.",
        ("plain", "PGD", "0"): f"The clean image. Read as {label}; the label is {label}.",
    }
    assert {where: tiles[digit, *where].said for where in said} == said
    for where, sentence in said.items():
        changed = bool(tiles[digit, *where].effects.any())
        assert changed == sentence.startswith(("Found", "Noise")), where


def test_digits_that_another_network_has_wrong_when_clean_come_last(run, nets):
    images = run.load("").images
    turned = replace(nets["plain"], model=Turned(nets["plain"].model, images[0]))
    shown, _ = examples.tiles(run, {"plain": nets["plain"], "turned": turned}, images=10)
    some = experiments.drawn(run, 10)
    wrong = (some.images == images[0]).flatten(1).all(dim=1).nonzero().item()
    labels = [one.partition(": ")[2] for one in shown["digit"]]
    assert labels[-1] == some.classes[int(some.labels[wrong])] and len(labels) == 10


class Turned(torch.nn.Module):
    """The model with its two logits exchanged on one image."""

    def __init__(self, model, image):
        super().__init__()
        self.model, self.image = model, image

    def forward(self, images):
        logits = self.model(images)
        same = (images == self.image).flatten(1).all(dim=1)
        return torch.where(same[:, None], logits.flip(1), logits)


def test_the_hand_written_pgd_of_the_chapter_is_the_package_s(run, nets):
    """The cell that shows the method, taken from the chapter's text."""
    from causalnb import runner
    from causalnb.attacks import ball

    [cell] = [one.source for one in runner.convert(runner.chapter("bench")).cells if "def pgd(" in one.source]
    body = cell[cell.index("def pgd(") :].partition("\n\n")[0]
    assert len(body.splitlines()) <= 15
    space = {"torch": torch, "cross_entropy": torch.nn.functional.cross_entropy}
    exec(body, space)
    some, plain = run.load(""), nets["plain"]
    walk = ball.pgd_schedule(0.1, 20)
    start = some.images + 0.1 * ball.uniform(some.images, (3, "pgd", 0))
    ours = attacks.run("pgd", plain.model, some.images, some.labels, norm="linf", eps=0.1, seed=3, **walk)
    by_hand = space["pgd"](
        plain.model, some.images, some.labels, start, budget=0.1, step=walk["step"], times=walk["steps"]
    )
    assert ours.found.all() and torch.allclose(by_hand, ours.images, rtol=0, atol=1e-6)


def test_a_budget_at_which_nothing_breaks_is_refused_in_a_sentence(run, nets):
    with pytest.raises(
        UserError, match="eps = 0.01 is too small for this chapter's pictures: PGD breaks none"
    ):
        experiments.first_broken(run, replace(nets["plain"], eps=0.01))
