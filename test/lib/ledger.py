"""Facts a client was told, and whether a server still holds them."""

import sqlite3

from lib.oci import digest


ANY = object()  # the value of what may be there or not


class Ledger:
    """What was acknowledged, by key; each step also knows what it is about to change, for either
    value is right while a request is in flight. One ledger per sequential writer."""

    def __init__(self):
        self.facts = {}
        self.pending = {}
        self.steps = []  # [(request id of the answer, changes)]

    def begin(self, changes):
        self.pending = changes

    def done(self, response=None):
        self.facts.update(self.pending)
        self.steps.append((response and response.header("x-request-id"), self.pending))
        self.pending = {}

    def missing(self, client):
        """What does not hold; empty when all is there, byte for byte."""
        wrong = []
        for key, value in self.facts.items():
            if holds(client, key, value):
                continue
            if key in self.pending and holds(client, key, self.pending[key]):
                continue
            wrong.append((key, "is not as acknowledged"))
        return wrong


def holds(client, key, value):
    kind, repo, name = key
    if value is ANY:
        return True
    if kind == "blob":
        response = client.blob(repo, name)
        if value is None:
            return response.status == 404
        return response.status == 200 and response.body == value
    if kind == "manifest":
        response = client.manifest(repo, name)
        if value is None:
            return response.status == 404
        return (response.status == 200 and response.body == value
                and response.header("docker-content-digest") == digest(value))
    assert kind == "upload"
    response = client.get(name)
    if value is None:
        return response.status == 404
    if response.status != 204:
        return False
    data, whole = value  # acknowledged bytes, and what they are to become
    last = int(response.header("range").split("-")[1])
    if last + 1 < len(data) and len(data) > 0:
        return False
    at = last + 1 if last else 0
    return client.put(name, digest(whole), whole[at:], start=at).status == 201 \
        and client.blob(repo, digest(whole)).body == whole


def database_errors(path):
    """Breaches of what the schema promises but cannot enforce, in a database no server uses."""
    db = sqlite3.connect(path)
    found = []
    for what, query in {
        "integrity": "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
        "foreign keys": "SELECT * FROM pragma_foreign_key_check",
        "size of a repository": """
            SELECT r.full_name, r.size_bytes, t.n FROM repository r JOIN (
              SELECT r2.id, coalesce((SELECT sum(b.size_bytes) FROM repository_blob rb
                       JOIN blob b ON b.id = rb.blob WHERE rb.repository = r2.id), 0)
                + coalesce((SELECT sum(mb.size_bytes) FROM manifest m
                       JOIN manifest_body mb ON mb.id = m.body WHERE m.repository = r2.id), 0) AS n
              FROM repository r2) t ON t.id = r.id WHERE r.size_bytes <> t.n""",
        "tag without manifest": """
            SELECT t.name FROM tag t WHERE t.until_at IS NULL AND NOT EXISTS (
              SELECT 1 FROM manifest m JOIN manifest_body b ON b.id = m.body
              WHERE m.repository = t.repository AND b.digest = t.digest)""",
        "manifest without its blobs": """
            SELECT hex(mb.digest) FROM manifest m JOIN manifest_blob mb ON mb.parent = m.body
            WHERE NOT EXISTS (SELECT 1 FROM repository_blob rb JOIN blob b ON b.id = rb.blob
                              WHERE rb.repository = m.repository AND b.digest = mb.digest)""",
    }.items():
        found += [(what, row) for row in db.execute(query).fetchall()]
    db.close()
    return found


