"""Rules over real expressions and real bands: what fires when, and what is written back."""

from pathlib import Path

import pytest

from observe.errors import StorageError
from observe.model import AlertState, Labels, Reason
from tests.alert.world import START_MS, World, rules

PLAIN = """\
groups:
- name: g
  rules:
  - alert: Down
    expr: up == 0
    for: 30s
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.instance }} is down"}
"""

BAND = """\
groups:
- name: g
  rules:
  - alert: Odd
    expr: sum by (service) (load)
    band: {detector: rolling, window: 10, k: 3, direction: above, min_rel: 20%, trigger: 3 of 5, recover: 3 of 3}
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.service }} at {{ $value }}"}
"""
QUIET = "10 11 9 10 12 8 10 11 9 10 11 10 9 10 11"


def test_a_plain_rule_is_pending_then_fires_then_resolves():
    world = World(PLAIN)
    world.load('up{instance="a",job="j"}', "1 0 0 0 0 1 1")
    seen = []
    for _ in range(7):
        world.run(1)
        seen.append(world.states())
    assert seen == [{}, {"Down": "pending"}, {"Down": "pending"}, {"Down": "firing"}, {"Down": "firing"}, {}, {}]
    assert world.sink.told() == [
        ("Down", "firing", Reason.HELD_FOR), ("Down", "resolved", Reason.CONDITION_CLEARED)]


def test_an_alert_carries_labels_texts_value_and_a_link():
    world = World(PLAIN)
    world.load('up{instance="a",job="j"}', "0x5")
    world.run(4)
    alert = world.sink.alerts[-1]
    assert alert.labels == Labels({"alertname": "Down", "instance": "a", "job": "j", "severity": "critical"})
    assert (alert.annotations, alert.value) == ({"summary": "a is down"}, 0.0)
    assert (alert.starts_at_ms, alert.rule) == (START_MS + 30_000, "g/Down")
    assert alert.generator_url == f"/alerts/{alert.fingerprint}"


def test_alerts_are_written_as_series_and_end_stale():
    world = World(PLAIN)
    world.load('up{instance="a",job="j"}', "0 0 0 1 1")
    world.run(1)
    assert [(labels["alertstate"], value) for labels, value in world.value("ALERTS").items()] == [("pending", 1.0)]
    assert list(world.value("ALERTS_FOR_STATE").values()) == [START_MS / 1000]
    world.run(2)
    assert [labels["alertstate"] for labels in world.value("ALERTS")] == ["firing"]
    world.run(1)
    assert world.value("ALERTS") == {}


def test_recordings_are_written_in_order_so_that_a_later_rule_sees_them():
    world = World("""\
groups:
- name: g
  rules:
  - {record: "job:x:sum", expr: sum by (job) (x), labels: {src: rule}}
  - {alert: Big, expr: "job:x:sum > 5"}
""")
    world.load('x{job="a",instance="1"}', "1 4")
    world.load('x{job="a",instance="2"}', "1 4")
    world.run(2)
    assert world.value("job:x:sum") == {Labels({"__name__": "job:x:sum", "job": "a", "src": "rule"}): 8.0}
    assert world.states() == {"Big": "firing"}


def test_a_band_rule_pages_a_step_and_recovers():
    world = World(BAND)
    world.load('load{service="s"}', QUIET + " 40 41 40 42 41 10 11 10 9 10")
    world.run(15)
    assert world.states() == {}
    world.run(3)
    assert world.states() == {"Odd": "firing"}
    alert = world.sink.alerts[-1]
    assert alert.upper < alert.value
    assert 8 < alert.baseline < 12
    assert alert.annotations == {"summary": "s at 40"}
    world.run(7)
    assert world.states() == {}
    assert world.sink.told()[-1] == ("Odd", "resolved", Reason.RECOVERED)
    over = world.sink.alerts[-1]
    assert over.lower < over.value < over.upper
    assert over.annotations == {"summary": "s at 41"}, "its text tells what was wrong, its numbers what is"


