/* load: a load generator for registries. `load help` says how to call it. */
#include "load.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "load get  [OPTIONS] [-X METHOD] [-r BYTES -t TOTAL] URL   one request again and again\n"
    "load put  [OPTIONS] -f FILE URL         FILE as body; " NUMBER " in all becomes a number\n"
    "load push [OPTIONS] [-p] -z BYTES URL   blobs to http://IP:PORT/v2/NAME; -p: POST PATCH PUT\n"
    "load idle [OPTIONS] URL                 one request each, then nothing\n"
    "load slow [OPTIONS] -b RATE URL         answers read at RATE bytes a second\n"
    "load loris [OPTIONS] URL                heads of one byte a second that never end\n"
    "load stall [OPTIONS] -z BYTES URL       pushes with PATCH that stop after 256 KiB\n"
    "load sha256 -s SECONDS [-c THREADS]     SHA-256 rate of so many threads together\n"
    "load disk -z BYTES FILE                 this disk's rate of write and fsync\n"
    "load receive [-c STREAMS] -z BYTES FILE the most any receiver could do: socket, SHA-256, "
    "FILE\n"
    "OPTIONS: -c CONNECTIONS (1)  -s SECONDS (60)  -n OPERATIONS  -H 'Name: value'  -S SEED\n"
    "         -o NUMBER of the first operation (0)\n"
    "         -R  print \"ready\" when the digests are made and the connections open\n"
    "         -2  HTTP/2, with -m STREAMS (1) at a time on each connection\n"
    "URL is http://IP:PORT/PATH, or https: TLS 1.3, any certificate.\n"
    "Prints one line of JSON (idle, slow, loris, stall: \"ready\" first); exit 1 when an "
    "operation\n"
    "failed, 2 when called wrongly.\n";

struct command {
    const char *name;
    enum { TIMED, CROWD, SHA256, DISK, RECEIVE } kind;
    int what; /* enum mode or enum crowd */
};
static const struct command commands[] = {
    {"get", TIMED, MODE_GET},     {"put", TIMED, MODE_PUT},    {"push", TIMED, MODE_PUSH},
    {"idle", CROWD, CROWD_IDLE},  {"slow", CROWD, CROWD_SLOW}, {"loris", CROWD, CROWD_LORIS},
    {"stall", TIMED, MODE_STALL}, {"sha256", SHA256, 0},       {"disk", DISK, 0},
    {"receive", RECEIVE, 0},
};

static int usage(void)
{
    fputs(usage_text, stderr);
    return 2;
}

static bool skip_prefix(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*text, prefix, n) != 0)
        return false;
    *text += n;
    return true;
}

/* https://127.0.0.1:5000/path */
static bool parse_url(struct load *l, const char *url)
{
    static char host[64];
    char ip[INET_ADDRSTRLEN];
    struct in_addr address;
    l->tls = skip_prefix(&url, "https://");
    if (!l->tls && !skip_prefix(&url, "http://"))
        return false;
    size_t ip_n = strspn(url, "0123456789.");
    if (ip_n >= sizeof ip || url[ip_n] != ':')
        return false;
    memcpy(ip, url, ip_n);
    ip[ip_n] = '\0';
    char *path;
    unsigned long port = strtoul(url + ip_n + 1, &path, 10);
    if (port == 0 || port > 65535 || *path != '/' || inet_pton(AF_INET, ip, &address) != 1)
        return false;
    snprintf(host, sizeof host, "%s:%lu", ip, port);
    l->host = host;
    l->address = address.s_addr;
    l->port = (uint16_t)port;
    l->path = path;
    return strlen(path) < PATH_BYTES_MAX / 2;
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

/* "Name: value"; cut in place, the name made small as HTTP/2 wants it. */
static bool add_header(struct load *l, char *line)
{
    char *colon = strchr(line, ':');
    if (!colon || l->headers_n == HEADERS_MAX || strlen(line) > 2048)
        return false;
    *colon = '\0';
    for (char *p = line; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    l->headers[l->headers_n++] = (struct header){line, colon + 1 + strspn(colon + 1, " ")};
    return true;
}

static bool parse_option(struct load *l, int o)
{
    switch (o) {
    case 'c':
        l->connections = (unsigned)strtoul(optarg, NULL, 10);
        return l->connections > 0;
    case 'm':
        l->streams = (unsigned)strtoul(optarg, NULL, 10);
        return l->streams > 0;
    case '2':
        return l->h2 = true;
    case 's':
        l->duration_us = (uint64_t)(strtod(optarg, NULL) * 1e6);
        return l->duration_us > 0;
    case 'n':
        l->operations_max = strtoull(optarg, NULL, 10);
        return true;
    case 'o':
        l->first = strtoull(optarg, NULL, 10);
        return true;
    case 'H':
        return add_header(l, optarg);
    case 'X':
        l->method = optarg;
        return true;
    case 'r':
        l->range_bytes = strtoull(optarg, NULL, 10);
        return true;
    case 't':
        l->range_total = strtoull(optarg, NULL, 10);
        return true;
    case 'b':
        l->rate = strtoull(optarg, NULL, 10);
        return true;
    case 'f':
        return read_text(l, optarg);
    case 'z':
        l->blob_bytes = strtoull(optarg, NULL, 10);
        return true;
    case 'R':
        return l->says_ready = true;
    case 'p':
        l->mode = MODE_PUSH_PATCH;
        return true;
    case 'S':
        l->seed = strtoull(optarg, NULL, 10);
        return true;
    default:
        return false;
    }
}

static bool parse_options(struct load *l, int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "2c:s:m:n:o:H:X:r:t:b:f:z:pRS:")) != -1;)
        if (!parse_option(l, o))
            return false;
    return l->range_bytes <= l->range_total;
}

