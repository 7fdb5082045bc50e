import pytest
import torch
from torch import nn

from causalnb.chapters.ace import readings, specifications
from causalnb.chapters.ace.checks import drawn_images, layer, network
from causalnb.chapters.ace.interventions import average_effects, binary, interventional_table, scores
from causalnb.chapters.ace.taylor import taylor_table

ALPHAS = torch.linspace(0, 1, 11, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def images():
    return drawn_images(6, seed=3)


@pytest.fixture(scope="module")
def classes(model, images):
    return readings.classes_of(model, images, LABELS)


def keys(*of):
    return {
        f"{reading}.{score}.{name}"
        for reading in of
        for score in ("logit", "probability")
        for name in ("predicted", "true")
    }


def changed(images, pixel, value):
    copy = images.flatten(1).clone()
    copy[:, pixel] = value
    return copy.view_as(images)


def outputs(model, images, of):
    with torch.no_grad():
        return scores(model(images))[:, torch.arange(len(images)), of]


def test_individual_effects_are_the_definition(model, images, classes):
    fill = torch.rand(1, 3, 3, dtype=torch.float64)
    maps = readings.individual(model, images, classes, alphas=ALPHAS, fill=fill)
    assert set(maps) == keys("R3", "R3b", "R3c", "R3m")
    for name, of in classes.items():
        own = outputs(model, images, of)
        for pixel in range(9):
            done = torch.stack([outputs(model, changed(images, pixel, alpha), of) for alpha in ALPHAS])
            filled = outputs(model, changed(images, pixel, fill.flatten()[pixel]), of)
            wanted = {
                "R3": own - done.mean(0),
                "R3b": own - done[0],
                "R3c": done[-1] - done[0],
                "R3m": own - filled,
            }
            for reading, values in wanted.items():
                for i, score in enumerate(("logit", "probability")):
                    assert torch.allclose(
                        maps[f"{reading}.{score}.{name}"].flatten(1)[:, pixel], values[i].float(), atol=1e-6
                    ), reading


def test_population_effects_are_looked_up_at_the_pixels_own_values(model, images, classes):
    table = interventional_table(model, drawn_images(30), ALPHAS)
    on_grid = (images * 10).round() / 10
    maps = readings.population(table, on_grid, classes)
    assert set(maps) == keys("R1", "R1e", "R1d")
    for name, of in classes.items():
        for i, score in enumerate(("logit", "probability")):
            for image in range(6):
                for pixel in range(9):
                    at = table.expectation[
                        i, pixel, int((on_grid[image].flatten()[pixel] * 10).round()), of[image]
                    ]
                    uniform, empirical = (
                        table.expectation[i, pixel, :, of[image]].mean(),
                        table.natural[i, of[image]],
                    )
                    assert maps[f"R1.{score}.{name}"][image].flatten()[pixel].item() == pytest.approx(
                        (at - uniform).item(), abs=1e-6
                    )
                    assert maps[f"R1e.{score}.{name}"][image].flatten()[pixel].item() == pytest.approx(
                        (at - empirical).item(), abs=1e-6
                    )
                    ends = (
                        table.expectation[i, pixel, -1, of[image]] - table.expectation[i, pixel, 0, of[image]]
                    )
                    assert maps[f"R1d.{score}.{name}"][image].flatten()[pixel].item() == pytest.approx(
                        ends.item(), abs=1e-6
                    )


def test_r1d_is_the_binary_effect_of_the_class_whatever_the_image(model, images, classes):
    table = interventional_table(model, drawn_images(30), ALPHAS)
    maps, others = (readings.population(table, some, classes) for some in (images, 1 - images))
    for i, score in enumerate(("logit", "probability")):
        for name, of in classes.items():
            wanted = torch.stack([binary(table)[i, :, c].view(3, 3) for c in of.tolist()]).float()
            assert torch.equal(maps[f"R1d.{score}.{name}"], wanted) and torch.equal(
                others[f"R1d.{score}.{name}"], wanted
            )
            assert not torch.allclose(maps[f"R1.{score}.{name}"], others[f"R1.{score}.{name}"], atol=1e-3)


def test_population_and_individual_effects_agree_where_the_network_is_linear(images):
    model, rows = nn.Sequential(nn.Flatten(), layer(9, 4)), drawn_images(30)
    classes = {"true": LABELS}
    population = readings.population(interventional_table(model, rows, ALPHAS), images, classes)
    individual = readings.individual(model, images, classes, alphas=ALPHAS, fill=rows.mean(0))
    gradient = readings.gradients(model, images, classes)
    assert torch.allclose(population["R1.logit.true"], individual["R3.logit.true"], atol=1e-5)
    assert torch.allclose(population["R1e.logit.true"], individual["R3m.logit.true"], atol=1e-5)
    assert torch.allclose(population["R1.logit.true"], gradient["R7c.logit.true"], atol=1e-5)
    taylor = readings.at_own_values(
        taylor_table(model, rows.mean(0), rows.flatten(1).T.cov(), ALPHAS), images, classes, {"R2": "uniform"}
    )
    assert set(taylor) == {"R2.logit.true", "R2.probability.true"}
    assert torch.allclose(population["R1.logit.true"], taylor["R2.logit.true"], atol=1e-5)


def test_a_reading_takes_the_baseline_that_is_asked_for(model, images, classes):
    table = interventional_table(model, drawn_images(30), ALPHAS)
    maps = readings.at_own_values(table, images, classes, {"A": "uniform", "B": "empirical", "C": "zero"})
    assert set(maps) == keys("A", "B", "C")
    for reading, baseline in (("A", "uniform"), ("B", "empirical"), ("C", "zero")):
        shift = (table.effect - average_effects(table, baseline=baseline))[0, :, 0, LABELS].T.view(6, 3, 3)
        assert torch.allclose(maps[f"{reading}.logit.true"], maps["B.logit.true"] - shift.float(), atol=1e-6)
    assert not torch.allclose(maps["A.logit.true"], maps["C.logit.true"], atol=1e-2)


def test_the_effects_of_a_linear_network_are_its_weights(images):
    model = nn.Sequential(nn.Flatten(), layer(9, 4))
    weight, x = model[1].weight.detach()[LABELS].view(6, 3, 3).float(), images[:, 0].float()
    maps = readings.individual(model, images, {"true": LABELS}, alphas=ALPHAS, fill=images.mean(0))
    maps |= readings.gradients(model, images, {"true": LABELS}) | readings.integrated_gradients(
        model, images, {"true": LABELS}, steps=3
    )
    assert torch.allclose(maps["R3c.logit.true"], weight, atol=1e-6) and torch.allclose(
        maps["R7.logit.true"], weight, atol=1e-6
    )
    for reading in ("R3b", "R7x", "R8"):
        assert torch.allclose(maps[f"{reading}.logit.true"], weight * x, atol=1e-6), reading


def test_r3b_and_r3c_take_the_first_and_the_last_value(model, images, classes):
    few, fill = torch.tensor([0.2, 0.5, 0.6], dtype=torch.float64), images.mean(0)
    maps = readings.individual(model, images, classes, alphas=few, fill=fill)
    first, last = (readings.individual(model, images, classes, alphas=few[[i, i]], fill=fill) for i in (0, 2))
    assert torch.allclose(maps["R3b.logit.true"], first["R3.logit.true"], atol=1e-6)
    assert torch.allclose(maps["R3c.logit.true"], first["R3.logit.true"] - last["R3.logit.true"], atol=1e-6)


def test_gradients_are_finite_differences(model, images, classes):
    maps = readings.gradients(model, images, classes)
    assert set(maps) == keys("R7", "R7x", "R7c")
    for name, of in classes.items():
        for pixel in range(9):
            step = 1e-6
            slope = (
                outputs(model, changed(images, pixel, images.flatten(1)[:, pixel] + step), of)
                - outputs(model, images, of)
            ) / step
            for i, score in enumerate(("logit", "probability")):
                assert torch.allclose(
                    maps[f"R7.{score}.{name}"].flatten(1)[:, pixel], slope[i].float(), atol=1e-3
                )
    assert torch.allclose(maps["R7x.logit.true"], maps["R7.logit.true"] * images[:, 0].float())
    assert torch.allclose(maps["R7c.logit.true"], maps["R7.logit.true"] * (images[:, 0].float() - 0.5))


@pytest.mark.parametrize("maps_of", [readings.gradients, readings.integrated_gradients])
def test_gradients_of_more_images_than_a_batch_are_those_of_each(model, maps_of):
    many = drawn_images(1004)
    of = {"true": torch.arange(1004) % 4}
    together, last = maps_of(model, many, of), maps_of(model, many[998:], {"true": of["true"][998:]})
    assert all(
        len(values) == 1004 and torch.allclose(values[998:], last[key], atol=1e-6)
        for key, values in together.items()
    )


def smooth():
    """A network without kinks: images [n, 1, 3, 3], four classes."""
    return nn.Sequential(nn.Flatten(), layer(9, 8), nn.Tanh(), layer(8, 4, seed=1))


def missing(model, images, steps):
    """What integrated gradients leave of f(x) - f(0), [2 scores, 6 images], for LABELS."""
    maps = readings.integrated_gradients(model, images, {"true": LABELS}, steps=steps)
    summed = torch.stack(
        [maps[f"R8.{score}.true"].double().sum((1, 2)) for score in ("logit", "probability")]
    )
    return summed - (outputs(model, images, LABELS) - outputs(model, torch.zeros_like(images), LABELS))


def test_integrated_gradients_are_complete_to_the_error_of_the_midpoint_rule(images):
    errors = {steps: missing(smooth(), images, steps).abs() for steps in (4, 8, 32)}
    assert errors[32].max() < 1e-3 and errors[4].min() > 1e-5
    assert errors[8].sum() / errors[4].sum() == pytest.approx(1 / 4, abs=0.05)  # second order in the step
    assert missing(nn.Sequential(nn.Flatten(), layer(9, 4)), images, 1)[0].abs().max() < 1e-6


def test_integrated_gradients_take_the_gradients_between_black_and_the_image(images):
    model, of = smooth(), {"true": LABELS}
    parts = [readings.gradients(model, share * images, of)["R7.probability.true"] for share in (0.25, 0.75)]
    found = readings.integrated_gradients(model, images, of, steps=2)["R8.probability.true"]
    assert torch.allclose(found, images[:, 0].float() * (parts[0] + parts[1]) / 2, atol=1e-6)


@pytest.mark.parametrize(("shape", "size"), [((1, 8, 8), 2), ((1, 8, 8), 4), ((1, 4, 6), 2), ((3, 4, 8), 4)])
def test_blocks_of_a_linear_network_lose_the_sum_of_what_their_pixels_lose(shape, size):
    generator = torch.Generator().manual_seed(4)
    images, fill = (
        torch.rand(*first, *shape, generator=generator, dtype=torch.float64) for first in ((6,), ())
    )
    pixels = images[0].numel()
    model = nn.Sequential(nn.Flatten(), layer(pixels, 4))
    lost = (model[1].weight.detach()[LABELS].view(6, *shape) * (images - fill)).sum(1)
    blocks = lost.unfold(1, size, size).unfold(2, size, size).sum((3, 4)).float()
    maps = readings.by_blocks(model, images, {"true": LABELS}, fill=fill, size=size)
    assert set(maps) == {f"R12x{size}.logit.true", f"R12x{size}.probability.true"}
    assert maps[f"R12x{size}.logit.true"].shape == (6, shape[1] // size, shape[2] // size)
    assert torch.allclose(maps[f"R12x{size}.logit.true"], blocks, atol=1e-5)


def test_blocks_of_one_pixel_are_r3m_and_one_block_of_all_is_the_whole_image(model, images, classes):
    fill = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    single, whole = (
        readings.by_blocks(model, images, classes, fill=fill, size=size, batch=4) for size in (1, 3)
    )
    each = readings.individual(model, images, classes, alphas=ALPHAS, fill=fill)
    for name, of in classes.items():
        lost = outputs(model, images, of) - outputs(model, fill.expand_as(images), of)
        for i, score in enumerate(("logit", "probability")):
            assert torch.allclose(single[f"R12x1.{score}.{name}"], each[f"R3m.{score}.{name}"], atol=1e-6)
            assert torch.allclose(whole[f"R12x3.{score}.{name}"].flatten(), lost[i].float(), atol=1e-6)


def test_blocks_leave_the_network_as_it_is(images, classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Dropout(0.5)).train()
    first, second = (
        readings.by_blocks(model, images.float(), classes, fill=torch.zeros(1, 3, 3), size=1)
        for _ in range(2)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert model[2].training and model[1].weight.dtype == torch.float32


def test_the_order_and_number_of_images_change_no_map(model, images, classes):
    fill, one = images.mean(0), {name: of[2:3] for name, of in classes.items()}
    together = readings.individual(model, images, classes, alphas=ALPHAS, fill=fill)
    alone = readings.individual(model, images[2:3], one, alphas=ALPHAS, fill=fill, chunk=1)
    assert all(torch.allclose(together[key][2:3], alone[key], atol=1e-6) for key in together)


def test_a_pixel_that_reaches_nothing_has_exactly_no_effect(images, classes):
    first = layer(9, 8)
    first.weight.data[:, 4] = 0
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), layer(8, 4, seed=1))
    table = interventional_table(model, images, ALPHAS)
    assert table.effect[:, 4].abs().max() < 1e-14
    assert readings.gradients(model, images, classes)["R7.logit.true"][:, 1, 1].abs().max() == 0


def test_effects_below_single_precision_keep_their_sign():
    """Logits near 10, effects of 1e-8: float32 logits are 1e-6 apart."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    model[1].weight.data = torch.ones(2, 9)
    model[1].bias.data[:] = 10.0
    images = torch.full((1, 1, 3, 3), 0.5)
    fill = (0.5 + torch.tensor([1e-7, -1e-7, 0.0] * 3)).view(1, 3, 3)
    maps = readings.individual(model, images, {"true": torch.tensor([0])}, alphas=ALPHAS, fill=fill)
    assert maps["R3m.logit.true"].sign().flatten().tolist() == [-1.0, 1.0, 0.0] * 3
    assert model[1].weight.dtype == torch.float32
    single = readings.individual(
        model, images, {"true": torch.tensor([0])}, alphas=ALPHAS, fill=fill, dtype=torch.float32
    )
    assert single["R3m.logit.true"].abs().max() == 0


def test_decoder_maps_depend_on_the_class_alone():
    effects = torch.randn(4, 3, 3)
    maps = readings.decoded(effects, {"predicted": torch.tensor([1, 1]), "true": torch.tensor([0, 3])})
    assert set(maps) == {"R6.pixel.predicted", "R6.pixel.true"}
    assert torch.equal(maps["R6.pixel.true"], effects[[0, 3]])


def test_maps_of_colour_images_keep_their_channels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
    images = torch.rand(2, 3, 4, 4)
    maps = readings.individual(
        model, images, {"true": torch.tensor([0, 1])}, alphas=ALPHAS, fill=images.mean(0)
    )
    assert {values.shape for values in maps.values()} == {(2, 3, 4, 4)}
    assert {
        values.shape for values in readings.gradients(model, images, {"true": torch.tensor([0, 1])}).values()
    } == {(2, 3, 4, 4)}


def test_every_reading_made_is_registered(model, images, classes):
    table = interventional_table(model, images, ALPHAS)
    others = dict.fromkeys(("R1c", "R2", "R4", "R5", "R5c"), "uniform")
    made = {
        **readings.population(table, images, classes),
        **readings.at_own_values(table, images, classes, others),
        **readings.gradients(model, images, classes),
        **readings.integrated_gradients(model, images, classes),
        **readings.individual(model, images, classes, alphas=ALPHAS, fill=images[0]),
        **readings.decoded(torch.zeros(4, 3, 3), classes),
    }
    known = {*specifications.READINGS, *specifications.COMPARISONS}
    assert {key.split(".")[0] for key in made} == known - {f"R12x{size}" for size in specifications.BLOCKS}
    assert all(values.shape == (6, 3, 3) and values.dtype == torch.float32 for values in made.values())


def test_the_predicted_class_is_the_models_and_the_true_one_is_given(model, images, classes):
    assert torch.equal(classes["predicted"], model(images).argmax(1)) and torch.equal(classes["true"], LABELS)
