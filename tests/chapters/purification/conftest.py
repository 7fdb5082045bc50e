"""One tiny run of the chapter for all its tests: few images, a step or two of everything, a store of its own."""

from types import SimpleNamespace

import pytest
import torch

from causalnb import data, ledger
from causalnb.chapters.purification import measurements, networks
from causalnb.chapters.purification.parameters import Parameters
from causalnb.store import Store


@pytest.fixture(scope="session", autouse=True)
def small():
    """One epoch for a classifier, and one reading of how the model is trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "CLASSIFIER_EPOCHS", 1)
        patch.setattr(networks, "PROBED", 200)
        patch.setattr(measurements, "READINGS", ("two-stage",))
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory, small):
    p = Parameters.resolve(
        {
            "n_images": 8,
            "n_trainings": 2,
            "n_train": 100,
            "training_steps": 2,
            "width": 16,
            "latents": 2,
            "attack_steps": 1,
            "scored": 2,
            "purify_steps": 1,
            "searches": 1,
        }
    )
    book = ledger.load("purification")
    return SimpleNamespace(
        p=p,
        store=Store(tmp_path_factory.mktemp("store")),
        device=torch.device("cpu"),
        load=data.load,
        level=lambda id: max((row.level for row in book.decided_by(id)), default=0.95),
    )


@pytest.fixture(scope="session")
def of(run):
    return networks.sets(run, "shapes")
