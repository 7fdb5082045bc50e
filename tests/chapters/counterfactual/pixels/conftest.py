"""One small run from pixels for all tests of the chapter: digits, few images, few steps, a store of its own."""

import pytest

from causalnb.chapters.counterfactual import experiments, knowing, networks
from causalnb.notebook import begin


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALNB_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("CAUSALNB_QUIET", "")
        return begin(
            "counterfactual",
            profile="quick",
            device="cpu",
            n_images=60,
            n_held_out=60,
            n_fitted=200,
            n_attacked=50,
            n_strong=10,
            scale=6.0,
            steps=5,
            epochs=3,
            n_matched=8,
            n_adaptive=8,
            adaptive_steps=8,
            n_weights=2,
            n_targets=1,
            resamples=100,
        )


@pytest.fixture(scope="session")
def has(run):
    return experiments.detectives(run, networks.network(run))


@pytest.fixture(scope="session")
def shown(run, has):
    return experiments.shown(run, has)


@pytest.fixture(scope="session")
def harmless(run, has):
    return experiments.placebos(run, has)


@pytest.fixture(scope="session")
def knows(run, has):
    return knowing.knowing(run, has)
