#include "cli/cli.h"

#include "cli/docs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

int cli_print(const struct buf *text)
{
    for (size_t done = 0; done < text->n;) {
        ssize_t n = write(STDOUT_FILENO, text->p + done, text->n - done);
        if (n < 0 && errno != EINTR) {
            cli_error("cannot write to standard output: %s", strerrordesc_np(errno));
            return CLI_FAILED;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return CLI_OK;
}

void cli_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("berth: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_no_command(str name)
{
    str near = docs_nearest(name);
    if (near.n)
        cli_error("there is no command \"%.*s\"; did you mean \"%.*s\"?", STR_ARG(name),
                  STR_ARG(near));
    else
        cli_error("there is no command \"%.*s\"; \"berth help\" lists all", STR_ARG(name));
    return CLI_USAGE;
}
