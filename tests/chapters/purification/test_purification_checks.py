"""Every check holds, has its row, and fails when what it checks is broken."""

import pytest
import torch

from causalnb import ledger
from causalnb.chapters.purification import (
    bottleneck,
    checks,
    defence,
    diffusion,
    gaussian,
    graphs,
    mechanism,
    network,
    released,
    unrolled,
)

OURS = ("R1", "R2")  # of the released control flow: controls


@pytest.mark.parametrize("id", list(checks.CHECKS))
def test_the_check_holds(id):
    found = checks.CHECKS[id]()
    assert found.holds, f"{found.what}: {found.value} > {found.bound}"
    assert found.id == f"check.{id}" and found.n > 0


def test_every_check_has_its_row_and_no_row_waits_for_none():
    rows = {row.id: row for row in ledger.load("purification").rows}
    waiting = {p for row in rows.values() for p in row.decided_by.measurements if p.startswith("check.")}
    assert waiting == {f"check.{id}" for id in checks.CHECKS}
    assert {id for id in rows if id.startswith("check.")} == {
        f"check.{id}" for id in checks.CHECKS if id not in OURS
    }


def test_what_the_page_says_falls_by_its_own_logic():
    assert checks.by_logic() == {"logic.essential": False, "erratum.E2": False}


def broken(monkeypatch, id, where, name, value):
    monkeypatch.setattr(where, name, value)
    return not checks.CHECKS[id]().holds


def test_checks_of_closed_forms_can_fail(monkeypatch):
    assert broken(monkeypatch, "contraction", gaussian, "contraction", lambda a, s2: a)
    assert broken(monkeypatch, "step", gaussian, "one_step", lambda a, s2: a)
    assert broken(monkeypatch, "minimal", gaussian, "minimal_error", lambda a, s2: a * s2)
    assert broken(
        monkeypatch,
        "E17",
        bottleneck,
        "everything_in_s",
        lambda cases: bottleneck.Cases(cases.covariance, cases.y, cases.x, cases.s[:1], cases.z),
    )
    assert broken(monkeypatch, "club", bottleneck, "pair_club", lambda r, slope, variance: r)
    assert broken(monkeypatch, "graphs", graphs, "independent_causes", lambda graph: set())
    assert broken(monkeypatch, "schedule", diffusion, "FIRST", 2e-4)


def test_checks_of_the_method_can_fail(monkeypatch):
    def latents_matter(self, noisy, t, latents=None):
        return self.unet(
            noisy, t, torch.ones(len(noisy), self.s + self.z).to(noisy) if latents is None else latents
        )

    assert broken(monkeypatch, "dropped", network.CausalDiffusion, "noise", latents_matter)


def test_a_search_that_does_nothing_is_seen(monkeypatch):
    assert broken(monkeypatch, "moves", mechanism, "infer", lambda model, x, *rest: model.encode(x))


def test_a_wrong_gradient_is_seen(monkeypatch):
    once = unrolled.unrolled

    def short(step, count, x, state, *, bounded=True):
        return once(step, count, x.detach() if bounded else x, state, bounded=bounded)

    assert broken(monkeypatch, "kept", defence, "unrolled", short)


def test_a_search_that_keeps_its_graph_would_move(monkeypatch):
    free = released.searched

    def kept(model, x, latents, *, rate):
        with torch.enable_grad():
            return free(model, x, latents, rate=rate)

    assert broken(monkeypatch, "R1", released, "searched", kept)
