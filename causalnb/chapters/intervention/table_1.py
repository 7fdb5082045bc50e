"""What the record holds of Table 1: accuracies clean and under attack, channels of the examined layers; and
the controls that the networks are as good as printed and that the attack finds what is there.
"""

from collections.abc import Sequence

from causalnb import models, trainings, vision
from causalnb.chapters.intervention import attacked, networks
from causalnb.chapters.intervention.networks import Net, Run
from causalnb.chapters.intervention.swaps import Case
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, exact, logic, over_seeds, proportion

STEM = 32  # output channels of the first convolution of EfficientNetV2 B0
WIDTHS = {"b0": 1.0, "b1": 1.0, "b2": 1.1, "b3": 1.2}  # of the B variants, by which their channels are scaled
MULTIPLE = 8  # to which they are rounded
RESTARTS = 5


def channels(run: Run) -> Estimates:
    """Output channels of the first convolution: of ResNet-20 as built here, of EfficientNetV2's variants by
    torchvision's own configurations and, for B0 to B3, by the scaling that they share. torchvision
    takes seconds to import: at the quick profile without it.
    """
    built = len(next(models.resnet20().parameters()))
    made: Estimates = {MeasurementId.of("channels", net="resnet20"): exact(built)}
    counts = {name: scaled(STEM * width) for name, width in WIDTHS.items()}
    for size in "sml" if run.p.profile != "quick" else "":
        efficientnet = vision.import_torchvision().models.efficientnet
        settings, _ = efficientnet._efficientnet_conf(f"efficientnet_v2_{size}")
        counts[size] = settings[0].input_channels
    for name, n in counts.items():
        made[MeasurementId.of("channels", net="efficientnetv2", variant=name)] = exact(n)
    return made


def scaled(channels: float) -> int:
    """A number of channels rounded to the multiple, at most a tenth below itself.

    >>> [scaled(32 * width) for width in (1.0, 1.1, 1.2)]
    [32, 32, 40]
    """
    near = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return near + MULTIPLE * (near < 0.9 * channels)


def clean(run: Run, nets: Sequence[Net]) -> Estimates:
    """t1.clean and control.accuracy, of the rounded weights on the whole test set."""
    name, seeds = nets[0].name, [net.seed for net in nets]
    made: Estimates = {}
    arch = "" if networks.natural(nets[0].train) else "cnn37"
    id = MeasurementId.of("t1", what="clean", data=name, net=arch)
    table = [net.correct.double().numpy() for net in nets]
    made[id] = (
        over_seeds(table, seeds=seeds, level=run.level(id))
        if len(nets) > 1
        else proportion(*nets[0].accuracy)
    )
    id = MeasurementId.of("control", what="accuracy", data=name)
    level = run.level(id)
    made[id] = trainings.every([proportion(*net.accuracy, level=level) for net in nets], seeds=seeds)
    return made


def under_attack(run: Run, cases: Sequence[Case]) -> Estimates:
    """t1.apgd on all test images that a network gets right; t1.cw and t1.hsj on those drawn."""
    made: Estimates = {}
    for case in cases:
        net = case.subject.net
        parts = {"data": net.name, "seed": f"s{net.seed}"}
        made |= _left(run, MeasurementId.of("t1", what="apgd", **parts), attacked.left(run, net))
        for name in ("cw", "hsj"):
            if case.first and name in case.swaps and (one := case.swaps[name].at(1)) is not None:
                id = MeasurementId.of("t1", what=name, **parts)
                made |= _left(run, id, (int((~one.found).sum()), len(one)))
    net = cases[0].subject.net
    if not networks.natural(net.train):
        id = MeasurementId.of("t1", what="apgd", data=net.name, seed=f"s{net.seed}", more=f"r{RESTARTS}")
        made |= _left(run, id, attacked.left(run, net, restarts=RESTARTS))
    return made


def early(run: Run, name: str) -> Estimates:
    """The small network stopped where its accuracy is nearest to the printed one, and APGD on it."""
    net = networks.stopped_early(run, name, seed=run.p.seed)
    id = MeasurementId.of("t1", what="clean", data=name, net="cnn37", reading="early")
    made: Estimates = {id: proportion(*net.accuracy, level=run.level(id), seeds=(net.seed,))}
    id = MeasurementId.of("t1", what="apgd", data=name, seed=f"s{net.seed}", reading="early")
    return made | _left(run, id, attacked.left(run, net))


def _left(run: Run, id: MeasurementId, counted: tuple[int, int]) -> Estimates:
    return {id: proportion(*counted, level=run.level(id), seeds=(run.p.seed,))}


def planted(run: Run, case: Case) -> Estimates:
    """control.planted."""
    found = attacked.planted(run, case.subject.net, case.subject.images)
    id = MeasurementId.of("control", what="planted", data=case.name)
    return {id: logic(found.passed, n=found.attack[1])}


def everything(run: Run, cases: Sequence[Case]) -> dict[MeasurementId, Estimate]:
    """All of the above."""
    nets = [case.subject.net for case in cases]
    made = channels(run) | clean(run, nets) | under_attack(run, cases) | planted(run, cases[0])
    if nets[0].name == "mnist37":
        made |= early(run, nets[0].name)
    return made
