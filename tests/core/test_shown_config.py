"""What is shown of the configuration carries no secret."""

import json

from observe.config import load
from observe.settings import notify_settings, shown

TEXT = """\
replica: left
notify:
  dead_man: snitch
  webhooks:
    - {name: chat, url: "https://chat.example/hook/s3cret?sign=s3cret", headers: {Authorization: "Bearer s3cret"}}
    - {name: snitch, url: "https://snitch.example/s3cret"}
attach:
  prometheus: {url: "https://mimir.example/prometheus", headers: {X-Scope-OrgID: s3cret}}
"""


def test_secrets_are_masked_and_the_rest_is_there(tmp_path):
    path = tmp_path / "observe.yml"
    path.write_text(TEXT)
    told = shown(load(path))
    assert "s3cret" not in json.dumps(told)
    assert [hook["url"] for hook in told["notify"]["webhooks"]] == ["https://chat.example/***", "https://snitch.example/***"]
    assert (told["replica"], told["attach"]["prometheus"]["headers"]) == ("left", {"X-Scope-OrgID": "***"})


def test_the_dead_mans_receiver_is_one_of_the_webhooks(tmp_path):
    path = tmp_path / "observe.yml"
    path.write_text(TEXT)
    assert notify_settings(load(path)).dead_man_receiver == "snitch"
