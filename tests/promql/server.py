"""A tiny server over `Engine` and `MemorySource` that speaks enough of Prometheus' HTTP API for test scripts.

    python -m tests.promql.server --port 9999

The product's own server is `observe serve-metrics`; this one proves the language alone, without a store.
"""

import argparse
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import cramjam

from observe.errors import LimitExceeded, ObserveError, QueryError
from observe.model import Labels
from observe.promql.engine import Engine
from observe.promql.render import result_json
from observe.testing import MemorySource


def _varint(data, at):
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data):
    """The fields of a protobuf message: (number, value)."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1:
                value, at = data[at : at + 8], at + 8
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case other:
                raise ValueError(f"wire type {other}")
        yield tag >> 3, value


def write_request(data):
    """The samples of a remote-write 1.0 request: (labels, time_ms, value)."""
    for _, series in _fields(data):
        labels, samples = {}, []
        for number, value in _fields(series):
            if number == 1:
                pair = dict(_fields(value))
                labels[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
            elif number == 2:
                sample = dict(_fields(value))
                time_ms = sample.get(2, 0)
                samples.append((time_ms - (1 << 64) if time_ms >> 63 else time_ms,
                                struct.unpack("<d", sample.get(1, bytes(8)))[0]))
        named = Labels(labels)
        yield from ((named, time_ms, value) for time_ms, value in samples)


def handler_class(source, engine):
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            params = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            try:
                with lock:
                    self._answer(200, self._query(url.path, params))
            except QueryError as error:
                self._fail(422 if error.kind == "execution" else 400, error.kind, str(error))
            except LimitExceeded as error:
                self._fail(422, "execution", str(error))
            except ObserveError as error:
                self._fail(500, "internal", str(error))

        def _query(self, path, params):
            if path == "/api/v1/query":
                answer = engine.evaluate_instant(params["query"], round(float(params.get("time", "0")) * 1000))
            else:
                answer = engine.evaluate_range(
                    params["query"], *(round(float(params[name]) * 1000) for name in ("start", "end", "step")))
            remarks = b"".join(
                b',"%b":%b' % (name, json.dumps(said).encode())
                for name, said in ((b"warnings", answer.warnings), (b"infos", answer.infos)) if said
            )
            return b'{"status":"success","data":%b%b}' % (result_json(answer.value)[0], remarks)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                for labels, time_ms, value in write_request(bytes(cramjam.snappy.decompress_raw(body))):
                    source.add(labels, time_ms, value)
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _fail(self, status, kind, message):
            self._answer(status, json.dumps({"status": "error", "errorType": kind, "error": message}).encode())

        def _answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Stay quiet."""

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    source = MemorySource()
    address = ("127.0.0.1", parser.parse_args().port)
    ThreadingHTTPServer(address, handler_class(source, Engine(source))).serve_forever()


if __name__ == "__main__":
    main()
