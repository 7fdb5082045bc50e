import pytest
import torch
from torch import nn

from causalnb.chapters.ace import readings
from causalnb.chapters.ace.checks import drawn_images, layer, network
from causalnb.chapters.ace.interventions import interventional_table, scores
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
    return {f"{reading}.{score}.{name}" for reading in of for score in ("logit", "probability") for name in ("predicted", "true")}


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
    assert set(maps) == keys("R3", "R3m")
    for name, of in classes.items():
        own = outputs(model, images, of)
        for pixel in range(9):
            mean = torch.stack([outputs(model, changed(images, pixel, alpha), of) for alpha in ALPHAS]).mean(0)
            filled = outputs(model, changed(images, pixel, fill.flatten()[pixel]), of)
            for i, score in enumerate(("logit", "probability")):
                assert torch.allclose(maps[f"R3.{score}.{name}"].flatten(1)[:, pixel], (own - mean)[i].float(), atol=1e-6)
                assert torch.allclose(maps[f"R3m.{score}.{name}"].flatten(1)[:, pixel], (own - filled)[i].float(), atol=1e-6)


def test_population_effects_are_looked_up_at_the_pixels_own_values(model, images, classes):
    table = interventional_table(model, drawn_images(30), ALPHAS)
    on_grid = (images * 10).round() / 10
    maps = readings.population(table, on_grid, classes)
    assert set(maps) == keys("R1", "R1e")
    for name, of in classes.items():
        for i, score in enumerate(("logit", "probability")):
            for image in range(6):
                for pixel in range(9):
                    at = table.expectation[i, pixel, int((on_grid[image].flatten()[pixel] * 10).round()), of[image]]
                    uniform, empirical = table.expectation[i, pixel, :, of[image]].mean(), table.natural[i, of[image]]
                    assert maps[f"R1.{score}.{name}"][image].flatten()[pixel].item() == pytest.approx((at - uniform).item(), abs=1e-6)
                    assert maps[f"R1e.{score}.{name}"][image].flatten()[pixel].item() == pytest.approx((at - empirical).item(), abs=1e-6)


def test_population_and_individual_effects_agree_where_the_network_is_linear(images):
    model, rows = nn.Sequential(nn.Flatten(), layer(9, 4)), drawn_images(30)
    classes = {"true": LABELS}
    population = readings.population(interventional_table(model, rows, ALPHAS), images, classes)
    individual = readings.individual(model, images, classes, alphas=ALPHAS, fill=rows.mean(0))
    gradient = readings.gradients(model, images, classes)
    assert torch.allclose(population["R1.logit.true"], individual["R3.logit.true"], atol=1e-5)
    assert torch.allclose(population["R1e.logit.true"], individual["R3m.logit.true"], atol=1e-5)
    assert torch.allclose(population["R1.logit.true"], gradient["R7c.logit.true"], atol=1e-5)
    taylor = readings.expanded(taylor_table(model, rows.mean(0), rows.flatten(1).T.cov(), ALPHAS), images, classes)
    assert set(taylor) == {"R2.logit.true", "R2.probability.true"}
    assert torch.allclose(population["R1.logit.true"], taylor["R2.logit.true"], atol=1e-5)


def test_gradients_are_finite_differences(model, images, classes):
    maps = readings.gradients(model, images, classes, batch=4)
    assert set(maps) == keys("R7", "R7x", "R7c")
    for name, of in classes.items():
        for pixel in range(9):
            step = 1e-6
            slope = (outputs(model, changed(images, pixel, images.flatten(1)[:, pixel] + step), of) - outputs(model, images, of)) / step
            for i, score in enumerate(("logit", "probability")):
                assert torch.allclose(maps[f"R7.{score}.{name}"].flatten(1)[:, pixel], slope[i].float(), atol=1e-3)
    assert torch.allclose(maps["R7x.logit.true"], maps["R7.logit.true"] * images[:, 0].float())
    assert torch.allclose(maps["R7c.logit.true"], maps["R7.logit.true"] * (images[:, 0].float() - 0.5))


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
    single = readings.individual(model, images, {"true": torch.tensor([0])}, alphas=ALPHAS, fill=fill, dtype=torch.float32)
    assert single["R3m.logit.true"].abs().max() == 0


def test_decoder_maps_depend_on_the_class_alone():
    effects = torch.randn(4, 3, 3)
    maps = readings.decoded(effects, {"predicted": torch.tensor([1, 1]), "true": torch.tensor([0, 3])})
    assert set(maps) == {"R6.pixel.predicted", "R6.pixel.true"}
    assert torch.equal(maps["R6.pixel.true"], effects[[0, 3]])


def test_maps_of_colour_images_keep_their_channels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
    images = torch.rand(2, 3, 4, 4)
    maps = readings.individual(model, images, {"true": torch.tensor([0, 1])}, alphas=ALPHAS, fill=images.mean(0))
    assert {values.shape for values in maps.values()} == {(2, 3, 4, 4)}
    assert {values.shape for values in readings.gradients(model, images, {"true": torch.tensor([0, 1])}).values()} == {(2, 3, 4, 4)}


def test_every_reading_made_is_registered(model, images, classes):
    table = interventional_table(model, images, ALPHAS)
    made = {**readings.population(table, images, classes), **readings.expanded(table, images, classes), **readings.gradients(model, images, classes),
            **readings.individual(model, images, classes, alphas=ALPHAS, fill=images[0]), **readings.decoded(torch.zeros(4, 3, 3), classes)}
    assert {key.split(".")[0] for key in made} == set(readings.READINGS)
    assert all(values.shape == (6, 3, 3) and values.dtype == torch.float32 for values in made.values())


def test_the_predicted_class_is_the_models_and_the_true_one_is_given(model, images, classes):
    assert torch.equal(classes["predicted"], model(images).argmax(1)) and torch.equal(classes["true"], LABELS)
