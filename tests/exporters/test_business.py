"""The business exporter: its file and what is wrong with it; SQL on a real PostgreSQL; HTTP JSON; log counts."""

import json
import sqlite3
import threading
import time

import pytest

from observe.errors import ConfigError
from observe.exporters import business_config, create
from observe.exporters.business import LogCounts, write_json
from observe.exporters.business_config import why_not_read_only
from observe.exporters.page import Page
from tests.exporters.golden import cases, check_golden, no_time
from tests.exporters.test_host import _samples
from tests.real.answers import AnsweringServer, says
from tests.real.postgres import PostgresServer
from tests.real.process import open_folder, wait_until

pytestmark = pytest.mark.xdist_group("postgres")  # one server for all of them

ROWS = [("new", 0, 1000), ("new", 0, 250), ("done", 1, 9900), ("done", 1, 1), ("done", 0, 5)]


@pytest.mark.parametrize("case", cases("business"), ids=lambda case: case.name)
def test_golden(case, tmp_path, monkeypatch):
    """The case's file, its database and a server with its document; only the server's address is put in."""
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("shop.db") as database:
        database.execute("CREATE TABLE orders (status TEXT, paid INTEGER, cents INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", ROWS)
    database.close()
    (tmp_path / "app.log").write_bytes((case / "input" / "app.log").read_bytes())
    text = (case / "input" / "business.yml").read_text(encoding="utf-8")
    with AnsweringServer(says((case / "input" / "stock.json").read_bytes())) as server:
        (tmp_path / "business.yml").write_text(text.replace("http://127.0.0.1:1", server.url), encoding="utf-8")
        exporter = create("business", {"config": "business.yml"}, timer=no_time)
        exposition = exporter.exposition()
        exporter.close()

    check_golden(case, exposition)
    assert exporter.problems() == {}
    assert server.seen[0][1]["X-Team"] == "shop"


def test_everything_wrong_in_a_file_is_told_at_once_with_its_line():
    text = """sources:
  - name: Bad Name
    sql: {url: "postgresql://me:secret@db/x", query: "DELETE FROM orders", tiemout: 5s}
    every: often
    metrics: []
  - name: two
    http: {url: "http://a/"}
    log: {path: x}
  - name: three
    http: {url: "http://a/"}
    max_rows: 0
    metrics:
      - {name: orders, type: counter, help: Orders., value: n}
      - {name: orders_seconds, unit: minutes, help: "", value: "a["}
      - {name: latency, unit: seconds, help: Latency., value: n}
      - {name: rate, help: Rate., good: a}
  - name: three
    log: {path: x, from: middle}
    metrics:
      - {name: lines_total, type: counter, help: Lines.}
colour: blue
"""
    with pytest.raises(ConfigError) as refused:
        business_config.parse(text, "business.yml")

    told = [(problem.line, problem.what) for problem in refused.value.problems]
    assert told == [
        (21, "the file has no key 'colour'"),
        (2, "name 'Bad Name' is not lower-case letters, digits and _"),
        (3, "sql has no key 'tiemout'"),
        (3, "query begins with DELETE"),
        (3, "a password stands in the URL"),
        (2, "source 'Bad Name' needs a list `metrics`"),
        (4, "'often' is not a duration: write it as 30s, 5m, 1h30m or 2d"),
        (6, "source 'two' needs exactly one of sql, http and log, with settings"),
        (11, "max_rows is a number from 1 to 10000"),
        (13, "counter orders does not end in _total"),
        (14, "metric orders_seconds has no help"),
        (14, "unit 'minutes' is no base unit"),
        (14, "metric orders_seconds does not say its unit minutes"),
        (14, pytest.approx(told[13][1])),
        (15, "metric latency does not say its unit seconds"),
        (16, "success rate rate needs good and total, and no value"),
        (18, "from is start or end"),
        (20, "metric lines_total needs contains or where, to know which lines count"),
    ]
    assert told[13][1].startswith("value is not a JMESPath")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("source", "words"), [
    ("http: {url: ftp://a/}\n    metrics: [{name: a, help: A., value: n}]", "'ftp://a/' is not an http:// or https://"),
    ("http: {url: http://a/}\n    metrics: [{name: up, help: A., value: n}]", "metric name 'up' is taken"),
    ("http: {url: http://a/}\n    metrics: [{name: a, help: A., value: n, scale: .nan}]", "scale is a number"),
    ("http: {url: http://a/}\n    metrics: [{name: a, help: A., value: n, labels: {le: x}}]", "label 'le' has a"),
    ("http: {url: http://a/}\n    metrics: [{name: a, help: A., value: n, labels: {__a: x}}]", "label '__a' has a"),
])
def test_what_no_scrape_could_take_is_refused(source, words):
    with pytest.raises(ConfigError, match=words):
        business_config.parse(f"sources:\n  - name: a\n    {source}\n", "business.yml")


