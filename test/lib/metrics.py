"""Metrics of a server under test, read by the parsers of Prometheus' own client library."""

import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from lib import raw

OPEN = "application/openmetrics-text; version=1.0.0"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CLASSIC_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def address_of(server):
    """Where metrics.listen is served; as for raw.Conn."""
    found = server.events("metrics_ready")
    assert found, server.text()
    host, port = found[-1]["address"].rsplit(":", 1)
    return host, int(port)


def ask(server, target="/metrics", headers=(), method="GET"):
    """One request on the address of metrics.listen."""
    return raw.exchange(address_of(server), raw.request(method, target, headers),
                        head=method == "HEAD")


class Snapshot:
    """All samples at one time."""

    def __init__(self, server):
        response = ask(server, headers=[("Accept", OPEN)])
        assert response.status == 200, response
        assert response.header("content-type") == OPEN_TYPE
        self.text = response.body.decode()
        self.families = list(parse_open(self.text))
        self.values = {(s.name, frozenset(s.labels.items())): s.value
                       for family in self.families for s in family.samples}

    def value(self, name, **labels):
        """0 for a series that is not there (yet)."""
        return self.values.get((name, frozenset(labels.items())), 0)

    def all(self, name, **labels):
        """{labels: value} of the series that have these labels, and maybe more."""
        return {dict_key: value for (n, dict_key), value in self.values.items()
                if n == name and set(labels.items()) <= dict_key}

    def total(self, name, **labels):
        return sum(self.all(name, **labels).values())


class Since:
    """What has changed since it was made. Requests count a little after their answers, as their access
    lines are written: those that were answered before are waited for."""

    def __init__(self, server):
        self.server = server
        server.settle()
        self.before = Snapshot(server)

    def now(self):
        self.server.settle()
        self.after = Snapshot(self.server)
        return self

    def change(self, name, **labels):
        return self.after.value(name, **labels) - self.before.value(name, **labels)

    def changes(self, name):
        """{frozenset(labels): change} of the series of this name that changed."""
        keys = {k for n, k in self.after.values if n == name}
        found = {k: self.after.values[name, k] - self.before.values.get((name, k), 0) for k in keys}
        return {k: v for k, v in found.items() if v}


def eventually(condition, timeout=20):
    """True once the condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
