import pytest

from observe.errors import InvalidInput
from observe.reloading import Reloading
from observe.telemetry import Telemetry
from observe.testing import ManualClock


class File:
    """A configuration that is wrong or not."""

    wrong = False

    def __call__(self) -> str:
        if self.wrong:
            raise InvalidInput("unknown key `rulez`")
        return "3 rules"


def exported(telemetry):
    names = "observe_config_last_reload_successful", "observe_config_last_reload_success_timestamp_seconds"
    return [telemetry.registry.get_sample_value(name) for name in names]


def test_a_refused_reload_is_told_until_one_is_taken():
    clock, telemetry, file = ManualClock(5_000), Telemetry(), File()
    reload = Reloading(file, clock, telemetry)
    assert [1, 5] == exported(telemetry)

    file.wrong = True
    clock.advance_ms(10_000)
    with pytest.raises(InvalidInput, match="rulez"):
        reload()
    assert (False, 5_000) == reload.outcome
    assert [0, 5] == exported(telemetry)

    file.wrong = False
    assert "3 rules" == reload()
    assert (True, 15_000) == reload.outcome
    assert [1, 15] == exported(telemetry)
