"""The state machine, as stories: what each evaluation saw, and what came of it."""

import pytest

from observe.alert.states import Evidence, Instance, Observation, Seen, State, Timing, advance, remove
from observe.model import AlertState, Labels, Reason

SERIES = Labels({"service": "gateway"})
MET, CLEAR, UNKNOWN, DOWN, GONE = (
    Observation(seen) for seen in (Seen.MET, Seen.CLEAR, Seen.UNKNOWN, Seen.DOWN, Seen.GONE)
)
LEARNED = Observation(Seen.CLEAR, relearned=True)
PLAIN = Timing()
FOR = Timing(for_ms=60_000)
KEEP = Timing(keep_firing_for_ms=60_000)
BAND = Timing(clear_reason=Reason.RECOVERED)

# name, rule, (seconds, what is seen) ..., (seconds, before -> after, reason) ...
STORIES = [
    ("it fires at once without `for`", PLAIN, [(0, MET)], [(0, "inactive", "firing", Reason.CONDITION_MET)]),
    ("it is pending first, then fires", FOR, [(0, MET), (30, MET), (60, MET)],
     [(0, "inactive", "pending", Reason.CONDITION_MET), (60, "pending", "firing", Reason.HELD_FOR)]),
    ("pending that clears ends without firing, and starts anew", FOR, [(0, MET), (30, CLEAR), (60, MET), (90, MET)],
     [(0, "inactive", "pending", Reason.CONDITION_MET), (30, "pending", "inactive", Reason.CONDITION_CLEARED),
      (60, "inactive", "pending", Reason.CONDITION_MET)]),
    ("it resolves when the condition clears", PLAIN, [(0, MET), (15, CLEAR)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.CONDITION_CLEARED)]),
    ("a band recovers", BAND, [(0, MET), (15, CLEAR)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.RECOVERED)]),
    ("keep_firing_for bridges a gap", KEEP, [(0, MET), (15, CLEAR), (60, CLEAR), (74, MET), (80, CLEAR)],
     [(0, "inactive", "firing", Reason.CONDITION_MET)]),
    ("keep_firing_for ends", KEEP, [(0, MET), (15, CLEAR), (74, CLEAR), (75, CLEAR)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (75, "firing", "resolved", Reason.CONDITION_CLEARED)]),
    ("not ready neither fires nor resolves", PLAIN, [(0, UNKNOWN), (15, MET), (30, UNKNOWN), (45, UNKNOWN)],
     [(15, "inactive", "firing", Reason.CONDITION_MET)]),
    ("not ready does not end pending", FOR, [(0, MET), (30, UNKNOWN), (60, MET)],
     [(0, "inactive", "pending", Reason.CONDITION_MET), (60, "pending", "firing", Reason.HELD_FOR)]),
    ("no_data: hold keeps firing while the target is down", BAND, [(0, MET), (15, DOWN), (3600, DOWN)],
     [(0, "inactive", "firing", Reason.CONDITION_MET)]),
    ("no_data: hold begins nothing", BAND, [(0, DOWN), (3600, DOWN)], []),
    ("no_data: resolve ends it", Timing(no_data="resolve"), [(0, MET), (15, DOWN)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.NO_DATA)]),
    ("no_data: alert begins one, and it ends when data is back", Timing(no_data="alert", clear_reason=Reason.RECOVERED),
     [(0, DOWN), (15, DOWN), (30, CLEAR)],
     [(0, "inactive", "firing", Reason.NO_DATA), (30, "firing", "resolved", Reason.RECOVERED)]),
    ("no_data: alert waits for `for`", Timing(for_ms=60_000, no_data="alert"), [(0, DOWN), (60, DOWN)],
     [(0, "inactive", "pending", Reason.NO_DATA), (60, "pending", "firing", Reason.NO_DATA)]),
    ("a series that is gone resolves and says so", BAND, [(0, MET), (15, GONE)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.SERIES_GONE)]),
    ("a series that is gone waits for keep_firing_for", KEEP, [(0, MET), (15, GONE), (75, GONE)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (75, "firing", "resolved", Reason.SERIES_GONE)]),
    ("a new level is no recovery", BAND, [(0, MET), (15, LEARNED)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.NEW_LEVEL)]),
    ("the new level is remembered through keep_firing_for", KEEP, [(0, MET), (15, LEARNED), (30, CLEAR), (75, CLEAR)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (75, "firing", "resolved", Reason.NEW_LEVEL)]),
    ("it fires again after it resolved", PLAIN, [(0, MET), (15, CLEAR), (30, MET)],
     [(0, "inactive", "firing", Reason.CONDITION_MET), (15, "firing", "resolved", Reason.CONDITION_CLEARED),
      (30, "inactive", "firing", Reason.CONDITION_MET)]),
]


