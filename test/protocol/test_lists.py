"""Tag lists and the catalog: order, paging, who sees what."""

import re
import urllib.parse

import pytest

from lib.oci import Client

SETTINGS = {"auth.anonymous": "push", "limits.page": "50"}
TAGS = ["1", "1.2", "1.2.3", "1-2", "1_2", "10", "2", "A", "B", "Z", "_", "a", "a-b", "a.b", "a_b", "aa",
        "b", "latest", "v1.0.0", "v1.0.0-rc.1", "v10", "v2"]
ORDER = sorted(TAGS, key=str.encode)


@pytest.fixture(scope="module")
def client(server):
    client = Client(server)
    body, _ = client.push_image("list/a", "1")
    for tag in TAGS:
        assert client.put_manifest("list/a", tag, body).status == 201
    assert client.push_image("list/many", "t000")[0] == body
    for i in range(120):
        assert client.put_manifest("list/many", f"t{i:03}", body).status == 201
    yield client
    client.close()


def link(response):
    """Target of rel="next", None without."""
    text = response.header("link")
    if text is None:
        return None
    target = re.fullmatch(r'<([^>]+)>; ?rel="next"', text)[1]
    assert target.startswith("/v2/"), "a path: clients refuse another scheme or host"
    return target


def walk(client, target, key):
    pages = []
    while target:
        response = client.get(target)
        assert response.status == 200, response
        pages.append(response.json()[key])
        target = link(response)
        assert len(pages) < 500
    return pages


def test_all_tags(client):
    response = client.tags("list/a")
    assert response.header("content-type") == "application/json"
    assert response.json() == {"name": "list/a", "tags": ORDER}
    assert link(response) is None


@pytest.mark.parametrize("n", [1, 2, 3, 7, 21, 22, 23, 50])
def test_pages(client, n):
    pages = walk(client, f"/v2/list/a/tags/list?n={n}", "tags")
    assert sum(pages, []) == ORDER
    assert all(len(page) == n for page in pages[:-1])
    assert pages[-1], "no Link when nothing follows"


@pytest.mark.parametrize("last", ORDER + ["", "0", "1.2.2", "zzz", "v", "a-", "~"])
def test_last(client, last):
    """Exclusive; need not exist."""
    want = [tag for tag in ORDER if tag.encode() > last.encode()]
    query = urllib.parse.urlencode({"last": last})
    assert client.tags("list/a", "?" + query).json()["tags"] == want
    assert client.tags("list/a", f"?n=3&{query}").json()["tags"] == want[:3]


def test_n_zero(client):
    response = client.tags("list/a", "?n=0")
    assert response.json() == {"name": "list/a", "tags": []} and link(response) is None
    response = client.get("/v2/_catalog?n=0")
    assert response.json() == {"repositories": []} and link(response) is None


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "0x1", "+1", "1e3", "%201"])
def test_n_invalid(client, n):
    for target in (f"/v2/list/a/tags/list?n={n}", f"/v2/_catalog?n={n}"):
        response = client.get(target)
        assert response.status == 400 and response.code == "PAGINATION_NUMBER_INVALID", response


@pytest.mark.parametrize("n", ["51", "1000000", "18446744073709551615", "99999999999999999999999"])
def test_n_above_the_cap(client, n):
    """Cut to the cap and continued by a Link, never an error and never memory."""
    response = client.tags("list/many", f"?n={n}")
    assert response.status == 200, response
    assert len(response.json()["tags"]) == 50 and link(response)
    assert len(sum(walk(client, f"/v2/list/many/tags/list?n={n}", "tags"), [])) == 120


def test_whole_list_is_paged_too(client):
    pages = walk(client, "/v2/list/many/tags/list", "tags")
    assert all(len(page) <= 50 for page in pages)


def test_no_tags(client):
    """A repository without tags has an empty list, not null."""
    client.push("list/blobs-only", b"x")
    response = client.tags("list/blobs-only")
    assert response.status == 200
    assert response.json() == {"name": "list/blobs-only", "tags": []}


def test_unknown_repository(client):
    response = client.tags("list/none")
    assert response.status == 404 and response.code == "NAME_UNKNOWN"


def test_pages_while_tags_come_and_go(client):
    """Entries that exist throughout are all seen, once."""
    body, _ = client.push_image("list/moving", "m00")
    for i in range(0, 40, 2):
        client.put_manifest("list/moving", f"m{i:02}", body)
    seen, target, i = [], "/v2/list/moving/tags/list?n=4", 1
    while target:
        response = client.get(target)
        seen += response.json()["tags"]
        client.put_manifest("list/moving", f"m{i:02}", body)  # behind the reader and ahead of it
        client.put_manifest("list/moving", f"m{39 - i:02}x", body)
        client.request("DELETE", f"/v2/list/moving/manifests/m{i:02}")
        target, i = link(response), i + 2
    assert [t for t in seen if t[1:].isdigit() and int(t[1:]) % 2 == 0] == [
        f"m{i:02}" for i in range(0, 40, 2)]
    assert len(seen) == len(set(seen))


