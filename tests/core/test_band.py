"""The `band:` key: every line of the schema, and every way to get it wrong."""

import pytest

from observe.detect.band import Band, Budget, Quorum


def test_the_design_example_is_valid_and_means_what_it_says():
    raw = {
        "detector": "auto", "window": 30, "k": "high", "direction": "above", "min_abs": 0.05, "min_rel": "20%",
        "trigger": "3 of 5", "recover": "5 of 5", "hold": True, "relearn_after": "2h", "timezone": "Europe/Berlin",
        "no_data": "hold", "by": ["service"],
    }

    band, problems = Band.parse(raw)

    assert [] == problems
    expected = Band(
        detector="auto", window=30, sensitivity="high", direction="above", min_abs=0.05, min_rel=0.2,
        trigger=Quorum(3, 5), recover=Quorum(5, 5), hold=True, relearn_after_ms=7_200_000, timezone="Europe/Berlin",
        no_data="hold", by=("service",),
    )
    assert expected == band


def test_a_window_may_be_a_duration_and_a_budget_replaces_k():
    band, problems = Band.parse({"window": "1h", "budget": "1/week"})

    assert [] == problems
    assert (0, 3_600_000, Budget(1.0, 604_800_000)) == (band.window, band.window_ms, band.budget)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"treshold": 3}, "unknown key `treshold`"),
        ({"window": 1}, "between 2 and 100000"),
        ({"window": "fast"}, "not a duration"),
        ({"k": -1}, "a finite number"),
        ({"k": 3}, "is a sensitivity"),
        ({"detector": "rolling", "k": "high"}, "needs `detector: auto`"),
        ({"k": "high", "budget": "1/week"}, "both given"),
        ({"budget": "often"}, "1/week"),
        ({"direction": "up"}, "above, below, both"),
        ({"trigger": "6 of 5"}, "at least 1"),
        ({"trigger": "3/5"}, "3 of 5"),
        ({"hold": "yes"}, "true or false"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"by": "service"}, "a list of label names"),
        ({"min_rel": "-5%"}, "at least 0"),
        ({"timezone": "Europe"}, "write it as Europe/Berlin"),
        ({"timezone": ""}, "write it as Europe/Berlin"),
        ({"by": ["service", "a b"]}, "`a b` is no name of a label"),
        ({"window": "0s"}, "more than no time"),
        ("auto", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_said(raw, words):
    _, problems = Band.parse(raw)

    assert words in "\n".join(str(problem) for problem in problems)


def test_all_that_is_wrong_is_said_at_once():
    """What keys say of each other is told beside what single keys say."""
    _, problems = Band.parse({"windw": 30, "detector": "rolling", "k": "low", "trigger": "3 of 65"})

    told = [problem.what for problem in problems]
    assert ["unknown key `windw` under `band:`", "`k: low` needs `detector: auto`",
            "`trigger` and `recover` look back 64 points at most"] == told
