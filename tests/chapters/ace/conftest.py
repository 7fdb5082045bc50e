"""One small run of the chapter for all its tests: digits, few images, few steps, a store of its own."""

import pytest

from causalnb.chapters.ace import experiments, networks, strength
from causalnb.notebook import begin


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALNB_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("CAUSALNB_QUIET", "")
        return begin(
            "ace",
            profile="quick",
            device="cpu",
            n_images=14,
            n_individual=10,
            n_rows=20,
            n_strength=10,
            n_alphas=3,
            n_trainings=2,
            n_shapes=200,
            epochs=2,
            pgd_steps=5,
            cw_steps=30,
            cw_searches=2,
            vae_steps=20,
        )


@pytest.fixture(scope="session")
def net(run):
    return networks.trained(run, "digits")


@pytest.fixture(scope="session")
def found(run, net):
    return experiments.attacked(run, net)


@pytest.fixture(scope="session")
def right(net, found):
    """The drawn images that the network gets right."""
    return net.test.take(found["fgsm"].correct)


@pytest.fixture(scope="session")
def sets(net, found):
    return experiments.image_sets(net, found)


@pytest.fixture(scope="session")
def points(run, net, found):
    return strength.curves(run, net, found)
