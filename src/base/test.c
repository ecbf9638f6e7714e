#include "base/test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static bool failed;
static char dir[256];

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("# %s:%d: ", file, line);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    failed = true;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

const char *test_dir(void)
{
    if (dir[0])
        return dir;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/berth-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        exit(99);
    }
    return dir;
}

int test_main(int argc, char **argv, const struct test *tests, size_t n)
{
    const char *filter = argc > 1 ? argv[1] : "";
    size_t failures = 0, ran = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < n; i++) {
        if (!strstr(tests[i].name, filter))
            continue;
        failed = false;
        tests[i].run();
        failures += failed;
        printf("%sok %zu - %s\n", failed ? "not " : "", ++ran, tests[i].name);
    }
    printf("1..%zu\n", ran);
    if (dir[0])
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return failures || !ran;
}
