/* load: an HTTP/1.1 load generator for registries. `load help` says how to call it. */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "load get  [OPTIONS] [-X METHOD] [-r BYTES -t TOTAL] URL   one request again and again\n"
    "load put  [OPTIONS] -f FILE URL         FILE as body; " NUMBER " in both becomes a number\n"
    "load push [OPTIONS] [-p] -z BYTES URL   blobs to http://IP:PORT/v2/NAME; -p: POST PATCH PUT\n"
    "load sha256 -s SECONDS                  this core's SHA-256 rate\n"
    "load disk -z BYTES FILE                 this disk's rate of write and fsync\n"
    "OPTIONS: -c CONNECTIONS (1)  -s SECONDS (60)  -n OPERATIONS  -H 'Name: value'  -S SEED\n"
    "Prints one line of JSON; exit 1 when an operation failed, 2 when called wrongly.\n";

static int usage(void)
{
    fputs(usage_text, stderr);
    return 2;
}

/* http://127.0.0.1:5000/path */
static bool parse_url(struct load *l, const char *url)
{
    static const char scheme[] = "http://";
    static char host[64];
    char ip[INET_ADDRSTRLEN];
    struct in_addr address;
    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return false;
    const char *authority = url + strlen(scheme);
    size_t ip_n = strspn(authority, "0123456789.");
    if (ip_n >= sizeof ip || authority[ip_n] != ':')
        return false;
    memcpy(ip, authority, ip_n);
    ip[ip_n] = '\0';
    char *path;
    unsigned long port = strtoul(authority + ip_n + 1, &path, 10);
    if (port == 0 || port > 65535 || *path != '/' || inet_pton(AF_INET, ip, &address) != 1)
        return false;
    snprintf(host, sizeof host, "%s:%lu", ip, port);
    l->host = host;
    l->address = address.s_addr;
    l->port = (uint16_t)port;
    l->path = path;
    return true;
}

static bool read_text(struct load *l, const char *path)
{
    enum { TEXT_MAX = 4 << 20 };
    FILE *f = fopen(path, "re");
    char *text = malloc(TEXT_MAX);
    if (f && text) {
        l->text_n = fread(text, 1, TEXT_MAX, f);
        l->text = text;
    }
    if (f)
        fclose(f);
    return l->text_n > 0;
}

static bool add_header(struct load *l, const char *line)
{
    static char headers[HEAD_BYTES_MAX / 2];
    size_t n = strlen(headers);
    int m = snprintf(headers + n, sizeof headers - n, "%s\r\n", line);
    l->headers = headers;
    return m > 0 && (size_t)m < sizeof headers - n;
}

static bool parse_options(struct load *l, int argc, char **argv)
{
    bool ok = true;
    for (int o; (o = getopt(argc, argv, "c:s:n:H:X:r:t:f:z:pS:")) != -1;)
        switch (o) {
        case 'c':
            l->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            l->duration_us = (uint64_t)(strtod(optarg, NULL) * 1e6);
            break;
        case 'n':
            l->operations_max = strtoull(optarg, NULL, 10);
            break;
        case 'H':
            ok = ok && add_header(l, optarg);
            break;
        case 'X':
            l->method = optarg;
            break;
        case 'r':
            l->range_bytes = strtoull(optarg, NULL, 10);
            break;
        case 't':
            l->range_total = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            ok = ok && read_text(l, optarg);
            break;
        case 'z':
            l->blob_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            l->mode = MODE_PUSH_PATCH;
            break;
        case 'S':
            l->seed = strtoull(optarg, NULL, 10);
            break;
        default:
            ok = false;
        }
    return ok && l->connections > 0 && l->duration_us > 0 && l->range_bytes <= l->range_total;
}

static void report(const struct load *l)
{
    double seconds = (double)(l->end_us - l->start_us) / 1e6;
    printf("{\"operations\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", \"cpu\": %.3f, "
           "\"p50_us\": %" PRIu64 ", \"p90_us\": %" PRIu64 ", \"p99_us\": %" PRIu64 ", "
           "\"p999_us\": %" PRIu64 ", \"max_us\": %" PRIu64 ", \"first_error\": \"%s\"}\n",
           l->done, l->errors, seconds, l->bytes_in, l->bytes_out, l->cpu,
           histogram_quantile(&l->latency_us, 0.5), histogram_quantile(&l->latency_us, 0.9),
           histogram_quantile(&l->latency_us, 0.99), histogram_quantile(&l->latency_us, 0.999),
           l->latency_us.max, l->first_error);
}

static int run(struct load *l, const char *url)
{
    if (!parse_url(l, url) || (l->mode == MODE_PUT && l->text_n == 0))
        return usage();
    if (l->mode >= MODE_PUSH) {
        if (l->blob_bytes == 0 || l->operations_max == UINT64_MAX)
            return usage();
        if (!blobs_prepare(l)) {
            fputs("load: no memory for the blobs\n", stderr);
            return 1;
        }
    }
    bool ok = loop_run(l);
    free(l->blobs);
    free(l->block);
    if (!ok) {
        perror("load: cannot connect");
        return 1;
    }
    report(l);
    return l->errors > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct load l = {.method = "GET",
                            .headers = "",
                            .connections = 1,
                            .duration_us = 60000000,
                            .operations_max = UINT64_MAX};
    static const char *const modes[] = {"get", "put", "push", "sha256", "disk"};
    size_t mode = 0;
    while (argc > 1 && mode < 5 && strcmp(argv[1], modes[mode]) != 0)
        mode++;
    if (argc < 2 || mode == 5)
        return usage();
    if (mode <= MODE_PUSH)
        l.mode = (enum mode)mode;
    bool ok = parse_options(&l, argc - 1, argv + 1);
    const char *operand = argc - 1 - optind == 1 ? argv[optind + 1] : NULL;
    if (!ok || (!operand && mode != 3))
        return usage();
    if (mode == 3)
        return probe_sha256((double)l.duration_us / 1e6) ? 0 : 1;
    int status = mode == 4 ? (probe_disk(operand, l.blob_bytes) ? 0 : 1) : run(&l, operand);
    free((char *)l.text);
    return status;
}