def test_an_alert_that_is_kept_on_says_since_when_and_still_tells_what_was_wrong():
    world = World("""\
groups:
- name: g
  rules:
  - {alert: Big, expr: "x > 5", keep_firing_for: 3m, annotations: {summary: "it is {{ $value }}"}}
""")
    world.load("x", "1 9 7 1 1 1 1 1 1")
    world.run(3)
    assert [None] == [alert.clear_since_ms for alert in world.evaluator.active()]
    world.run(2)
    kept = world.evaluator.active()[0]
    assert (AlertState.FIRING, START_MS + 45_000) == (kept.state, kept.clear_since_ms)
    assert {"summary": "it is 7"} == kept.annotations


def test_bands_are_series_and_on_hold_they_stay_where_they_were():
    world = World(BAND)
    world.load('load{service="s"}', QUIET + " 40 41 40 42 41")
    world.run(20)
    band = {labels["__name__"]: value for labels, value in world.value('{__name__=~"observe_band_.*"}').items()}
    assert sorted(band) == [f"observe_band_{part}" for part in
                            ("baseline", "firing", "lower", "ready", "score", "upper")]
    assert (band["observe_band_firing"], band["observe_band_ready"]) == (1.0, 1.0)
    assert band["observe_band_upper"] < 20
    assert world.value("observe_band_upper").keys() == {
        Labels({"__name__": "observe_band_upper", "rule": "g/Odd", "service": "s"})}


def test_a_rule_label_of_the_result_becomes_exported_rule():
    world = World(BAND.replace("sum by (service)", "sum by (rule)"))
    world.load('load{rule="mine"}', QUIET)
    world.run(15)
    assert list(world.value("observe_band_firing")) == [
        Labels({"__name__": "observe_band_firing", "rule": "g/Odd", "exported_rule": "mine"})]


def test_odd_series_are_listed_before_they_alert():
    world = World(BAND)
    world.load('load{service="s"}', QUIET + " 40 41")
    world.run(17)
    (odd,) = world.evaluator.odd()
    assert (odd.rule, odd.labels, odd.value, odd.since_ms) == (
        "g/Odd", Labels({"service": "s"}), 41.0, START_MS + 15 * 15_000)
    assert world.states() == {}


def test_a_repeated_old_sample_is_neither_judged_nor_counted():
    """Scraped every minute, judged every 15 s: one high sample is one point, not four."""
    world = World(BAND.replace("sum by (service) (load)", "load"))
    world.load('load{service="s"}', QUIET + " 40", step_ms=60_000)
    world.run(15 * 4 + 4)
    assert world.states() == {}
    assert len(world.source.select([], 0, 2**60)) > 1
    samples = world.query.range("count_over_time(observe_band_firing[2h])", START_MS, START_MS + 3_600_000, 3_600_000)
    assert samples.values[0, -1] == 16.0


def test_a_target_that_is_down_holds_its_alert_and_a_series_that_is_gone_ends_it():
    world = World(BAND)
    world.load('load{service="s",job="j",instance="i"}', QUIET + " 40 41 40 42 stale")
    world.load('up{job="j",instance="i"}', "1x18 0x39 1x60")
    world.run(19)
    assert world.states() == {"Odd": "firing"}
    world.run(40)
    assert world.states() == {"Odd": "firing"}, "down: on hold"
    world.run(3)
    assert world.states() == {"Odd": "firing"}, "up again, but a first sample may take a moment"
    world.run(8)
    assert world.states() == {}
    assert world.sink.told()[-1] == ("Odd", "resolved", Reason.SERIES_GONE)


def test_no_data_alert_pages_when_the_target_goes_down():
    world = World(BAND.replace("recover: 3 of 3", "recover: 3 of 3, no_data: alert"))
    world.load('load{service="s",job="j",instance="i"}', QUIET + " stale")
    world.load('up{job="j",instance="i"}', "1x14 0x20")
    world.run(18)
    assert world.sink.told() == [("Odd", "firing", Reason.NO_DATA)]


def test_a_failing_rule_stops_no_other_and_says_why():
    world = World("""\
groups:
- name: g
  rules:
  - {alert: Broken, expr: "a * on (job) b"}
  - {alert: Fine, expr: up == 0}
""")
    for side in ("1", "2"):
        world.load(f'a{{job="j",x="{side}"}}', "1")
        world.load(f'b{{job="j",x="{side}"}}', "1")
    world.load("up", "0")
    world.run(1)
    status = {rule.name: (rule.health, rule.last_error) for rule in world.evaluator.rules()}
    assert status["Fine"] == ("ok", "")
    assert status["Broken"][0] == "err"
    assert "many-to-many" in status["Broken"][1]
    assert world.states() == {"Fine": "firing"}


