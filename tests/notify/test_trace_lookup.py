"""A page carries the traces that show it, and waits for no store that hangs."""

import threading

from observe.alert.evidence import TraceFinding
from tests.notify.desk import Office, Phone, firing, quick


def test_a_page_carries_its_evidence(tmp_path):
    office = Office(tmp_path, find_traces=lambda alert, now_ms: TraceFinding(("a" * 32, "b" * 32)))
    office.accept(firing(office.clock))
    office.wait("10s")
    assert office.phone.got[0].alerts[0].annotations == {
        "value": "2.5", "expected": "0.5 – 1.5", "lower": "0.5", "upper": "1.5", "baseline": "1", "score": "3",
        "trace_ids": "a" * 32 + "," + "b" * 32, "summary": "a is down",
    }


def test_a_trace_store_that_fails_costs_the_traces_and_not_the_page(tmp_path):
    def broken(alert, now_ms):
        raise OSError("store is down")

    office = Office(tmp_path, find_traces=broken)
    office.accept(firing(office.clock))
    office.wait("10s")
    told = office.phone.got[0].alerts[0].annotations
    assert (told["trace_ids"], told["trace_ids_reason"]) == ("", "the trace store did not answer: store is down")


def test_a_trace_store_that_hangs_delays_one_page_and_not_each_in_its_turn(tmp_path):
    """Two hundred pages of their own, four on their way at once: waiting for each would take minutes here."""
    over, asked = threading.Event(), []
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, group_by=("...",), evidence_timeout_s=2),
                    find_traces=lambda alert, now_ms: asked.append(alert) or (over.wait(120) and TraceFinding()))
    office.accept(*(firing(office.clock, f"n{n:03}") for n in range(200)))
    office.wait("10s")
    over.set()
    assert sorted(page[2][0] for page in phone.pages()) == [f"n{n:03}" for n in range(200)]
    assert {one.alerts[0].annotations["trace_ids_reason"] for one in phone.got} == {
        "the trace store did not answer within 2 s"}
    assert len(asked) == 2, "the threads that hang"
    count = office.telemetry.registry.get_sample_value
    assert count("observe_trace_searches_total", {"result": "late"}) == 4
    assert count("observe_trace_searches_total", {"result": "skipped"}) == 196


def test_a_trace_store_that_was_late_is_asked_again_when_it_answers(tmp_path):
    over = threading.Event()
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, evidence_timeout_s=2),
                    find_traces=lambda alert, now_ms: over.wait(120) and TraceFinding(("a" * 32,)))
    office.accept(firing(office.clock, "a"))
    office.wait("10s")
    over.set()
    office.accept(firing(office.clock, "b"))
    office.wait("1m")
    assert [[one.annotations["trace_ids"] for one in page.alerts] for page in phone.got] == [[""], ["a" * 32] * 2]
