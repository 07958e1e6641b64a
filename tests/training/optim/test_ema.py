"""The average of the weights, by hand, and as it is saved."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.optim.ema import WeightAverage
from tests.helpers.operators import CountedOperators


def network() -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(backbone="resnet18", width=0.125, num_classes=3, clip_length=4, size=16)


def test_the_average_by_hand() -> None:
    model = build_recognizer(backbone="resnet18", width=0.125, num_classes=3, clip_length=4, size=16)
    average = WeightAverage(model, 0.75)
    weight, expected = model.classifier.weight, torch.zeros(0)
    mean = model.get_buffer("backbone.stem.1.running_mean")
    for i in range(4):
        with torch.no_grad():
            weight.fill_(2.0**i)
            mean.fill_(-(2.0**i))
        average.update(model)
        expected = weight.clone() if i == 0 else 0.75 * expected + 0.25 * weight
        torch.testing.assert_close(average.recognizer.classifier.weight, expected)
        assert torch.equal(average.recognizer.get_buffer("backbone.stem.1.running_mean")[:1], -expected[0, :1])


def fill(model: Recognizer, value: float) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


def test_it_goes_on_from_what_was_saved() -> None:
    model = network()
    whole, cut = WeightAverage(model, 0.5), WeightAverage(model, 0.5)
    for average in (whole, cut):
        for value in (1.0, 2.0):
            fill(model, value)
            average.update(model)
    again = WeightAverage(network(), 0.5)
    again.load_state_dict({name: value.clone() for name, value in cut.state_dict().items()})
    fill(model, 4.0)
    for average in (whole, again):
        average.update(model)
    assert set(whole.recognizer.classifier.weight.flatten().tolist()) == {2.75}  # (1 + 2) / 2, and 4
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_it_is_a_network_of_its_own() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    average.update(model)
    before = average.recognizer.classifier.weight.clone()
    fill(model, 7.0)
    assert torch.equal(average.recognizer.classifier.weight, before)
    assert average.recognizer.spec == model.spec
    assert average.recognizer.config == model.config


def test_it_has_the_bits_and_the_names_of_torch_s_average_in_few_operators() -> None:
    model = network()
    ours = WeightAverage(model, 0.9)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(1)
    for i in range(4):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else 7 * i)
        with CountedOperators() as counted:
            ours.update(model)
        torchs.update_parameters(model)
    found, expected = ours.state_dict(), torchs.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert counted.total < 12, counted.calls
