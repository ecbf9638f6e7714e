#include "conf/conf.h"

#include "base/test.h"

#include <stdlib.h>

static struct arena a;
static str warnings;

static void warn(str line, void *arg)
{
    warnings = arena_printf(&a, "%.*s%.*s\n", STR_ARG(warnings), STR_ARG(line));
}

/* Loads from a file's text, an environment and --set values, each of which may be NULL. Returns
 * the error line, empty when all is well. */
static str load(struct conf *conf, const char *file, const char *const *environ,
                const struct conf_set *set)
{
    struct conf_sources sources = {.file = STR("f.yaml"),
                                   .file_text = file ? str_from(file) : STR(""),
                                   .environ = environ,
                                   .sets = set,
                                   .warn = warn};
    struct error why = {0};
    while (set && set[sources.set_n].flag)
        sources.set_n++;
    warnings = STR("");
    enum err e = conf_load(conf, &sources, &a, &why);
    CHECK_INT(e, why.message.n ? ERR_CONFIG : OK);
    return why.message;
}

#define ENV(...)        ((const char *const[]){__VA_ARGS__, NULL})
#define SET(key, value) ((const struct conf_set[]){{"--set", STR(key), STR(value)}, {0}})

static void file_fails(const char *file, const char *want)
{
    struct conf conf;
    CHECK_STR(load(&conf, file, NULL, NULL), want);
}

static void defaults(void)
{
    struct conf conf;
    struct conf_sources none = {0};
    struct error why = {0};
    CHECK_INT(conf_load(&conf, &none, &a, &why), OK);
    CHECK_STR(conf.data, "./berth-data");
    CHECK_INT(conf.listen.n, 1);
    CHECK_STR(conf.listen.items[0], "127.0.0.1:5000");
    CHECK_STR(conf.server_url, "");
    CHECK_INT(conf.server_hosts.n, 0);
    CHECK_INT(conf.auth_anonymous, 0);
    CHECK_INT(conf.auth_token_lifetime_ms, 300000);
    CHECK_INT(conf.limits_manifest_bytes, 4 << 20);
    CHECK_INT(conf.limits_page, 1000);
    CHECK_INT(conf.log_level, 1);
    CHECK(conf.projects_create_on_push);
    CHECK_INT(conf.origins[CONF_ID_data].source, CONF_DEFAULT);
    arena_release(&a);
}

static void later_sources_win(void)
{
    struct conf conf;
    const char *file = "limits: {page: 10, ranges: 10, uploads: 10}";
    str why = load(&conf, file, ENV("BERTH_LIMITS_RANGES=20", "BERTH_LIMITS_UPLOADS=20", "HOME=/"),
                   SET("limits.uploads", "30"));
    CHECK_STR(why, "");
    CHECK_INT(conf.limits_page, 10);
    CHECK_INT(conf.limits_ranges, 20);
    CHECK_INT(conf.limits_uploads, 30);
    CHECK_STR(conf.origins[CONF_ID_limits_page].where, "f.yaml:1");
    CHECK_STR(conf.origins[CONF_ID_limits_ranges].where,
              "environment variable BERTH_LIMITS_RANGES");
    CHECK_STR(conf.origins[CONF_ID_limits_uploads].where, "--set");
    CHECK_STR(conf.origins[CONF_ID_limits_head_bytes].where, "default");
    const struct conf_set twice[] = {
        {"--set", STR("limits.page"), STR("1")}, {"--set", STR("limits.page"), STR("2")}, {0}};
    CHECK_STR(load(&conf, NULL, ENV("BERTH_LIMITS_RANGES=1", "BERTH_LIMITS_RANGES=2"), twice), "");
    CHECK_INT(conf.limits_page, 2);
    CHECK_INT(conf.limits_ranges, 1);
    /* A mistake counts even when a later source would hide it. */
    CHECK_STR(load(&conf, "limits: {page: x}", NULL, SET("limits.page", "1")),
              "f.yaml:1: limits.page is \"x\"; it must be a whole number from 1 to 10000");
    arena_release(&a);
}

static void every_type(void)
{
    struct conf conf;
    CHECK_STR(load(&conf,
                   "data: /srv\n"
                   "listen: ['[::]:80', 0.0.0.0:80]\n"
                   "server:\n"
                   "  url: https://r.example.com\n"
                   "  hosts: a:5000, b\n"
                   "  trusted_proxies: [10.0.0.0/8]\n"
                   "auth: {anonymous: push, token_lifetime: 2m, admin_password: \"a b\"}\n"
                   "limits: {head: 2KiB}\n"
                   "log: {format: json, access: false}\n",
                   NULL, NULL),
              "");
    CHECK_STR(conf.data, "/srv");
    CHECK_INT(conf.listen.n, 2);
    CHECK_STR(conf.listen.items[0], "[::]:80");
    CHECK_STR(conf.listen.items[1], "0.0.0.0:80");
    CHECK_STR(conf.server_url, "https://r.example.com");
    CHECK_INT(conf.server_hosts.n, 2);
    CHECK_STR(conf.server_hosts.items[1], "b");
    CHECK_INT(conf.server_trusted_proxies.n, 1);
    CHECK_STR(conf.auth_admin_password, "a b");
    CHECK_INT(conf.auth_anonymous, 2);
    CHECK_INT(conf.auth_token_lifetime_ms, 120000);
    CHECK_INT(conf.limits_head_bytes, 2048);
    CHECK_INT(conf.log_format, 1);
    CHECK(!conf.log_access);
    CHECK_STR(load(&conf, "server: {hosts: [a]}", ENV("BERTH_SERVER_HOSTS="), NULL), "");
    CHECK_INT(conf.server_hosts.n, 0);
    CHECK_STR(load(&conf, "server:\nlimits:\n", NULL, NULL), "");
    arena_release(&a);
}

