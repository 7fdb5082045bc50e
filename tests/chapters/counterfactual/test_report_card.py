"""The report card of a method user's images."""

import torch

from causalnb import models
from causalnb.chapters import counterfactual
from causalnb.chapters.counterfactual.prototypes import Prototypes


def test_a_card_shows_values_prototypes_and_what_each_strategy_flags():
    model = models.gap_cnn(classes=3, seed=1).eval()
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    clean = counterfactual.ci(model, images, "relu3")
    found = counterfactual.ci(model, 1 - images[:10], "relu3")
    prototypes = Prototypes(clean.ci[:3], torch.arange(3), torch.arange(3))
    first, second, third = counterfactual.report_card(found, clean, prototypes).axes
    assert [one.get_text() for one in first.get_legend().get_texts()] == ["clean", "these"]
    counted = counterfactual.causal(prototypes.ci).tolist()
    assert [bar.get_height() for bar in second.patches] == counted
    shares = {line.get_label(): line.get_xdata() for line in third.lines}
    assert max(shares["clean"]) <= 0.05 and len(shares["these"]) == len(third.get_yticklabels()) == 9


def test_the_same_images_are_flagged_as_often_as_clean_ones():
    model = models.gap_cnn(classes=3, seed=1).eval()
    clean = counterfactual.ci(model, torch.rand(40, 1, 8, 8), "relu3")
    prototypes = Prototypes(clean.ci[:3], torch.arange(3), torch.arange(3))
    third = counterfactual.report_card(clean, clean, prototypes).axes[2]
    before, after = (line.get_xdata().tolist() for line in third.lines)
    assert before == after
