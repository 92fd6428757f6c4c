"""Relabelling: each action, and what is wrong with a step."""

import hashlib

import pytest

from observe.collect.relabel import Relabel, read_relabel, relabelled

LABELS = {"a": "foo", "b": "bar", "c": "baz"}


def hashmod(text, modulus):
    return str(int.from_bytes(hashlib.md5(text.encode()).digest()[8:], "big") % modulus)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"source_labels": ["a"], "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"},
         {**LABELS, "d": "choo-choo"}),
        ({"source_labels": ["a", "b"], "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"},
         {**LABELS, "a": "boobam"}),
        ({"source_labels": ["a"], "regex": "f", "target_label": "d"}, LABELS),
        ({"source_labels": ["a"], "regex": "(?P<rest>f.*)", "target_label": "d", "replacement": "$rest$$$1x"},
         {**LABELS, "d": "foo$"}),
        ({"source_labels": ["a"], "target_label": "${1}_x", "replacement": "v"}, {**LABELS, "foo_x": "v"}),
        ({"source_labels": ["a"], "target_label": "disk.$1 x", "replacement": "v"}, {**LABELS, "disk.foo x": "v"}),
        ({"source_labels": ["a"], "target_label": "$9", "replacement": "v"}, LABELS),
        ({"source_labels": ["nope"], "target_label": "a"}, {"b": "bar", "c": "baz"}),
        ({"target_label": "d", "replacement": "static"}, {**LABELS, "d": "static"}),
        ({"source_labels": ["a"], "regex": ".*o", "action": "drop"}, None),
        ({"source_labels": ["a"], "regex": "o", "action": "drop"}, LABELS),
        ({"source_labels": ["a"], "regex": "foo", "action": "keep"}, LABELS),
        ({"source_labels": ["a"], "regex": "f", "action": "keep"}, None),
        ({"source_labels": ["a"], "target_label": "b", "action": "keepequal"}, None),
        ({"source_labels": ["a"], "target_label": "a", "action": "dropequal"}, None),
        ({"regex": "[ab]", "action": "labeldrop"}, {"c": "baz"}),
        ({"regex": "[ab]", "action": "labelkeep"}, {"a": "foo", "b": "bar"}),
        ({"regex": "([ab])", "replacement": "x_$1", "action": "labelmap"}, {**LABELS, "x_a": "foo", "x_b": "bar"}),
        ({"source_labels": ["a"], "target_label": "A", "action": "uppercase"}, {**LABELS, "A": "FOO"}),
        ({"source_labels": ["a"], "target_label": "shard", "modulus": 1000, "action": "hashmod"},
         {**LABELS, "shard": hashmod("foo", 1000)}),
        ({"source_labels": ["a", "b"], "separator": "/", "target_label": "d"}, {**LABELS, "d": "foo/bar"}),
        ({"source_labels": ["a"], "action": "REPLACE", "target_label": "d"}, {**LABELS, "d": "foo"}),
    ],
)
def test_an_action_does(step, expected):
    made, problems = read_relabel(step)

    assert [] == problems
    assert expected == made(dict(LABELS))


@pytest.mark.parametrize(
    ("step", "key", "words"),
    [
        ("drop", "", "must be a mapping"),
        ({"acton": "drop"}, "acton", "unknown key `acton`"),
        ({"action": "remove"}, "action", "unknown action `remove`"),
        ({"source_labels": "a", "action": "keep"}, "source_labels", "a list of label names"),
        ({"source_labels": ["a"]}, "action", "`replace` needs a `target_label`"),
        ({"target_label": "d", "action": "hashmod"}, "action", "`modulus` must be a positive"),
        ({"target_label": "d", "regex": "("}, "regex", "not an RE2 regular expression"),
        ({"target_label": "d", "regex": "(?=x)"}, "regex", "not an RE2 regular expression"),
    ],
)
def test_what_is_wrong_with_a_step_is_said(step, key, words):
    made, problems = read_relabel(step)

    assert None is made
    assert any(key == at and words in said for at, said in problems), problems


def test_steps_run_in_order_and_a_drop_ends_them():
    steps = [Relabel(target_label="d", replacement="x"), Relabel(source_labels=("d",), target_label="e"),
             Relabel("drop", ("e",), regex="x"), Relabel(target_label="never", replacement="y")]

    assert {**LABELS, "d": "x", "e": "x"} == relabelled(dict(LABELS), steps[:2])
    assert None is relabelled(dict(LABELS), steps)