static void explains_values(void)
{
    struct conf conf;
    file_fails("\nlimits:\n  page: 0\n",
               "f.yaml:3: limits.page is \"0\"; it must be a whole number from 1 to 10000");
    file_fails("limits: {page: [1]}",
               "f.yaml:1: limits.page is a list; it must be a whole number from 1 to 10000");
    file_fails("limits: {page: {a: 1}}",
               "f.yaml:1: limits.page is a section; it must be a whole number from 1 to 10000");
    file_fails("limits: {page: }",
               "f.yaml:1: limits.page is \"\"; it must be a whole number from 1 to 10000");
    file_fails("limits: {head: 4MB}", "f.yaml:1: limits.head is \"4MB\"; it must be a size from "
                                      "1KiB to 1MiB (units: B, KiB, MiB, GiB, TiB)");
    file_fails("log: {level: loud}",
               "f.yaml:1: log.level is \"loud\"; it must be debug, info, warn or error");
    file_fails("log: {access: yes}", "f.yaml:1: log.access is \"yes\"; it must be false or true");
    file_fails("data: ''", "f.yaml:1: data is \"\"; it must be a path");
    file_fails("data: \"a\\nb\"", "f.yaml:1: data is \"a?b\"; it must be a path");
    file_fails(
        "listen: [1.2.3.4:5, localhost:5000]",
        "f.yaml:1: listen has the entry \"localhost:5000\": its address is not numeric; each "
        "must be a numeric address and a port, such as 127.0.0.1:5000 or https://[::]:443, "
        "or a socket, such as unix:/run/berth/http.sock");
    file_fails("listen: []", "f.yaml:1: listen is empty; it needs at least one entry: a numeric "
                             "address and a port, such as 127.0.0.1:5000 or https://[::]:443, or a "
                             "socket, such as unix:/run/berth/http.sock");
    file_fails(
        "server: {url: https://r.example.com/}",
        "f.yaml:1: server.url is \"https://r.example.com/\"; it must be http://host[:port] or "
        "https://host[:port], without a path");
    file_fails(
        "server: {trusted_proxies: proxy}",
        "f.yaml:1: server.trusted_proxies has the entry \"proxy\"; each must be an address or "
        "CIDR block, such as 10.0.0.7 or 10.0.0.0/8");
    CHECK_STR(load(&conf, NULL, ENV("BERTH_LIMITS_PAGE=many"), NULL),
              "environment variable BERTH_LIMITS_PAGE: limits.page is \"many\"; it must be a whole "
              "number from 1 to 10000");
    CHECK_STR(
        load(&conf, NULL, NULL, (const struct conf_set[]){{"--data", STR("data"), STR("")}, {0}}),
        "--data: data is \"\"; it must be a path");
    arena_release(&a);
}

static void explains_keys(void)
{
    struct conf conf;
    file_fails("limits:\n  pages: 5\n",
               "f.yaml:2: there is no option \"limits.pages\"; did you mean \"limits.page\"?");
    file_fails("limit:\n  page: 5\n",
               "f.yaml:1: there is no option \"limit\"; did you mean \"limits\"?");
    file_fails("nothing: {}", "f.yaml:1: there is no option \"nothing\"; \"berth help options\" "
                              "lists all");
    file_fails("limits: 5", "f.yaml:1: \"limits\" has no value of its own; its options stand below "
                            "it, indented");
    file_fails("a: &x 1", "f.yaml:1: anchors (&) are not supported; quote the value if it is one");
    CHECK_STR(load(&conf, NULL, NULL, SET("limits.pages", "secret")),
              "--set: there is no option \"limits.pages\"; did you mean \"limits.page\"?");
    CHECK_STR(
        load(&conf, NULL, ENV("BERTH_LITSEN=x", "BERTH_CONFIG=f", "BERTH_PORT_5000_TCP=y"), NULL),
        "");
    CHECK_STR(warnings, "the environment variable BERTH_LITSEN is no option and has no effect; did "
                        "you mean BERTH_LISTEN?\n"
                        "the environment variable BERTH_PORT_5000_TCP is no option and has no "
                        "effect\n");
    arena_release(&a);
}

/* Writes a file below the test's directory and returns its path. */
static const char *file_with(const char *name, str content)
{
    const char *path = arena_printf(&a, "%s/%s", test_dir(), name).p;
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(content.p, 1, content.n, f) != content.n)
        abort();
    fclose(f);
    return path;
}