def test_alerts_over_the_limit_are_refused_but_the_first_ones_stay():
    world = World("groups:\n- name: g\n  limit: 2\n  rules:\n  - {alert: A, expr: x > 0}\n")
    for place in "bcd":
        world.load(f'x{{p="{place}"}}', "1 1")
    world.load('x{p="a"}', "_ 1")
    world.run(1)
    assert [alert.labels["p"] for alert in world.evaluator.active()] == ["b", "c"]
    world.run(1)
    assert [alert.labels["p"] for alert in world.evaluator.active()] == ["b", "c"]
    assert "the group's limit is 2: 2 are not raised" in world.evaluator.rules()[0].last_error


def test_results_that_differ_in_no_label_after_the_rules_own_are_an_error():
    world = World("groups:\n- name: g\n  rules:\n  - {alert: A, expr: x > 0, labels: {p: same}}\n")
    world.load('x{p="1"}', "1")
    world.load('x{p="2"}', "1")
    world.run(1)
    assert "have the same labels once the rule's are added" in world.evaluator.rules()[0].last_error


def test_missed_evaluations_are_counted():
    world = World(PLAIN)
    world.run(1)
    world.clock.advance_ms(60_000)
    world.run(1)
    assert 'observe_rule_group_iterations_missed_total{group="g"} 4.0' in world.telemetry.exposition().decode()


def test_groups_are_spread_over_their_interval_the_same_way_every_time():
    world = World(PLAIN)
    world.evaluator._settings = type(world.evaluator._settings)(spread=True)
    offsets = []
    for _ in range(2):
        world.evaluator.load([*rules(PLAIN), *rules(PLAIN.replace("name: g", "name: h"))])
        offsets.append([group.offset_ms for group in world.evaluator._groups])
    assert offsets[0] == offsets[1]
    assert offsets[0][0] != offsets[0][1]


def test_reload_keeps_the_state_of_rules_that_judge_alike_and_ends_removed_ones():
    both = PLAIN + "  - {alert: Other, expr: up == 0}\n"
    world = World(both)
    world.load('up{instance="a",job="j"}', "0x20")
    world.run(4)
    world.evaluator.load(rules(PLAIN.replace("is down", "is really down")), world.clock.now_ms())
    assert world.sink.told()[-1] == ("Other", "resolved", Reason.RULE_REMOVED)
    world.run(1)
    assert world.states() == {"Down": "firing"}
    assert world.sink.alerts[-1].annotations == {"summary": "a is really down"}
    assert world.sink.alerts[-1].starts_at_ms == START_MS + 30_000


def test_what_the_sink_refuses_is_told_with_the_next_evaluation():
    world = World(PLAIN)
    world.load('up{instance="a",job="j"}', "0 0 0 1 1 1")
    world.run(3)
    world.sink.refuse = StorageError("disk full")
    world.run(1)
    world.sink.refuse = None
    world.run(1)
    assert world.sink.told()[-1] == ("Down", "resolved", Reason.CONDITION_CLEARED)


class Open:
    """A ledger that has these alerts open."""

    def __init__(self, alerts):
        self.alerts = alerts

    def open_alerts(self):
        return self.alerts

    def history(self, since_ms, fingerprint=None, limit=200):
        return self.alerts


def restart(world: World, folder: Path | None, text: str, ledger: Open | None = None) -> World:
    again = World(text, folder, source=world.source)
    again.evaluator._ledger = ledger
    again.clock.advance_ms(world.clock.now_ms() - START_MS)
    return again


def test_a_restart_continues_pending_and_firing_from_snapshots(tmp_path):
    world = World(PLAIN, tmp_path)
    world.load('up{instance="a",job="j"}', "0x40")
    world.load('up{instance="b",job="j"}', "1 1 1 0x40")
    world.run(4)
    again = restart(world, tmp_path, PLAIN)
    assert again.states() == {}
    again.run(1)
    assert [(one.labels["instance"], str(one.state), one.starts_at_ms) for one in again.evaluator.active()] == [
        ("a", "firing", START_MS + 30_000), ("b", "pending", START_MS + 45_000)]