@pytest.mark.parametrize("text", ["", "[1]", "sources: 5", "sources: []", "a: b"])
def test_a_file_without_sources_is_refused(text):
    with pytest.raises(ConfigError, match="a list `sources` is expected"):
        business_config.parse(text, "x.yml")


def test_a_file_that_is_no_yaml_is_refused_with_its_line():
    with pytest.raises(ConfigError, match=r"x\.yml:2: not YAML"):
        business_config.parse("sources:\n  - {name: [}\n", "x.yml")


@pytest.mark.parametrize(("query", "why"), [
    ("SELECT 1", ""), ("  -- why\n with x as (select 1) select * from x;", ""), ("/* a */ VALUES (1)", ""),
    ("SELECT ';' AS semicolon", ""), ("", "is empty"), ("-- nothing", "is empty"),
    ("UPDATE x SET y = 1", "begins with UPDATE"), ("SELECT 1; DROP TABLE x", "has more than one statement"),
])
def test_only_one_reading_statement_is_let_through(query, why):
    assert why_not_read_only(query) == why


SQL = """sources:
  - name: orders
    sql: {{url: "{url}", query: "{query}"}}
    timeout: {timeout}
    max_rows: 3
    metrics: [{{name: business_orders, help: Orders by status., value: n, labels: {{status: status}}}}]
  - name: good
    sql: {{url: "{url}", query: "SELECT 7 AS n"}}
    metrics: [{{name: business_seven, help: Seven., value: n}}]
"""


@pytest.fixture(scope="module")
def postgres():
    with open_folder() as folder, PostgresServer(folder) as server:
        server.run("CREATE TABLE orders (status text, cents numeric)")
        server.run("INSERT INTO orders SELECT 'status ' || (i % 5), i FROM generate_series(1, 100) AS i")
        server.run("CREATE SEQUENCE numbers")
        yield server


def _run(tmp_path, postgres, query: str, timeout: str = "5s"):
    file = tmp_path / "business.yml"
    file.write_text(SQL.format(url=postgres.url, query=query, timeout=timeout), encoding="utf-8")
    exporter = create("business", {"config": str(file)})
    samples = _samples(exporter.exposition().decode())
    assert samples["business_seven", ()] == 7, "the other query does not care"
    orders = {dict(labels)["status"]: value for (name, labels), value in samples.items() if name == "business_orders"}
    return orders, exporter.problems().get("business_orders", ""), samples


@pytest.mark.real
def test_rows_of_a_real_database_up_to_the_limit(postgres, tmp_path):
    query = "SELECT status, sum(cents) AS n FROM orders GROUP BY status ORDER BY status"
    orders, problem, samples = _run(tmp_path, postgres, query)

    assert orders == {"status 0": 1050.0, "status 1": 970.0, "status 2": 990.0}
    assert problem == ""
    assert samples["business_rows_left_out", (("source", "orders"),)] == 1


@pytest.mark.real
def test_a_query_without_end_costs_what_its_row_limit_asks_for(postgres, tmp_path):
    """Ten thousand million rows, of which three are shown: they are neither waited for nor held."""
    query = "SELECT a AS n, 'row ' || b AS status FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b"
    orders, problem, samples = _run(tmp_path, postgres, query)

    assert (len(orders), problem) == (3, "")
    assert samples["business_rows_left_out", (("source", "orders"),)] == 1


