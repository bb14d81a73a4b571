"""Python files of the user's are loaded, and what is wrong with them is named."""

import pytest

from gsc_ros.plugins import load_plugin


def test_a_plugin_is_a_module_of_its_functions(tmp_path):
    (tmp_path / 'mine.py').write_text('def a():\n    return 7\n\n\ndef b():\n    return a()\n')
    assert load_plugin(tmp_path / 'mine.py', ('a', 'b'), every=True).b() == 7
    assert load_plugin(tmp_path / 'mine.py', ('a', 'c')).a() == 7


def test_a_plugin_may_define_dataclasses_with_postponed_annotations(tmp_path):
    (tmp_path / 'mine.py').write_text(
        'from __future__ import annotations\n\nfrom dataclasses import dataclass\n\n\n'
        '@dataclass\nclass A:\n    x: int\n\n\ndef a():\n    return A(7).x\n'
    )
    assert load_plugin(tmp_path / 'mine.py', ('a',)).a() == 7


def test_what_is_no_plugin_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        load_plugin(tmp_path / 'none.py', ('a',))
    for name, content, message in (
        ('text.txt', 'x', 'give a Python file'),
        ('few.py', 'a = 1', 'does not define b, c'),
        ('broken.py', 'raise ValueError("its own fault")', 'its own fault'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            load_plugin(tmp_path / name, ('a', 'b', 'c'), every=True)
    with pytest.raises(ValueError, match='defines none of b, c'):
        load_plugin(tmp_path / 'few.py', ('b', 'c'))