static str secret_from(str content)
{
    struct conf conf;
    str path = str_from(file_with("secret", content));
    const struct conf_set sets[] = {{"--set", STR("auth.admin_password_file"), path}, {0}};
    str why = load(&conf, NULL, NULL, sets);
    return why.n ? why : conf.auth_admin_password;
}

static void secrets_come_from_files(void)
{
    struct conf conf;
    CHECK_STR(secret_from(STR("hunter2")), "hunter2");
    CHECK_STR(secret_from(STR("hunter2\n")), "hunter2");
    CHECK_STR(secret_from(STR("hunter2\r\n")), "hunter2");
    CHECK_STR(secret_from(STR(" hunter2 ")), " hunter2 ");
    CHECK(str_ends(secret_from(STR("\n")), STR("is empty")));
    CHECK(str_ends(secret_from(STR("hunter2\n\n")), STR("control characters")));

    char large[5000];
    memset(large, 'x', sizeof large);
    CHECK_INT(secret_from(str_make(large, 4096)).n, 4096);
    CHECK(str_ends(secret_from(str_make(large, 4097)), STR("control characters")));
    CHECK(str_ends(secret_from(str_make(large, 5000)), STR("too large")));

    const char *path = file_with("secret", STR("hunter2\n"));
    CHECK_STR(load(&conf, arena_printf(&a, "auth: {admin_password_file: %s}", path).p, NULL, NULL),
              "");
    CHECK_STR(conf.auth_admin_password, "hunter2");
    const char *variable = arena_printf(&a, "BERTH_AUTH_ADMIN_PASSWORD_FILE=%s", path).p;
    CHECK_STR(load(&conf, "auth: {admin_password: other}", ENV(variable), NULL), "");
    CHECK_STR(conf.auth_admin_password, "hunter2");

    CHECK_STR(load(&conf, NULL, ENV(variable, "BERTH_AUTH_ADMIN_PASSWORD=x"), NULL),
              "environment variable BERTH_AUTH_ADMIN_PASSWORD: auth.admin_password and "
              "auth.admin_password_file are both given; keep one");
    file_fails("auth: {admin_password_file: /nonexistent, admin_password: x}",
               "f.yaml:1: auth.admin_password_file: cannot read \"/nonexistent\": No such file or "
               "directory");
    file_fails(
        "server: {url_file: x}",
        "f.yaml:1: there is no option \"server.url_file\"; \"berth help options\" lists all");
    arena_release(&a);
}

static void secrets_stay_out_of_errors(void)
{
    struct conf conf;
    const char *const files[] = {
        "auth: {admin_password: \"hun\\nter2\"}",
        "auth: {admin_password: [hunter2]}",
        "auth: {admin_password: {a: hunter2}}",
        "auth: {admin_passwort: hunter2}",
        "auth: {admin_password: &hunter2 x}",
        "auth: {admin_password: hunter2: x}",
        "auth: {admin_password: @hunter2}",
        "auth: {admin_password: !hunter2 x}",
        "auth: hunter2",
        "hunter2",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        str why = load(&conf, files[i], NULL, NULL);
        CHECK(why.n > 0 && !str_contains(why, STR("hunter2")));
    }
    str why = load(&conf, NULL, ENV("BERTH_AUTH_ADMIN_PASSWORD=hunter\x01"), NULL);
    CHECK_STR(why,
              "environment variable BERTH_AUTH_ADMIN_PASSWORD: auth.admin_password has a value "
              "that is not allowed (not shown); it must be text of at most 4096 bytes, "
              "without line breaks and control characters");
    arena_release(&a);
}

static void reads_the_file(void)
{
    struct conf conf;
    struct error why = {0};
    struct conf_sources sources = {.file = str_from(file_with("b.yaml", STR("data: /x\n")))};
    CHECK_INT(conf_load(&conf, &sources, &a, &why), OK);
    CHECK_STR(conf.data, "/x");
    sources.file = STR("/nonexistent/b.yaml");
    CHECK_INT(conf_load(&conf, &sources, &a, &why), ERR_CONFIG);
    CHECK_STR(why.message,
              "cannot read the configuration file \"/nonexistent/b.yaml\": No such file "
              "or directory");
    why = (struct error){0};
    sources.file = STR("/");
    CHECK_INT(conf_load(&conf, &sources, &a, &why), ERR_CONFIG);
    CHECK_STR(why.message, "cannot read the configuration file \"/\": Is a directory");
    why = (struct error){0};
    sources.file = STR("/dev/zero");
    CHECK_INT(conf_load(&conf, &sources, &a, &why), ERR_CONFIG);
    CHECK_STR(why.message,
              "cannot read the configuration file \"/dev/zero\": the file is too large");
    arena_release(&a);
}

TESTS({"defaults", defaults}, {"later sources win", later_sources_win}, {"every type", every_type},
      {"explains values", explains_values}, {"explains keys", explains_keys},
      {"secrets come from files", secrets_come_from_files},
      {"secrets stay out of errors", secrets_stay_out_of_errors},
      {"reads the file", reads_the_file});
