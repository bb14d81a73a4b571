"""docs/nodes.md is up to date, and its topics are those of the nodes."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

sys.path.insert(0, str(Path(__file__).parents[1]))

from gsc_ros.ros.graph_check import type_name
from tools import node_docs
from tools.node_topics import NODES

# Of every node, by rclpy.
FOREIGN = '/rosout', '/parameter_events', 'transition_event'
ENDS = {'security': False, 'profile': 'ideal', 'local': ':0'}
SETTINGS = {
    'camera': {'source': 'images'},
    'encoder': {'weights': 'random', 'rectify': True, 'use_depth': True},
    'link': {'security': False, 'profile': 'ideal', 'joints': 'arm'},
    'link_robot': ENDS,
    'link_ground': ENDS,
    'decoder': {'weights': 'random'},
    'console': {'port': 0},
}


def test_the_document_is_up_to_date():
    """If this fails: python -m tools.node_docs."""
    assert node_docs.FILE.read_text() == node_docs.document()
    assert node_docs.main(['--check']) == 0


def test_a_document_that_is_not_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(node_docs, 'FILE', tmp_path / 'nodes.md')
    assert node_docs.main([]) == 0
    assert node_docs.main(['--check']) == 0
    node_docs.FILE.write_text(node_docs.document().replace('5.0', '6.0', 1))
    assert node_docs.main(['--check']) == 1
    assert 'python -m tools.node_docs' in capsys.readouterr().err


def described(listed):
    return {(t.name, t.kind, *quality(t.qos)): t for t in listed}


def quality(qos):
    return qos.reliability, qos.durability, qos.depth


def found(node, entities):
    prefix = f'{node.get_namespace().rstrip("/")}/'
    return {
        (one.topic_name.removeprefix(prefix), type_name(one.msg_type), *quality(one.qos_profile))
        for one in entities
        if not one.topic_name.endswith(FOREIGN)
    }


@pytest.mark.parametrize('name', NODES)
def test_a_node_has_the_topics_of_the_table(ros, name, tmp_path):
    cv2.imwrite(str(tmp_path / '0.png'), np.zeros((64, 64, 3), np.uint8))
    interface = NODES[name]
    module, kind = interface.path.split(':')
    settings = {'autostart': False} if interface.lifecycle else {}
    settings |= SETTINGS.get(name, {})
    if name == 'camera':
        settings['path'] = str(tmp_path)
    node = getattr(importlib.import_module(module), kind)(
        context=ros,
        namespace=f'/docs_{name}',
        parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()],
    )
    try:
        if interface.lifecycle:
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        for listed, entities in (
            (interface.subscribes, node.subscriptions),
            (interface.publishes, node.publishers),
        ):
            table, real = described(listed), found(node, entities)
            assert real <= table.keys()
            assert {key for key, topic in table.items() if not topic.when} <= real
    finally:
        if interface.lifecycle:
            node.close()
        node.destroy_node()
