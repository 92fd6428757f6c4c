"""Why a band is where it is, asked of the rules while they run."""

from tests.alert.world import World

RULES = """
groups:
- name: demo
  rules:
  - alert: Odd
    expr: latency
    band: {detector: rolling, window: 5}
  - alert: Plain
    expr: latency > 5
"""


def test_the_bands_of_a_rule_are_explained_by_name_id_and_labels():
    world = World(RULES)
    world.load('latency{service="web"}', "1 2 1 2 1 2 1x20")
    world.load('latency{service="mail"}', "5 6 5 6 5 6 5x20")

    world.run(10)

    by_name, by_id = (world.evaluator.explain(rule, {"service": "web"}) for rule in ("Odd", "demo/Odd"))
    assert ["web"] == [one.labels["service"] for one in by_name]
    assert by_name == by_id
    assert "the value was 1, inside its band: 1" in by_name[0].words[0]
    assert 2 == len(world.evaluator.explain("Odd", {}))
    assert 1 == len(world.evaluator.explain("Odd", {}, limit=1))


def test_a_rule_without_a_band_or_unknown_explains_nothing():
    world = World(RULES)
    world.load('latency{service="web"}', "1x20")
    world.run(3)

    assert [] == world.evaluator.explain("Plain", {})
    assert [] == world.evaluator.explain("Nobody", {})
    assert [] == world.evaluator.explain("Odd", {"service": "nobody"})


def test_an_alert_is_explained_by_one_call_also_where_the_rule_overwrites_a_label():
    world = World(RULES.replace("window: 5}", "window: 5}\n    labels: {service: 'overwritten'}"))
    world.load('latency{service="web"}', "1 2 1 2 1 2 1x3 90x20")
    world.load("latency{kind='plain'}".replace("'", '"'), "1x40")

    world.run(14)
    odd = next(alert for alert in world.evaluator.active() if alert.name == "Odd")
    plain = next(alert for alert in world.evaluator.active() if alert.name == "Plain")
    told = world.evaluator.explain_alert(odd)
    in_ms = world.evaluator.explain_alert(odd, lambda value: f"{value:.0f} ms")

    assert told[0].startswith("Firing for 15s.")
    assert "the value was 90, outside its band" in told[0]
    assert "the value was 90 ms, outside its band" in in_ms[0]
    assert () == world.evaluator.explain_alert(plain)


def test_an_alert_that_has_ended_is_explained_by_its_labels():
    world = World(RULES)
    world.load('latency{service="web"}', "1 2 1 2 1 2 1x3 90x9 1x30")
    world.run(30)
    ended = next(alert for alert in world.sink.alerts if alert.name == "Odd" and alert.ends_at_ms)

    assert world.evaluator.explain_alert(ended)[0].startswith("Not firing.")