@pytest.mark.parametrize(("rule", "seen", "expected"), [story[1:] for story in STORIES], ids=[s[0] for s in STORIES])
def test_story(rule, seen, expected):
    state: State = {}
    told = []
    for second, observation in seen:
        state, changes = advance(state, {SERIES: observation}, rule, second * 1000)
        told += [(change.at_ms // 1000, str(change.before), str(change.after), change.reason) for change in changes]
    assert told == expected


def test_a_series_that_is_not_in_the_result_is_clear():
    state, _ = advance({}, {SERIES: MET}, PLAIN, 0)
    state, changes = advance(state, {}, PLAIN, 1000)
    assert (dict(state), [change.after for change in changes]) == ({}, [AlertState.RESOLVED])


def test_a_removed_rule_resolves_what_fires_and_drops_what_is_pending():
    other = Labels({"service": "other"})
    firing, _ = advance({}, {SERIES: MET}, PLAIN, 0)
    state = {**firing, other: Instance(other, AlertState.PENDING, 0)}
    changes = remove(state, Reason.RULE_REMOVED, 5000)
    assert [(change.instance.series, change.after, change.reason) for change in changes] == [
        (SERIES, AlertState.RESOLVED, Reason.RULE_REMOVED)]


def test_evidence_follows_the_latest_value_and_survives_the_end():
    first, last = Observation(Seen.MET, Evidence(2.0)), Observation(Seen.MET, Evidence(3.0))
    state, _ = advance({}, {SERIES: first}, PLAIN, 0)
    state, _ = advance(state, {SERIES: last}, PLAIN, 1000)
    _, changes = advance(state, {SERIES: GONE}, PLAIN, 2000)
    assert changes[0].instance.evidence == Evidence(3.0)


def test_what_was_wrong_last_is_remembered_while_the_band_takes_it_back_while_it_is_kept_on_and_at_its_end():
    def at(seen, value):
        return {SERIES: Observation(seen, Evidence(value, 10.0, 5.0, 15.0))}

    state, _ = advance({}, at(Seen.MET, 40.0), KEEP, 0)
    wrong = []
    # 11 is inside, but the band has not let go of it yet; then it is kept on.
    for second, seen, value in [(1, Seen.MET, 50.0), (2, Seen.MET, 11.0), (3, Seen.CLEAR, 12.0)]:
        state, _ = advance(state, at(seen, value), KEEP, second * 1000)
        wrong.append((state[SERIES].evidence.value, state[SERIES].wrong.value, state[SERIES].clear_since_ms))
    assert wrong == [(50.0, 50.0, None), (11.0, 50.0, None), (12.0, 50.0, 3000)]
    _, changes = advance(state, at(Seen.CLEAR, 13.0), KEEP, 63_000)
    assert (13.0, 50.0) == (changes[0].instance.evidence.value, changes[0].instance.wrong.value)


def test_transition_says_cause_and_duration():
    state, _ = advance({}, {SERIES: MET}, FOR, 0)
    _, changes = advance(state, {SERIES: MET}, FOR, 120_000)
    assert str(changes[0]) == "PENDING -> FIRING: condition held for `for`, active for 120 s"