def test_a_restarted_band_equals_the_one_that_ran_on(tmp_path):
    """Snapshot, then the store replayed from there: bands and alerts are those of a twin that never stopped."""
    values = QUIET + " 40 41 40 42 41 40 10 11 10 9 10 11 9 10 11 12 9 10"
    ran_on, stopped = World(BAND), World(BAND, tmp_path, snapshot_every_ms=120_000)
    for world in (ran_on, stopped):
        world.load('load{service="s"}', values)
    stopped.run(17)
    ran_on.run(17)
    again = restart(stopped, tmp_path, BAND)
    again.clock.advance("1m")  # down for four evaluations; the store went on
    ran_on.run(8)
    again.run(4)
    expr = '{__name__=~"observe_band_(upper|lower|baseline|firing)"}'
    assert again.value(expr) == ran_on.value(expr)
    assert again.states() == ran_on.states()


@pytest.mark.parametrize("damage", [b"", b"observe-rule-state 1 00\n{}", b"observe-rule-state 99 x\n{}"])
def test_a_damaged_snapshot_is_set_aside_and_the_store_is_folded(tmp_path, damage):
    world = World(BAND, tmp_path)
    world.load('load{service="s"}', QUIET + " 40 41 40 42 41")
    world.run(18)
    for path in tmp_path.glob("*.state"):
        path.write_bytes(damage)
    again = restart(world, tmp_path, BAND)
    again.run(1)
    assert again.states() == {"Odd": "firing"}
    assert list(tmp_path.glob("*.bad"))


def test_no_alert_is_stuck_after_a_restart(tmp_path):
    """What the ledger has open goes on in its rule with its old start, or ends because the rule is gone."""
    world = World(PLAIN + "  - {alert: Other, expr: up == 0}\n")
    world.load('up{instance="a",job="j"}', "0x3 1x40")
    world.run(4)
    open_alerts = [alert for alert in world.evaluator.active() if alert.state is AlertState.FIRING]
    assert len(open_alerts) == 2
    again = restart(world, None, PLAIN, Open(open_alerts))
    again.run(1)
    assert again.states() == {"Down": "firing"}
    again.run(4)
    assert again.sink.told() == [
        ("Other", "resolved", Reason.RULE_REMOVED), ("Down", "resolved", Reason.CONDITION_CLEARED)]
    assert again.sink.alerts[-1].starts_at_ms == START_MS + 30_000


def test_what_fired_before_a_restart_is_told_again_only_once_it_is_seen_to_fire(tmp_path):
    """A twin may know that it is over: until then it is neither told as firing nor ended."""
    world = World(PLAIN, tmp_path)
    world.load('up{instance="a",job="j"}', "0x3 1 1 0x9")
    world.load('up{instance="b",job="j"}', "0x40")
    world.run(4)
    again = restart(world, tmp_path, PLAIN)
    told = []
    for _ in range(3):
        again.sink.alerts.clear()
        again.run(1)
        told.append(sorted(one.labels["instance"] for one in again.sink.alerts))
        assert set(again.states().values()) == {"firing"}

    assert told[0] == ["b"]
    assert told[-1] == ["a", "b"]


def test_a_rule_that_begins_to_fail_is_named_in_the_log_once_until_it_works_again(caplog):
    world = World("groups: [{name: g, interval: 15s, rules: [{record: r, expr: a * on () a}]}]")
    world.load('a{x="1"}', "1 1 1 1 1 1")
    world.load('a{x="2"}', "_ 1 1 stale 1 1")

    world.run(6)

    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert 2 == len(told)
    assert all(line.startswith("rule g/r (test.yml:1) cannot be evaluated: found duplicate series") for line in told)


def test_recordings_of_one_name_leave_each_others_series_alone():
    world = World("""\
groups:
- name: g
  interval: 15s
  rules:
  - {record: "code:asked", expr: 'sum by (code) (asked{code="200"})'}
  - {record: "code:asked", expr: 'sum by (code) (asked{code="500"})'}
""")
    for code in ("200", "500"):
        world.load(f'asked{{code="{code}"}}', "1 2 3")
    for _ in range(3):
        world.run(1)
        assert {"200", "500"} == {labels["code"] for labels in world.value("code:asked")}
