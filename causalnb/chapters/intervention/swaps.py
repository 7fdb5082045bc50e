"""Which sets of channels are swapped under which perturbation, and where the effects of a size are found."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from causalnb.chapters.intervention import attacked, experiments, networks
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.attacked import Subject
from causalnb.chapters.intervention.metrics import Effects
from causalnb.chapters.intervention.networks import Net, Run
from causalnb.chapters.intervention.permutation import Sampled

FEW, MANY, SEVEN = 3, 14, 7  # sizes of 16 channels: all sets up to, all sets from, and a sample or all of
LISTED = 16  # channels up to which all sets can be swapped
EVERY_SET = ("apgd", "cw", "boundary", "extended", "hsj")
OURS = ("other", "flipped")  # controls that take fewer images
QUICK = 4  # of these at the quick profile
ORDERED = ("apgd", "noise")  # by permutations too
LATTICE_OF_SMALL = 100  # images of mnist37 on which all sets are swapped


@dataclass(frozen=True)
class Swaps:
    """Effects under one perturbation.

    parts     of groups of sets: "few" (sizes 1 to 3), "many" (14 to 16), "seven" (drawn sets of size 7),
              "every" (all sets, on the first images)
    sampled   the estimate by permutations, where it was made; ordered: the effects behind it
    """

    parts: Mapping[str, Effects]
    sampled: Sampled | None = None
    ordered: Effects | None = None

    def at(self, size: int) -> Effects | None:
        """The effects of sets of a size, on as many images as there are: of all sets, or at size 7 of drawn
        ones, unless all were swapped on as many images. None where no sets were swapped.
        """
        found = [one.of(size) for name, one in self.parts.items() if name != "seven" or size == SEVEN]
        found = [one for one in found if len(one.sets)]
        return max(found, key=lambda one: (len(one), len(one.sets)), default=None)

    @property
    def every(self) -> Effects | None:
        """The effects of all sets on the first images; None where they were not swapped."""
        return self.parts.get("every")


@dataclass(frozen=True)
class Case:
    """A training with its images, what was done to them, and what the swaps do.

    swaps   by perturbation; first: whether all perturbations were made
    few     the largest size of which all sets were swapped on all images
    """

    subject: Subject
    swaps: Mapping[str, Swaps]
    first: bool
    channels: int
    few: int

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.subject.net.name

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.subject.net.seed


def reach(run: Run, channels: int) -> int:
    """The size up to which all sets are swapped: 3 of 16 channels; of more 2, and 4, the paper's, at full."""
    if channels <= LISTED:
        return min(FEW, channels)
    return 4 if run.p.profile == "full" and channels <= 2 * LISTED else 2


def plan(run: Run, name: str, perturbation: str, channels: int, *, first: bool) -> dict[str, int]:
    """Which groups of sets are swapped, each on how many images at most."""
    p = run.p
    small = name == "mnist37"
    asked = {"few": p.n_images if first and perturbation not in OURS else p.n_other}
    if perturbation == "extended":
        asked.clear()
    if first and perturbation in ("apgd", "cw", "hsj", "noise"):
        asked["many"] = p.n_images
    if perturbation in ("apgd", "noise") or (first and perturbation in ("cw", "hsj")):
        asked["seven"] = p.n_other
    chosen = EVERY_SET[:QUICK] if p.profile == "quick" else EVERY_SET
    if (first and perturbation in chosen) or (small and perturbation in ORDERED):
        asked["every"] = LATTICE_OF_SMALL if small and p.profile != "quick" else p.n_lattice
    if channels > LISTED:
        asked.pop("every", None)
    if perturbation in ORDERED:
        asked["orders"] = p.n_sampled if first else p.n_other
    if small and "every" in asked:
        asked.pop("seven", None)
    return asked


def cases(run: Run, name: str) -> list[Case]:
    """All trainings on a data set, the first with all perturbations."""
    nets = networks.networks(run, name)
    return [case(run, net, first=place == 0) for place, net in enumerate(nets)]


def case(run: Run, net: Net, *, first: bool) -> Case:
    """A training, attacked and swapped."""
    of = attacked.subject(run, net, first=first)
    channels = experiments.width(net.model, net.layer, of.images.images)
    made = {name: _swaps(run, of, name, channels, first) for name in of.changed}
    return Case(of, made, first, channels, reach(run, channels))


def groups(run: Run, channels: int) -> dict[str, Tensor]:
    """The sets of each group."""
    from_ = MANY if channels <= LISTED else channels - 1
    made = {
        "few": sets_.up_to(channels, reach(run, channels)),
        "many": torch.cat([sets_.of_size(channels, size) for size in range(from_, channels + 1)]),
        "seven": sets_.drawn(channels, SEVEN, run.p.n_sets, seed=run.p.seed),
    }
    return made | ({"every": sets_.every(channels)} if channels <= LISTED else {})


def _swaps(run: Run, of: Subject, name: str, channels: int, first: bool) -> Swaps:
    net, sets = of.net, groups(run, channels)
    workers = 1 if run.p.profile == "quick" else None
    parts: dict[str, Effects] = {}
    sampled, ordered = None, None
    for group, most in plan(run, net.name, name, channels, first=first).items():
        n = min(most, len(of.changed[name]))
        images, changed, labels = (
            one[:n].to(run.device) for one in (of.images.images, of.changed[name], of.images.labels)
        )
        given = run.store, f"{name}, {group} sets, {of.where}", net.model, net.layer, images, changed, labels
        if group == "orders":
            asked = {"channels": channels, "pairs": run.p.pairs, "seed": run.p.seed}
            sampled, ordered = experiments.sampled(*given, **asked, workers=workers)  # type: ignore[arg-type]
        else:
            parts[group] = experiments.swapped(*given, sets[group], workers=workers)
    return Swaps(parts, sampled, ordered)
