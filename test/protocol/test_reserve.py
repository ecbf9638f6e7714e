"""Below storage.reserve nothing is taken, and everything else goes on."""
from lib.oci import Client, digest, randbytes


def test_reserve(berth):
    server = berth({"auth.anonymous": "push"})
    client = Client(server, mode="none")
    client.push_image("r/a", "kept")
    blob = client.push("r/a", randbytes(5000, "reserve"))
    location = client.start("r/a")
    data = randbytes(3000, "half")
    assert client.patch(location, data).status == 202
    server.stop()

    server.settings["storage.reserve"] = "1000000TiB"
    server.start()
    for response in (client.once("POST", "/v2/r/a/blobs/uploads/"),
                     client.once("PUT", f"{location}?digest={digest(data * 2)}", data),
                     client.once("PUT", "/v2/r/a/manifests/new", b"{}")):
        assert response.status == 507, response
        assert "storage.reserve" in response.message, response
    assert client.blob("r/a", blob).status == 200
    assert client.once("PUT", f"{location}?digest={digest(data)}").status == 201, \
        "an upload that is all here may be finished"
    assert client.once("DELETE", "/v2/r/a/manifests/kept").status == 202
    assert client.once("DELETE", f"/v2/r/a/blobs/{blob}").status == 202
