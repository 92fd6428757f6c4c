"""What is remembered of a tuple of labels: by identity, bounded, never of another tuple."""

from observe.model import Labels
from observe.promql.recent import Recent


def names(count, prefix="x"):
    return tuple(Labels({"__name__": f"{prefix}{number}"}) for number in range(count))


def counting():
    asked = []

    def make(labels):
        asked.append(labels)
        return len(asked)

    return asked, make


def test_the_same_tuple_is_computed_once_for_each_key():
    recent, labels = Recent(1000), names(20)
    asked, make = counting()

    found = [recent("a", labels, make), recent("a", labels, make), recent("b", labels, make)]

    assert [1, 1, 2] == found
    assert 2 == len(asked)


def test_an_equal_tuple_is_another():
    recent = Recent(1000)
    _, make = counting()

    assert [1, 2] == [recent("a", names(20), make) for _ in range(2)]


def test_the_oldest_go_when_there_are_too_many_labels():
    recent, tuples = Recent(50), [names(20, prefix) for prefix in "abc"]
    asked, make = counting()

    for labels in tuples:
        recent("", labels, make)
    recent("", tuples[2], make)
    recent("", tuples[0], make)

    assert [*tuples, tuples[0]] == asked


def test_a_tuple_beyond_the_limit_is_not_kept():
    recent, labels = Recent(50), names(51)
    _, make = counting()

    assert [1, 2] == [recent("", labels, make) for _ in range(2)]
