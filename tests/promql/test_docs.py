"""docs/promql.md says what is there: the tables are fresh, the settings named, the example runs."""

import dataclasses
import re
from pathlib import Path

import promql_parser
import pytest

from observe.errors import QueryError
from observe.promql.aggregate import DOCS
from observe.promql.engine import Engine
from observe.promql.evaluate import QueryLimits
from observe.promql.functions import FUNCTIONS
from observe.promql.lexer import AGGREGATIONS
from observe.promql.reference import rewritten
from observe.testing import MemorySource

PAGE = Path("docs/promql.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_code():
    """If not: python -m observe.promql.reference."""
    assert rewritten(PAGE) == PAGE


def test_every_limit_is_in_the_page():
    rows = set(re.findall(r"^\| `(\w+)` \| [`\dm]+ \|", PAGE, re.MULTILINE))

    assert rows == {re.sub("_(ms|s)$", "", field.name) for field in dataclasses.fields(QueryLimits)}


def test_the_example_runs():
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(example, "docs/promql.md", "exec"), {})


def test_every_aggregation_is_documented():
    assert set(DOCS) == AGGREGATIONS - {"limit_ratio"}


SAMPLES = {"vector": "x", "matrix": "x[5m]", "scalar": "0.5", "string": '"a"'}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_in_the_grammar_with_these_types(name):
    function = FUNCTIONS[name]

    call = promql_parser.parse(f"{name}({', '.join(SAMPLES[kind] for kind in function.args)})")

    assert str(call.func.return_type).rsplit(".", 1)[-1].lower() == function.returns
    assert [str(kind).rsplit(".", 1)[-1].lower() for kind in call.func.arg_types][: len(function.args)] == list(
        function.args)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_answers_with_data_and_without(name):
    function = FUNCTIONS[name]
    source = MemorySource()
    source.load('x{le="1", a="b"}', "0+1x20", step_ms=15_000)
    source.load('x{le="+Inf", a="b"}', "0+2x20", step_ms=15_000)
    expr = f"{name}({', '.join(SAMPLES[kind] for kind in function.args)})"

    for engine in (Engine(source), Engine(MemorySource())):
        engine.query(expr, 300_000)
        engine.range(expr, 0, 300_000, 30_000)


@pytest.mark.parametrize("expr", ["limit_ratio(0.5, x)", "info(x)", 'histogram_quantiles(x, "q", 0.5)'])
def test_what_is_not_there_says_so(expr):
    with pytest.raises(QueryError, match="not supported"):
        Engine(MemorySource()).check(expr)
