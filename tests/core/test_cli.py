"""The command line as a whole: every command helps with an example, wrong use is 2, problems are 1."""

import subprocess
import sys

import pytest

from observe import cli

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


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    printed = capsys.readouterr().out
    assert [] == [name for name in COMMANDS if name not in printed]


@pytest.mark.parametrize("words", [["dance"], ["up", "--nonsense"], []])
def test_wrong_use_is_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(words)

    assert 2 == raised.value.code
    assert "usage:" in capsys.readouterr().err


def test_help_is_quick_because_it_loads_no_numerics():
    code = "import sys; from observe import cli; cli.build_parser('demo'); print('numpy' in sys.modules)"

    assert "False" == subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
    ).stdout.strip()
