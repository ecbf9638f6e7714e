"""helm: charts as OCI artifacts, and with it the library oras-go."""

import hashlib
import json
import re

import pytest

from lib import clients
from lib.oci import digest
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("helm", root=False, allow_module_level=True)

CHART = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def login(helm, server, user="admin", password=PASSWORD):
    return helm.call("registry", "login", server.name, "--plain-http", "-u", user,
                     "--password-stdin", stdin=password)


@pytest.fixture
def anonymous(built):
    tool = built("helm")
    for name in ("CONFIG", "CACHE", "DATA"):
        tool.env[f"HELM_{name}_HOME"] = tool.env["HOME"] + "/helm-" + name.lower()
    return tool


@pytest.fixture
def helm(anonymous, server):
    done = login(anonymous, server)
    assert done.returncode == 0, done.stdout
    return anonymous


@pytest.fixture
def package(anonymous, tmp_path):
    """Makes the package of a chart in a version; its path."""
    def make(version, name="demo"):
        chart = tmp_path / "charts" / name
        (chart / "templates").mkdir(parents=True, exist_ok=True)
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n"
                                          "description: A chart\nannotations: {kind: test}\n")
        (chart / "templates" / "map.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
            "data: {version: {{ .Chart.Version | quote }}}\n")
        anonymous.run("package", chart, "-d", tmp_path / "packages")
        return tmp_path / "packages" / f"{name}-{version}.tgz"
    return make


def test_round(helm, server, admin, package, tmp_path):
    path = package("1.2.3")
    text = helm.run("push", "--plain-http", path, f"oci://{server.name}/helm/round")
    stored = admin.manifest("helm/round/demo", "1.2.3")
    manifest = json.loads(stored.body)
    assert manifest["config"]["mediaType"] == CHART
    assert [d["mediaType"] for d in manifest["layers"]] == [CONTENT]
    assert manifest["annotations"]["org.opencontainers.image.version"] == "1.2.3"
    assert digest(stored.body) in text
    name = f"oci://{server.name}/helm/round/demo"
    helm.run("pull", "--plain-http", name, "--version", "1.2.3", "-d", tmp_path)
    assert (tmp_path / "demo-1.2.3.tgz").read_bytes() == path.read_bytes()
    assert "description: A chart" in helm.out("show", "chart", "--plain-http", name)
    text = helm.out("template", "mine", name, "--plain-http", "--version", "1.2.3")
    assert 'version: "1.2.3"' in text and "name: mine" in text
    helm.run("pull", "--plain-http", f"{name}@{digest(stored.body)}", "--untar",
             "--untardir", tmp_path / "untar")
    assert (tmp_path / "untar/demo/templates/map.yaml").is_file()


def test_build_metadata(helm, server, admin, package, tmp_path):
    """A plus in a version is an underscore in the tag."""
    path = package("1.0.0+build.7")
    helm.run("push", "--plain-http", path, f"oci://{server.name}/helm/plus")
    assert admin.tags("helm/plus/demo").json()["tags"] == ["1.0.0_build.7"]
    name = f"oci://{server.name}/helm/plus/demo"
    helm.run("pull", "--plain-http", name, "--version", "1.0.0+build.7", "-d", tmp_path)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert "version: 1.0.0+build.7" in helm.out("show", "chart", "--plain-http", name)


def test_newest_of_many(berth, anonymous, package):
    """Ranges are resolved from the tag list, which comes in pages."""
    server = berth({"limits.page": "3"})
    assert login(anonymous, server).returncode == 0
    helm, repository = anonymous, f"oci://{server.name}/helm/many"
    for version in ("1.0.0", "1.10.0", "1.2.0", "1.9.0", "2.0.0", "1.9.1-rc.1", "0.1.0"):
        helm.run("push", "--plain-http", package(version), repository)
    since = server.log_mark()
    for wanted, found in (("^1.0.0", "1.10.0"), ("~1.9", "1.9.0"), ("", "2.0.0"),
                          (">1.9.0-0 <1.9.2", "1.9.1-rc.1")):
        more = ("--version", wanted) if wanted else ()
        text = helm.out("show", "chart", "--plain-http", f"{repository}/demo", *more)
        assert re.search(r"^version: (.*)$", text, re.M)[1] == found, wanted
    pages = clients.requests(server, since, "GET", "/v2/helm/many/demo/tags/list$")
    assert len(pages) >= 12, "four lists of seven tags in pages of three"


def test_dependency(helm, server, package, tmp_path):
    """A chart that depends on one in the registry."""
    helm.run("push", "--plain-http", package("0.3.0", "base"), f"oci://{server.name}/helm/deps")
    package("1.0.0", "top")
    chart = tmp_path / "charts" / "top"
    with (chart / "Chart.yaml").open("a") as f:
        f.write(f"dependencies:\n- {{name: base, version: 0.x, "
                f"repository: 'oci://{server.name}/helm/deps'}}\n")
    helm.run("dependency", "update", "--plain-http", chart)
    found = (chart / "charts" / "base-0.3.0.tgz").read_bytes()
    pushed = (tmp_path / "packages" / "base-0.3.0.tgz").read_bytes()
    assert hashlib.sha256(found).digest() == hashlib.sha256(pushed).digest()


def test_what_people_read(anonymous, server, eve, admin, package):
    helm, path = anonymous, package("1.0.0")
    done = login(helm, server, password="wrong")
    assert done.returncode and re.search("unauthorized|401", done.stdout, re.I), done.stdout
    name = f"oci://{server.name}/private/helm"
    for who in (None, eve):
        if who:
            assert login(helm, server, who).returncode == 0
        for text in (helm.fails("push", "--plain-http", path, name),
                     helm.fails("show", "chart", "--plain-http", f"{name}/demo", "--version", "1.0.0"),
                     helm.fails("show", "chart", "--plain-http", f"{name}/demo")):
            assert re.search("unauthorized|401|denied", text, re.I) and "EOF" not in text, text
    login(helm, server)
    helm.run("push", "--plain-http", path, name)
    text = helm.fails("show", "chart", "--plain-http", f"{name}/demo", "--version", "9.9.9")
    assert re.search("not found", text, re.I), text