@pytest.mark.real
@pytest.mark.parametrize(("query", "timeout", "why"), [
    ("WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) AS n, '' AS status FROM gone", "5s",
     "data-modifying statements"),
    ("SELECT nextval('numbers') AS n, '' AS status", "5s", "read-only transaction"),
    ("SELECT pg_sleep(30), 1 AS n, '' AS status", "300ms", "statement timeout"),
    ("SELECT * FROM nowhere", "5s", 'relation "nowhere" does not exist'),
    ("SELECT 'many' AS n, 'a' AS status", "5s", "row 1, column n is 'many', which is not a number"),
    ("SELECT 1 AS m, 'a' AS status", "5s", "the query gives no column n; it gives m, status"),
], ids=["it would delete", "it would change a sequence", "too slow", "no such table", "no number", "no such column"])
def test_a_query_that_fails_says_why_and_changes_nothing(postgres, tmp_path, query, timeout, why):
    orders, problem, _ = _run(tmp_path, postgres, query, timeout)

    assert orders == {}
    assert why in problem
    assert postgres.run("SELECT count(*) FROM orders") == [(100,)]


@pytest.mark.real
def test_a_slow_query_and_a_silent_server_delay_no_other(postgres, tmp_path):
    """Served, each source is read in its own time: the good one is read on while the others wait for their limits."""
    file, release = tmp_path / "business.yml", threading.Event()
    with AnsweringServer(lambda _handler: release.wait(30)) as silent:
        file.write_text(f"""sources:
  - name: slow
    sql: {{url: "{postgres.url}", query: "SELECT pg_sleep(60), 1 AS n"}}
    timeout: 30s
    metrics: [{{name: business_slow, help: Slow., value: n}}]
  - name: silent
    http: {{url: "{silent.url}/"}}
    timeout: 30s
    metrics: [{{name: business_silent, help: Silent., value: n}}]
  - name: good
    sql: {{url: "{postgres.url}", query: "SELECT extract(epoch FROM clock_timestamp()) AS n"}}
    every: 100ms
    metrics: [{{name: business_now, help: Now., value: n}}]
""", encoding="utf-8")
        with create("business", {"config": str(file)}) as exporter:
            good = exporter.collectors[2]
            seen = set()

            def looked_again() -> bool:
                seen.add(exporter._last(good).page.text())
                return len(seen) >= 5

            wait_until(looked_again, "the good source is read again and again")
            samples = _samples(exporter.exposition().decode())
            postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' "
                         "AND pid <> pg_backend_pid()")
            release.set()

    success = {dict(labels)["collector"]: value for (name, labels), value in samples.items()
               if name == "exporter_success"}
    assert success == {"business_slow": 0, "business_silent": 0, "business_good": 1}


