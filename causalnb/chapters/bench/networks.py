"""The two networks that chapter 0 attacks, through the store: one trained plainly, one against PGD."""

from dataclasses import dataclass

from torch import Tensor, nn

from causalnb import chapters, models, training
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.bench.parameters import Parameters
from causalnb.training import Recipe

# Budget and epochs of adversarial training: a network of this size that begins at 0.3 may stay at one class.
STAGES = {"mnist": ((0.1, 1), (0.2, 1), (0.3, 4)), "digits": ((0.05, 1), (0.1, 3))}
STEPS = 4


Run = chapters.Run[Parameters]


@dataclass(frozen=True)
class Net:
    """A trained network: `title` for tables, `eps` the L-inf budget against it, `curve` [epochs] its clean
    test accuracy after each epoch.
    """

    name: str
    title: str
    model: nn.Module
    eps: float
    curve: Tensor


def networks(run: Run) -> dict[str, Net]:
    """Both networks by name; on MNIST the second is the `small_cnn` whose weights the book carries."""
    plain, robust = (make(run) for make in (_plain, _robust))
    architecture = "small_cnn" if run.p.data == "mnist" else "LeNet"
    return {
        "plain": Net("plain", "LeNet, plain", *plain[:1], run.p.eps, plain[1]),
        "robust": Net(
            "robust", f"{architecture}, adversarially trained", *robust[:1], run.p.eps_robust, robust[1]
        ),
    }


def _plain(run: Run) -> tuple[nn.Module, Tensor]:
    train, test = run.load(run.p.data, "train"), run.load(run.p.data, "test")
    large = len(train) > 10_000
    recipe = Recipe(
        optimiser="adam", rate=2e-3, batch=128 if large else 50, epochs=3 if large else 4, seed=run.p.seed
    )
    model = models.lenet(classes=len(train.classes), seed=run.p.seed)
    stages = [(training.cross_entropy, recipe)]
    name = f"LeNet on {run.p.data}, plain"
    made = training.train_or_load(run.store, name, model, stages, train, test=test, device=run.device)
    return model, made.curve


def _robust(run: Run) -> tuple[nn.Module, Tensor]:
    train, test, mnist = run.load(run.p.data, "train"), run.load(run.p.data, "test"), run.p.data == "mnist"
    budgets = STAGES["mnist" if len(train) > 10_000 else "digits"]
    model = (
        models.small_cnn(seed=run.p.seed)
        if mnist
        else models.lenet(classes=len(train.classes), seed=run.p.seed)
    )
    recipe = Recipe(
        optimiser="adam",
        rate=1e-3 if mnist else 2e-3,
        batch=128 if mnist else 50,
        schedule="cosine",
        seed=run.p.seed,
    )
    name = f"{'small_cnn' if mnist else 'LeNet'} on {run.p.data} against PGD"
    stages = [
        (
            adversarial(norm="linf", eps=eps, step=2 * eps / STEPS, steps=STEPS),
            recipe.model_copy(update={"epochs": epochs, "seed": run.p.seed + number}),
        )
        for number, (eps, epochs) in enumerate(budgets)
    ]
    made = training.train_or_load(run.store, name, model, stages, train, test=test, device=run.device)
    return model, made.curve
