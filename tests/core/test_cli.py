"""The command line as a whole: every command helps with an example, wrong use is 2, problems are 1."""

import json
import shlex
import subprocess
import sys

import pytest

from observe import cli
from observe.durable import FolderLock
from observe.errors import StorageError
from observe.exporters import registry

COMMANDS = cli.command_names()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_summary_and_an_example_that_parses(name, capsys):
    module = cli.load_command(name)
    with pytest.raises(SystemExit) as raised:
        cli.main([name, "--help"])

    assert 0 == raised.value.code
    printed = capsys.readouterr().out
    assert module.EXAMPLE in printed
    assert module.EXAMPLE.startswith(f"observe {name}")
    assert name == cli.build_parser(name).parse_args(shlex.split(module.EXAMPLE)[1:]).command


@pytest.mark.parametrize("name", registry.names())
def test_every_exporter_helps_with_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(["export", name, "--help"])

    assert 0 == raised.value.code
    example = capsys.readouterr().out.partition("example: ")[2]
    assert name == cli.build_parser("export").parse_args(shlex.split(example)[1:]).exporter


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    printed = capsys.readouterr().out
    assert [] == [name for name in COMMANDS if name not in printed]


@pytest.mark.parametrize(("words", "told"), [
    (["dance"], "observe: there is no command `dance`\n  there are: backtest, boards, check,"),
    (["quer", "up"], "observe: there is no command `quer`; did you mean `query`?"),
    (["up", "--demmo"], "observe up: there is no option `--demmo`; did you mean `--demo`?\n  example: observe up"),
    (["up", "--demmo=1"], "there is no option `--demmo`; did you mean `--demo`?"),
    (["up", "extra"], "observe up: `extra` is one word too many"),
    (["check", "--only", "rule"], "observe check: --only cannot be `rule`; did you mean `rules`?"),
    (["logs", "--limit", "many"], "observe logs: --limit: 'many' is not a whole number"),
    (["query"], "observe query: the following arguments are required: EXPR\n  example: observe query"),
    (["silence"], "observe silence: the following arguments are required: action\n"),
    (["explain"], "observe explain: the following arguments are required: RULE\n"),
    (["boards", "puhs"], "there is no action `puhs`; did you mean `push`?\n  there are: build, check, list, push"),
    (["export", "hots"], "observe export: there is no exporter `hots`; did you mean `host`?"),
    (["export", "host", "--onse"], "observe export host: there is no option `--onse`; did you mean `--once`?"),
])
def test_wrong_use_is_exit_code_2_and_says_what_was_meant(words, told, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(words)

    assert 2 == raised.value.code
    printed = capsys.readouterr()
    assert told in printed.err
    assert f"  more: {printed.err.partition(':')[0]} --help" in printed.err
    assert "" == printed.out


def test_observe_alone_says_what_there_is(capsys):
    assert 2 == cli.main([])

    printed = capsys.readouterr().err
    assert [] == [name for name in COMMANDS if name not in printed]


@pytest.mark.parametrize("words", [
    ["rules", "export", "--output", "/nowhere/rules.yml"],
    ["boards", "build", "--sources", "/nowhere"],
    ["boards", "push", "--grafana", "http://127.0.0.1:9", "--token-file", "/nowhere/token"],
    ["backtest", "--input", "/nowhere.csv", "--output", "/tmp/x.csv"],
    ["test-rules", "/nowhere.yml"],
    ["check", "/nowhere.yml"],
    ["query", "up", "--data", "/nowhere"],
    ["notify", "test", "--config", "/nowhere.yml"],
], ids=lambda words: " ".join(words[:2]))
def test_a_file_that_cannot_be_used_is_named_without_a_traceback(words, capsys):
    code = cli.main(words)

    assert code in {1, 2}
    assert "/nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["boards", "push", "--grafana", "grafana"], ["notify", "test", "--webhook", "pager"],
    ["backtest", "--rules", "builtin", "--prometheus", "prom:9090", "--from", "2026-01-31"],
], ids=lambda words: words[0])
def test_an_address_that_is_none_is_wrong_use(words, capsys):
    assert 2 == cli.main(words)

    assert "is not an address: write http://HOST:PORT or https://…" in capsys.readouterr().err


def test_check_takes_the_file_as_a_word_or_as_an_option_but_not_as_both(tmp_path, capsys):
    file = tmp_path / "observe.yml"
    file.write_text("listen: 127.0.0.1:9900\n")

    assert 0 == cli.main(["check", str(file), "--only", "config"])
    assert f"config: fine ({file}: 0 scrape targets" in capsys.readouterr().out
    assert 2 == cli.main(["check", str(file), "--config", str(file)])


def test_help_is_quick_because_it_loads_no_numerics():
    code = "import sys; from observe import cli; cli.build_parser('demo'); print('numpy' in sys.modules)"

    assert "False" == subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
    ).stdout.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--only", "rules"],
        ["boards", "list"],
        ["boards", "check"],
        ["test-rules", "alert_rules/tests/collection.yml"],
        ["notify", "test", "--webhook", "http://127.0.0.1:9/nobody"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_json_is_all_there_is_on_stdout(words, capsys):
    assert cli.main([*words, "--json"]) in {0, 1}

    json.loads(capsys.readouterr().out)


def test_a_data_folder_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")

    for folder, why in ((tmp_path / "file", "it is not a folder"), ("/proc/observe", "No such file or directory")):
        with pytest.raises(StorageError, match=f"cannot write to the data folder {folder}: {why}; choose another with"):
            FolderLock(type(tmp_path)(folder))