@pytest.mark.real
def test_the_password_of_a_database_comes_from_a_file_or_the_environment_and_is_never_shown(
    postgres, tmp_path, monkeypatch,
):
    postgres.run("CREATE ROLE secured LOGIN PASSWORD 'first secret'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text("host all secured 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    postgres.run("SELECT pg_reload_conf()")
    file, url = tmp_path / "business.yml", postgres.url.replace("postgres@", "secured@")
    (tmp_path / "password").write_text("first secret\n", encoding="utf-8")
    monkeypatch.setenv("SHOP_PASSWORD", "second secret")

    def look(where: str) -> tuple[float | None, str]:
        file.write_text(f"""sources:
  - name: a
    sql: {{url: "{url}", query: "SELECT 7 AS n", {where}}}
    metrics: [{{name: business_seven, help: Seven., value: n}}]
""", encoding="utf-8")
        exporter = create("business", {"config": str(file)})
        samples = _samples(exporter.exposition().decode())
        return samples.get(("business_seven", ())), exporter.problems().get("business_a", "")

    in_file, in_environment = f'password_file: "{tmp_path}/password"', "password_env: SHOP_PASSWORD"
    wait_until(lambda: look(in_environment)[0] is None, "the server asks for passwords")
    assert look(in_file) == (7, "")
    wrong = look(in_environment)[1]
    assert ("password authentication failed" in wrong, "second secret" in wrong) == (True, False)

    postgres.run("ALTER ROLE secured PASSWORD 'second secret'")
    assert look(in_environment) == (7, "")
    assert look(in_file)[0] is None
    (tmp_path / "password").write_text("second secret\n", encoding="utf-8")
    assert look(in_file) == (7, ""), "the file is read anew each time"
    assert "cannot read the secret" in look('password_file: "/nonexistent"')[1]


@pytest.mark.real
def test_a_database_that_is_stuck_costs_its_time_limit_and_comes_back(postgres, tmp_path):
    file = tmp_path / "business.yml"
    query = "SELECT status, 1 AS n FROM orders LIMIT 1"
    file.write_text(SQL.format(url=postgres.url, query=query, timeout="500ms").replace("2s", "1s"), encoding="utf-8")
    exporter = create("business", {"config": str(file)})
    postgres.freeze()
    began = time.monotonic()
    exporter.exposition()
    took = time.monotonic() - began
    problems = exporter.problems()
    postgres.thaw()
    wait_until(lambda: b"business_seven 7" in exporter.exposition(), "the figures are back")

    assert set(problems) == {"business_orders", "business_good"}
    assert took < 30


def test_a_database_that_is_not_there_and_a_driver_that_is_not_installed(tmp_path):
    file = tmp_path / "business.yml"
    gone = "postgresql+psycopg://u@127.0.0.1:1/x"
    text = SQL.format(url=gone, query="SELECT 1", timeout="1s")
    file.write_text(text.replace(gone, "oracle+oracledb://u@h/x", 1), encoding="utf-8")
    exporter = create("business", {"config": str(file)})
    exporter.exposition()

    assert "the driver is not installed" in exporter.problems()["business_orders"]
    assert "postgresql+psycopg://u@127.0.0.1:1/x cannot be reached" in exporter.problems()["business_good"]


def _source(kind: str, settings: str, metrics: str):
    text = f"sources:\n  - name: a\n    {kind}: {settings}\n    max_rows: 2\n    metrics:\n      - {metrics}\n"
    (source,) = business_config.parse(text, "x.yml")
    return source


@pytest.mark.parametrize(("metric", "document", "why"), [
    ("{name: a, help: A., value: n}", {"n": "five"}, "value 'n' is 'five', which is not a number"),
    ("{name: a, help: A., value: n}", {"n": [1]}, "which is not a number"),
    ('{name: a, help: A., each: "[]", value: n, labels: {l: l}}', [{"n": 1, "l": "x"}, {"n": 2, "l": "x"}],
     r"two rows give a the same labels \(l='x'\); name what tells them apart under `labels:`"),
    ('{name: a, help: A., each: "items", value: n}', {"items": 5}, "each 'items' gives no list"),
])
def test_a_document_that_does_not_fit_says_where(metric, document, why):
    with pytest.raises(Exception, match=why):
        write_json(_source("http", '{url: "http://a/"}', metric), document, Page())


def test_secrets_of_an_http_source_come_from_files_and_the_environment(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("t0ken\n", encoding="utf-8")
    monkeypatch.setenv("SHOP_KEY", "k3y")
    with AnsweringServer(says(json.dumps({"n": 1}).encode())) as server:
        file = tmp_path / "b.yml"
        file.write_text(f"""sources:
  - name: a
    http:
      url: {server.url}/
      headers: {{Authorization: "Bearer ${{file:{tmp_path}/token}}", X-Key: "${{env:SHOP_KEY}}"}}
    metrics: [{{name: business_n, help: N., value: n}}]
""", encoding="utf-8")
        text = create("business", {"config": str(file)}).exposition().decode()

    assert "business_n 1\n" in text
    headers = server.seen[0][1]
    assert (headers["Authorization"], headers["X-Key"]) == ("Bearer t0ken", "k3y")


def test_log_lines_are_counted_from_now_on_and_new_files_from_their_beginning(tmp_path):
    old, new = tmp_path / "app.log", tmp_path / "app2.log"
    old.write_text('{"event": "failed", "reason": "before"}\n', encoding="utf-8")
    counts = LogCounts(_source(
        "log", f'{{path: "{tmp_path}/app*.log"}}',
        "{name: a_total, type: counter, help: A., where: {event: failed}, labels: {reason: reason}}",
    ))

    def look():
        page = Page()
        counts.collect(page)
        return {(metric.name, *labels.values()): value for metric, _, labels, value in page.samples()}

    first = look()
    with old.open("a", encoding="utf-8") as file:
        file.write('{"event": "failed", "reason": "card"}\n{"event": "failed", "reason": "ca')
    new.write_text('{"event": "failed", "reason": "new"}\n', encoding="utf-8")
    second = look()
    with old.open("a", encoding="utf-8") as file:
        file.write('rd"}\n{"event": "failed", "reason": "third"}\n')
    third = look()
    counts.close()

    assert first == {("business_rows_left_out", "a"): 0}
    assert second == {("a_total", "card"): 1, ("a_total", "new"): 1, ("business_rows_left_out", "a"): 0}
    assert third == {("a_total", "card"): 2, ("a_total", "new"): 1, ("business_rows_left_out", "a"): 1}
