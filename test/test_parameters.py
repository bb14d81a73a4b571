"""Parameters: declared with descriptions, checked with a message that helps."""

import dataclasses
import importlib

import pytest
import yaml
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.paths import config_dir
from gsc_ros.ros.parameters import ParameterError, check, parameter

NODES = {
    'camera': 'Camera', 'encoder': 'Encoder', 'link': 'LinkNode', 'link_robot': 'LinkRobot',
    'link_ground': 'LinkGround', 'guard': 'Guard', 'decoder': 'Decoder', 'clock': 'ClockNode',
    'console': 'Console',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Schema:
    """One of each."""

    count: int = parameter(3, 'How many', 1, 10)
    share: float = parameter(0.5, 'How much', 0.0, 1.0)
    kind: str = parameter('a', 'Which', choices=('a', 'b'))
    on: bool = parameter(True, 'Whether')


FIELDS = {field.name: field for field in dataclasses.fields(Schema)}


@pytest.mark.parametrize(
    ('name', 'value', 'result'),
    [('count', 10, 10), ('share', 1, 1.0), ('kind', 'b', 'b'), ('on', False, False)],
)
def test_good_values_are_taken_in_their_type(name, value, result):
    found = check(FIELDS[name], value)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('count', 11, '1 to 10'),
        ('count', 2.5, '1 to 10'),
        ('count', True, '1 to 10'),
        ('share', float('nan'), '0 to 1'),
        ('share', 'half', '0 to 1'),
        ('kind', 'c', 'one of a, b'),
        ('on', 1, 'any bool'),
        ('count', None, '1 to 10'),
    ],
)
def test_bad_values_name_parameter_range_and_remedy(name, value, expected):
    with pytest.raises(ParameterError) as error:
        check(FIELDS[name], value)
    text = str(error.value)
    assert name in text
    assert expected in text
    assert f'-p {name}:=' in text


@pytest.fixture
def make(ros):
    made = []

    def encoder(**values):
        overrides = [Parameter(k, value=v) for k, v in {'autostart': False, **values}.items()]
        node = Encoder(context=ros, parameter_overrides=overrides)
        made.append(node)
        return node

    yield encoder
    for node in made:
        node.close()
        node.destroy_node()


@pytest.mark.parametrize(
    'values', [{'budget_bytes': 5}, {'max_rate': 'fast'}, {'weights': '/nowhere'}, {'preset': 'x'}]
)
def test_a_bad_parameter_stops_configure(make, values):
    assert make(**values).trigger_configure() == TransitionCallbackReturn.FAILURE


@pytest.mark.parametrize('kind', [Encoder, Decoder])
def test_a_device_that_is_not_there_stops_configure_and_those_that_are_are_named(ros, kind, capfd):
    values = {'autostart': False, 'weights': 'random', 'device': 'cuda:99'}
    overrides = [Parameter(key, value=value) for key, value in values.items()]
    node = kind(context=ros, parameter_overrides=overrides)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        text = capfd.readouterr().err
        assert "'cuda:99'" in text and 'this machine has cpu' in text
    finally:
        node.close()
        node.destroy_node()


def test_parameters_change_at_run_time_within_their_range(make):
    node = make(weights='random')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS

    def change(name, value):
        return node.set_parameters([Parameter(name, value=value)])[0]

    assert change('budget_bytes', 100).successful
    assert node.values.budget_bytes == 100
    assert '40 to 2000' in change('budget_bytes', 39).reason
    reason = change('weights', 'other').reason
    assert '-p weights:=' in reason and 'cleanup' in reason
    assert node.values.budget_bytes == 100
    assert node.get_parameter('budget_bytes').value == 100


def test_a_parameter_that_can_not_be_changed_can_after_cleanup(make):
    node = make(weights='random')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    assert node.set_parameters([Parameter('threads', value=2)])[0].successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.values.threads == 2


def test_a_misspelt_parameter_is_named_with_its_like(make, capfd):
    make(budget_byte=100, xyz=1)
    printed = capfd.readouterr().err
    assert 'parameter budget_byte is unknown and not used: did you mean budget_bytes?' in printed
    assert 'parameter xyz is unknown and not used: there are: ' in printed
    assert 'use_sim_time' not in printed


def test_the_params_file_and_the_schemas_are_the_same():
    """Every parameter of every node stands in the file with its default, and nothing else does."""
    file = yaml.safe_load((config_dir() / 'teleop_link.yaml').read_text())
    assert set(file) == {f'/**/{name}' for name in NODES}
    for name, kind in NODES.items():
        node = getattr(importlib.import_module(f'gsc_ros.nodes.{name}'), kind)
        fields = dataclasses.fields(node.Parameters)
        schema = {f.name: f.default for f in fields if not f.metadata['deprecated']}
        assert file[f'/**/{name}']['ros__parameters'] == schema


def test_descriptors_carry_description_and_range(make):
    node = make()
    descriptor = node.describe_parameter('budget_bytes')
    assert 'Bytes' in descriptor.description
    assert descriptor.additional_constraints == '40 to 2000'