REPOSITORIES = ["cat/a", "cat/a-b", "cat/a.b", "cat/a/b", "cat/a/b/c", "cat/a_b", "cat/ab", "cat0/a",
                "library/one"]


def test_catalog(client):
    for name in REPOSITORIES:
        client.push_image(name, "t")
    names = sum(walk(client, "/v2/_catalog", "repositories"), [])
    assert names == sorted(names, key=str.encode)
    assert set(REPOSITORIES) <= set(names)
    for n in (1, 2, 5):
        assert sum(walk(client, f"/v2/_catalog?n={n}", "repositories"), []) == names
    for last in ("cat/a", "cat/a-b", "cat/a0", "catalog", ""):
        got = client.get("/v2/_catalog?" + urllib.parse.urlencode({"last": last, "n": 2})).json()
        assert got["repositories"] == [n for n in names if n.encode() > last.encode()][:2]


def test_library_alias(client):
    """`app` is `library/app`: one repository, answered under the name that was asked for."""
    body, name = client.push_image("app", "v1", seed="alias")
    response = client.put_manifest("app", "v1", body)
    assert response.header("location") == f"/v2/app/manifests/{name}"
    assert client.start("app").startswith("/v2/app/blobs/uploads/")
    assert client.manifest("library/app", "v1").body == body
    assert client.tags("app").json() == {"name": "app", "tags": ["v1"]}
    assert client.tags("library/app").json() == {"name": "library/app", "tags": ["v1"]}
    names = sum(walk(client, "/v2/_catalog", "repositories"), [])
    assert "library/app" in names and "app" not in names
    client.put_manifest("library/app", "v2", body)
    assert client.tags("app", "?n=1&last=v1").json()["tags"] == ["v2"]
    assert link(client.tags("app", "?n=1")).startswith("/v2/app/tags/list?")
    assert client.request("DELETE", "/v2/app/manifests/v2").status == 202
    assert client.manifest("library/app", "v2").status == 404
    # mount knows the alias too
    response = client.request("POST", f"/v2/cat/a/blobs/uploads/?from=app&mount={client.push('app', b'al')}")
    assert response.status == 201


def test_catalog_shows_what_one_may_pull(berth):
    server = berth()
    owner = Client(server)
    owner.push_image("private/a", "t")
    owner.push_image("library/open", "t")
    assert owner.get("/v2/_catalog").json()["repositories"] == ["library/open", "private/a"]
    guest = Client(server, mode="none")
    response = guest.get("/v2/_catalog")
    assert response.status == 401
    token = guest.token(["registry:catalog:*"], credentials=False)
    response = guest.once("GET", "/v2/_catalog", headers=[("Authorization", "Bearer " + token)])
    assert response.status == 401 or response.json()["repositories"] == ["library/open"]
    # a token without the scope does not list
    token = owner.token(["repository:private/a:pull"])
    response = owner.once("GET", "/v2/_catalog", headers=[("Authorization", "Bearer " + token)])
    assert response.status == 401


def test_tag_history_is_not_listed(client):
    body, _ = client.push_image("list/life", "t")
    for _ in range(3):
        client.request("DELETE", "/v2/list/life/manifests/t")
        client.put_manifest("list/life", "t", body)
    assert client.tags("list/life").json()["tags"] == ["t"]


@pytest.mark.parametrize("target", ["/v2/list/a/tags/list", "/v2/list/a/tags/list?n=2", "/v2/_catalog",
                                    "/v2/list/a/referrers/sha256:" + "0" * 64,
                                    "/v2/_oci/ext/discover", "/v2/list/a/_oci/ext/discover"])
def test_lists_can_be_kept(client, target):
    """They may be stored if they are asked for again, which costs nothing when they are as before."""
    response = client.get(target)
    assert response.header("cache-control") == "no-cache"
    etag = response.header("etag")
    assert re.fullmatch(r'"[^"]+"', etag)
    again = client.get(target, headers=[("If-None-Match", etag)])
    assert again.status == 304 and again.body == b"" and again.header("etag") == etag
    again = client.get(target, headers=[("If-None-Match", '"other"')])
    assert again.status == 200 and again.body == response.body
    head = client.head(target)
    assert head.header("etag") == etag and head.header("content-length") == str(len(response.body))


def test_a_changed_list_has_another_tag(client):
    body, _ = client.push_image("list/changing", "one")
    before = client.tags("list/changing").header("etag")
    assert client.put_manifest("list/changing", "two", body).status == 201
    response = client.get("/v2/list/changing/tags/list", headers=[("If-None-Match", before)])
    assert response.status == 200 and response.json()["tags"] == ["one", "two"]


@pytest.mark.parametrize("target, status", [("/v2/list/none/tags/list", 404), ("/v2/_catalog?n=x", 400),
                                            ("/v2/list/a/manifests/none", 404), ("/nothing", 404),
                                            ("/v2/list/a/blobs/sha256:" + "0" * 64, 404)])
def test_errors_are_not_kept(client, target, status):
    """A 404 may be stored unless it says otherwise (RFC 9110 15.1); after the push it is wrong."""
    response = client.get(target)
    assert response.status == status and response.header("cache-control") == "no-store"
