"""The live line of `observe up`, on a terminal and in a log."""

import io

from observe.live import LiveLine


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


def test_a_log_gets_the_status_every_ten_seconds_at_first_and_then_once_a_minute():
    log = io.StringIO()
    live = LiveLine(log)
    for second in range(600):
        live.show(f"at {second}", float(second))

    told = [int(line.removeprefix("at ")) for line in log.getvalue().splitlines()]
    assert [*range(0, 120, 10), 170, 230, 290, 350, 410, 470, 530, 590] == told


def test_a_log_gets_what_stays_at_once_and_a_status_that_did_not_change_never_again():
    log = io.StringIO()
    live = LiveLine(log)
    live.show("calm", 0.0)
    live.say("FIRING")
    live.show("calm", 100.0)

    assert "calm\nFIRING\n" == log.getvalue()


def test_a_terminal_keeps_one_line_below_those_that_stay():
    screen = Terminal()
    live = LiveLine(screen)
    live.show("one", 0.0)
    live.show("two", 0.1)
    live.say("FIRING")
    live.close()

    assert "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[KFIRING\ntwo\n" == screen.getvalue()
