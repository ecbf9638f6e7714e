/* docs/metrics.md. */
#include "base/metrics.h"
#include "cli/docs.h"

static const char prologue[] =
    "<!-- Written by `berth help --metrics` from src/base/metrics.def. Do not edit. -->\n"
    "\n"
    "# Metrics\n"
    "\n"
    "`/metrics` answers in OpenMetrics 1.0.0 where the client's `Accept` header prefers that, as\n"
    "Prometheus' does, else in the Prometheus text format 0.0.4.\n"
    "\n"
    "## Who may read them\n"
    "\n"
    "Nobody without a credential on the addresses of `listen`. There are three ways:\n"
    "\n"
    "- **`metrics.listen`**: an address of its own, such as `127.0.0.1:9500`, where `/metrics`,\n"
    "  `/healthz` and `/readyz` are served in cleartext to whoever can connect, and nothing else\n"
    "  is. Keep it off public networks. It is served by a thread of its own and answers also when\n"
    "  all workers are busy, and while the server drains after SIGTERM.\n"
    "- **the registry's own addresses**: with `Authorization: Bearer` and the secret\n"
    "  `metrics.token`, or as an administrator with user name and password.\n"
    "- **the admin socket**, as root or as the user who runs the server:\n"
    "  `curl --unix-socket DIR/admin.sock http://localhost/metrics`.\n"
    "\n"
    "```yaml\n"
    "# prometheus.yml\n"
    "scrape_configs:\n"
    "  - job_name: berth\n"
    "    scheme: https\n"
    "    authorization:\n"
    "      credentials_file: /etc/prometheus/berth-token\n"
    "    static_configs:\n"
    "      - targets: [registry.example.com]\n"
    "```\n"
    "\n"
    "Alert rules and a dashboard are in [deploy/prometheus](../deploy/prometheus).\n"
    "\n"
    "## What to expect\n"
    "\n"
    "Counters start at 0 with the process. No label is ever a user, a repository, a digest or an\n"
    "address: the number of series does not grow with what is stored or who asks. `route` is the\n"
    "pattern of a row in the table of routes, such as `/v2/{name...}/manifests/{reference}`, or\n"
    "`none` where none matched; `method` is `none` for what was no HTTP request. Series by route\n"
    "appear with the first request.\n"
    "\n";

void docs_metrics(struct buf *out)
{
    buf_add(out, str_make(prologue, sizeof prologue - 1));
    metrics_reference(out);
}