static void report(const struct load *l)
{
    double seconds = (double)(l->end_us - l->start_us) / 1e6;
    printf("{\"operations\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"returned\": %" PRIu64 ", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64
           ", \"cpu\": %.3f, "
           "\"p50_us\": %" PRIu64 ", \"p90_us\": %" PRIu64 ", \"p99_us\": %" PRIu64 ", "
           "\"p999_us\": %" PRIu64 ", \"max_us\": %" PRIu64 ", \"first_error\": \"%s\"}\n",
           l->done, l->errors, seconds, l->returned, l->bytes_in, l->bytes_out, l->cpu,
           histogram_quantile(&l->latency_us, 0.5), histogram_quantile(&l->latency_us, 0.9),
           histogram_quantile(&l->latency_us, 0.99), histogram_quantile(&l->latency_us, 0.999),
           l->latency_us.max, l->first_error);
}

static int run(struct load *l)
{
    if (l->mode == MODE_PUT && l->text_n == 0)
        return usage();
    if (l->mode >= MODE_PUSH) {
        if (l->blob_bytes == 0 || (l->operations_max == UINT64_MAX && l->mode != MODE_STALL))
            return usage();
        if (!blobs_prepare(l)) {
            fputs("load: no memory for the blobs\n", stderr);
            return 1;
        }
    }
    bool ok = loop_run(l);
    free(l->blobs);
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
                            .connections = 1,
                            .streams = 1,
                            .duration_us = 60000000,
                            .operations_max = UINT64_MAX,
                            .rate = 65536};
    const struct command *command = commands, *end = commands + sizeof commands / sizeof *commands;
    while (argc > 1 && command < end && strcmp(argv[1], command->name) != 0)
        command++;
    if (argc < 2 || command == end)
        return usage();
    if (command->kind == TIMED)
        l.mode = (enum mode)command->what;
    if (!parse_options(&l, argc - 1, argv + 1))
        return usage();
    const char *operand = argc - 1 - optind == 1 ? argv[optind + 1] : NULL;
    if (command->kind == SHA256)
        return operand || !probe_sha256((double)l.duration_us / 1e6, l.connections);
    bool is_file = command->kind == DISK || command->kind == RECEIVE;
    if (!operand || (!is_file && !parse_url(&l, operand)))
        return usage();
    int status;
    if (command->kind == DISK)
        status = !probe_disk(operand, l.blob_bytes);
    else if (command->kind == RECEIVE)
        status = !receiver_run(&l, operand);
    else if (command->kind == CROWD)
        status = !crowd_run(&l, (enum crowd)command->what);
    else
        status = run(&l);
    free((char *)l.text);
    return status;
}
