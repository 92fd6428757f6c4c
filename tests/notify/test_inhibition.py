"""Inhibition by an index: the same answers as comparing each alert with each, while alerts come and go."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from observe.model import Alert, AlertState, Labels, Matcher, Reason
from observe.notify.inhibition import Inhibitor
from observe.notify.matching import matches
from observe.notify.settings import Inhibition

NAMES, VALUES = ("severity", "service", "team"), ("a", "b", "")


def alert(labels, starts_at_ms=0):
    return Alert(Labels({"alertname": "X", **labels}), {}, AlertState.FIRING, starts_at_ms, None, 0,
                 Reason.CONDITION_MET, "g/X")


def all_pairs(rules, firing, target):
    """As the documentation says it, without any index."""
    found = set()
    for rule in rules:
        for source in firing:
            both = matches(rule.source, target.labels) and matches(rule.target, source.labels)
            alike = all(source.labels.get(name, "") == target.labels.get(name, "") for name in rule.equal)
            if (matches(rule.source, source.labels) and matches(rule.target, target.labels) and alike and not both
                    and source.labels != target.labels):
                found.add(source.labels)
    return found


matchers = st.builds(Matcher, st.sampled_from(NAMES), st.sampled_from(["=", "!="]), st.sampled_from(VALUES))
rules = st.lists(st.builds(
    Inhibition, st.tuples(matchers), st.tuples(matchers), st.lists(st.sampled_from(NAMES), max_size=2).map(tuple)),
    max_size=4)
alerts = st.lists(st.builds(alert, st.fixed_dictionaries({name: st.sampled_from(VALUES) for name in NAMES})),
                  max_size=8, unique_by=lambda one: one.labels)


@given(rules, alerts, st.data())
def test_the_index_says_what_comparing_all_pairs_says(rules, alerts, data):
    inhibitor = Inhibitor(rules)
    for one in alerts:
        inhibitor.begin(one)
    over = data.draw(st.lists(st.sampled_from(alerts), unique_by=lambda one: one.labels)) if alerts else []
    for one in over:
        inhibitor.end(one)
    firing = [one for one in alerts if one not in over]

    for target in alerts:
        assert all_pairs(rules, firing, target) == {one.labels for one in inhibitor.holding(target)}


def test_of_two_alerts_with_the_same_labels_the_end_of_the_older_ends_nothing():
    inhibitor = Inhibitor([Inhibition((Matcher("severity", "=", "a"),), (Matcher("severity", "=", "b"),))])
    old = alert({"severity": "a"})
    inhibitor.begin(old)
    inhibitor.begin(new := replace(old, starts_at_ms=60_000))
    inhibitor.end(old)

    assert [new] == inhibitor.holding(alert({"severity": "b"}))
    inhibitor.end(new)
    assert [] == inhibitor.holding(alert({"severity": "b"}))


def test_other_rules_are_taken_over_with_what_fires():
    inhibitor = Inhibitor([])
    source, target = alert({"severity": "a"}), alert({"severity": "b"})
    inhibitor.begin(source)
    assert [] == inhibitor.holding(target)

    inhibitor.reconfigure([Inhibition((Matcher("severity", "=", "a"),), (Matcher("severity", "=", "b"),))], [source])

    assert [source] == inhibitor.holding(target)
