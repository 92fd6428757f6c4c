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
    assert any(word.startswith("Expected is 1") for word in by_name[0].words)
    assert 2 == len(world.evaluator.explain("Odd", {}))
    assert 1 == len(world.evaluator.explain("Odd", {}, limit=1))


def test_a_rule_without_a_band_or_unknown_explains_nothing():
    world = World(RULES)
    world.load('latency{service="web"}', "1x20")
    world.run(3)

    assert [] == world.evaluator.explain("Plain", {})
    assert [] == world.evaluator.explain("Nobody", {})
    assert [] == world.evaluator.explain("Odd", {"service": "nobody"})
