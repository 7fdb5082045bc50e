"""The price of the contract: projected gradient descent through `attacks.run` against foolbox as its manual
calls it.
"""

from collections.abc import Callable

import foolbox
import pyautoattack
import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, cost, side_by_side
from causalnb import data
from causalnb.attacks import AttackResult, ball, evaluate, run
from causalnb.attacks.suites import Evaluation, Step
from causalnb.models import lenet, load
from causalnb.paths import find_book

EPS, STEP, STEPS = 0.1, 0.01, 40
ROBUST = 0.36  # with a tenth of the suite's steps it leaves a third of the images


def problem(n: int = 200) -> tuple[nn.Module, Tensor, Tensor]:
    """A LeNet with centred logits, so that its labels are many and its margins small, and seeded images of 28
    x 28 that it gets right.
    """
    model = lenet(seed=0).eval()
    images = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.fc3.bias -= model(images).mean(dim=0)
        return model, images, model(images).argmax(dim=1)


def by_foolbox(model: nn.Module, images: Tensor, labels: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """foolbox's own call on all images at once, from the given start: images and whether each is broken."""
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS)
    attack.get_random_start = lambda clean, eps: type(clean)(start)
    _, clipped, success = attack(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilons=EPS
    )
    return clipped, success


def by_contract(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    """The same search with everything that surrounds it: checks, the clean prediction, the draws, the second
    look.
    """
    return run("pgd", model, images, labels, norm="linf", eps=EPS, step=STEP, steps=STEPS, seed=0)


def pgd_overhead() -> Comparison:
    """Seconds; above 1 the contract costs nothing: frozen parameters and smaller batches save more than it
    adds.
    """
    model, images, labels = problem()
    start = images + EPS * ball.point(images, (0, "pgd", 0), "linf")
    theirs, success = by_foolbox(model, images, labels, start)
    result = by_contract(model, images, labels)
    broken = success & result.found
    return side_by_side(
        lambda: by_foolbox(model, images, labels, start),
        lambda: by_contract(model, images, labels),
        pair="pgd-overhead",
        difference=(theirs - result.images)[broken].abs().max().item(),
        rounds=7,
    )


def evaluate_full() -> Comparison:
    """Seconds of the suite on `small_cnn`: each attack of the libraries on all images, called directly,
    against `evaluate`.

    The network is the book's adversarially trained one, at a budget that leaves a third or more of the
    images; the suite is the full one with a tenth of its steps and of Square's queries, so that the pair ends
    in a minute.
    """
    images, labels = mnist()
    model = load(
        find_book() / "weights" / "small_cnn-mnist-pgd.safetensors",
        "small_cnn",
        classes=10,
        channels=1,
        size=28,
    )
    suite = [
        Step("fgsm", {}),
        Step("pgd", {"steps": 10, "step": ROBUST / 4}),
        Step("apgd-ce", {"steps": 10}),
        Step("apgd-t", {"steps": 10}),
        Step("fab-t", {"steps": 10}),
        Step("square", {"queries": 500, "rescale": True}),
    ]

    def ours(rows: Tensor | slice = slice(None)) -> Evaluation:
        return evaluate(model, images[rows], labels[rows], norm="linf", eps=ROBUST, suite=suite, seed=0)

    def others() -> Tensor:
        return each_on_all(model, images, labels)

    robust, theirs = ours().robust, others()
    subset = (
        f"{len(labels)} images and a tenth of the steps, as ours did; {int(robust.sum())} robust to "
        f"ours, {int(theirs.sum())} to theirs"
    )
    bound = cost(others) / cost(
        lambda: ours(robust)
    )  # robust images see every attack, whatever is spared to the others
    return side_by_side(
        others,
        ours,
        pair="evaluate-full",
        difference=float((robust != theirs).sum()),
        bound=bound,
        rounds=2,
        subset=subset,
    )


def each_on_all(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """[n] whether an image is robust to every attack, each called on all of them as its library's manual
    says.
    """
    robust = model(images).argmax(dim=1) == labels
    guest = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    for attack in (
        foolbox.attacks.LinfFastGradientAttack(),
        foolbox.attacks.LinfPGD(abs_stepsize=ROBUST / 4, steps=10),
    ):
        _, _, success = attack(guest, images, labels, epsilons=ROBUST)
        robust &= ~success
    suite = pyautoattack.AutoAttack(
        model,
        norm="Linf",
        eps=ROBUST,
        seed=0,
        version="custom",
        attacks=["apgd-ce", "apgd-t", "fab-t", "square"],
    )
    made = {
        "n_iter": 10,
        "norm": "Linf",
        "eps": ROBUST,
        "seed": 0,
        "device": "cpu",
        "logger": suite.logger,
    }  # their schedule follows from the steps
    suite.apgd, suite.apgd_targeted = (
        type(suite.apgd)(model, **made),
        type(suite.apgd_targeted)(model, **made),
    )
    suite.fab.n_iter, suite.fab.n_restarts = 10, 1
    suite.square.n_queries, suite.square.rescale_schedule = 500, True
    for found, _ in suite.run_standard_evaluation_individual(images, labels, batch_size=128).values():
        robust &= model(found).argmax(dim=1) == labels
    return robust


def mnist(n: int = 24) -> tuple[Tensor, Tensor]:
    """The first images of MNIST's test set."""
    some = data.load("mnist", "test").take(slice(n))
    return some.images, some.labels


PAIRS: dict[str, Callable[[], Comparison]] = {"pgd-overhead": pgd_overhead, "evaluate-full": evaluate_full}
