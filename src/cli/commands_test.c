/* The commands as a person meets them: exit code, and what they print. */
#include "base/test.h"
#include "cli/options.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct arena a;

/* What a command did. */
struct outcome {
    int code;
    str out, err;
};

/* Points `fd` at a fresh file and returns the descriptor it was. */
static int divert(int fd, const char *path)
{
    int before = dup(fd), file = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (before < 0 || file < 0 || dup2(file, fd) < 0)
        abort();
    close(file);
    return before;
}

/* Undoes divert and returns what was written. */
static str restore(int fd, int before)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *p = arena_alloc(&a, (size_t)n + 1);
    if (pread(fd, p, (size_t)n, 0) != n || dup2(before, fd) < 0)
        abort();
    close(before);
    return str_make(p, (size_t)n);
}

static struct outcome run(int (*command)(int argc, char **argv), const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    fflush(stdout);
    int out = divert(STDOUT_FILENO, arena_printf(&a, "%s/out", test_dir()).p);
    int err = divert(STDERR_FILENO, arena_printf(&a, "%s/err", test_dir()).p);
    struct outcome ret = {.code = command(argc, (char **)argv)};
    fflush(stderr);
    ret.err = restore(STDERR_FILENO, err);
    ret.out = restore(STDOUT_FILENO, out);
    return ret;
}

#define RUN(command, ...) run(command, (const char *const[]){__VA_ARGS__, NULL})

/* Fails with exactly this line. */
static void check_usage(struct outcome o, const char *want)
{
    CHECK_INT(o.code, CLI_USAGE);
    CHECK_STR(o.out, "");
    CHECK_STR(o.err, arena_printf(&a, "berth: %s\n", want).p);
}

static void version(void)
{
    struct outcome o = RUN(cmd_version, "version");
    CHECK_INT(o.code, CLI_OK);
    CHECK(str_starts(o.out, STR("berth " BERTH_VERSION ", schema ")));
    CHECK(str_contains(o.out, STR(", sqlite 3.")) && str_contains(o.out, STR(", openssl 3.")));
    check_usage(RUN(cmd_version, "version", "x"),
                "version: unexpected argument \"x\"; see \"berth help version\"");
    arena_release(&a);
}

static void help(void)
{
    CHECK(str_starts(RUN(cmd_help, "help").out, STR("Berth, a container registry.\n")));
    CHECK(str_starts(RUN(cmd_help, "help", "serve").out, STR("Usage: berth serve [FLAGS]\n")));
    CHECK(str_eq(RUN(cmd_help, "help", "config").out, RUN(cmd_config, "config", "--help").out));
    CHECK(str_contains(RUN(cmd_help, "help", "options").out, STR("\nlimits.page\n")));
    CHECK(str_starts(RUN(cmd_help, "help", "--man").out, STR(".\\\"")));
    CHECK(str_starts(RUN(cmd_help, "help", "--example").out, STR("# Configuration")));
    CHECK(str_contains(RUN(cmd_help, "help", "--markdown").out, STR("\n# Configuration\n")));
    check_usage(RUN(cmd_help, "help", "sevre"),
                "there is no command \"sevre\"; did you mean \"serve\"?");
    check_usage(RUN(cmd_help, "help", "nothing"),
                "there is no command \"nothing\"; \"berth help\" lists all");
    check_usage(
        RUN(cmd_help, "help", "--markdwn"),
        "help: there is no flag --markdwn; did you mean --markdown?; see \"berth help help\"");
    arena_release(&a);
}

/* Writes a file below the test's directory and returns its path. */
static char *file_with(const char *content)
{
    char *path = arena_cstr(&a, arena_printf(&a, "%s/berth.yaml", test_dir()));
    FILE *f = fopen(path, "w");
    if (!f || fputs(content, f) < 0)
        abort();
    fclose(f);
    return path;
}

static void check(void)
{
    struct outcome o = RUN(cmd_config, "config", "check");
    CHECK_INT(o.code, CLI_OK);
    CHECK_STR(o.out, "The configuration is valid.\n");
    CHECK_STR(o.err, "");
    char *path = file_with("limits: {page: 0}\n");
    const char *want = arena_printf(&a,
                                    "%s:1: limits.page is \"0\"; it must be a whole number from "
                                    "1 to 10000",
                                    path)
                           .p;
    check_usage(RUN(cmd_config, "config", "check", "--config", path), want);
    setenv("BERTH_CONFIG", path, 1);
    check_usage(RUN(cmd_config, "config", "check"), want);
    CHECK_INT(RUN(cmd_config, "config", "check", "--config=/dev/null").code, CLI_OK);
    unsetenv("BERTH_CONFIG");
    setenv("BERTH_PORT", "1", 1);
    o = RUN(cmd_config, "config", "check");
    CHECK_INT(o.code, CLI_OK);
    CHECK_STR(o.err, "berth: warning: the environment variable BERTH_PORT is no option and has no "
                     "effect\n");
    unsetenv("BERTH_PORT");
    check_usage(RUN(cmd_config, "config"), "config: \"check\" or \"show\" expected");
    check_usage(RUN(cmd_config, "config", "chek"),
                "config: \"check\" or \"show\" expected, not \"chek\"");
    check_usage(RUN(cmd_config, "config", "check", "show"),
                "config: unexpected argument \"show\"; see \"berth help config\"");
    /* The secret behind a forgotten "=" is not repeated. */
    check_usage(RUN(cmd_config, "config", "check", "--set", "auth.admin_password", "hunter2"),
                "--set: \"auth.admin_password\" has no =; write --set key=value");
    arena_release(&a);
}

static void show(void)
{
    struct outcome o = RUN(cmd_config, "config", "show", "--data=/d", "--listen", "[::]:1",
                           "--listen=1.2.3.4:5", "--set", "limits.page=7");
    CHECK_INT(o.code, CLI_OK);
    CHECK(str_contains(o.out, STR("data: /d ")) && str_contains(o.out, STR("# --data\n")));
    CHECK(str_contains(o.out, STR("listen: [\"[::]:1\", 1.2.3.4:5] ")));
    CHECK(str_contains(o.out, STR("page: 7 ")) && str_contains(o.out, STR("# --set\n")));
    arena_release(&a);
}

static void load(void)
{
    struct conf conf;
    struct flags flags;
    int code = 77;
    const char *const argv[] = {"serve", "--listen=1.2.3.4:5", NULL};
    CHECK(cli_parse("serve", conf_flags, 2, (char **)argv, &a, &flags, &code));
    CHECK(cli_load("serve", &flags, 0, &a, &conf, &code));
    CHECK_STR(conf.listen.items[0], "1.2.3.4:5");
    CHECK_INT(code, 77);
    arena_release(&a);
}

static void output_errors_count(void)
{
    int before = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    fflush(stdout);
    if (full < 0 || dup2(full, STDOUT_FILENO) < 0)
        abort();
    int code = cmd_version(1, (char **)(const char *const[]){"version", NULL});
    if (dup2(before, STDOUT_FILENO) < 0)
        abort();
    close(before);
    close(full);
    CHECK_INT(code, CLI_FAILED);
}

TESTS({"version", version}, {"help", help}, {"config check", check}, {"config show", show},
      {"load", load}, {"output errors count", output_errors_count});
