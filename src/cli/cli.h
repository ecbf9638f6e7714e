/* The command line: one function a command, all named in commands.def. */
#pragma once

#include "base/buf.h"

/* Exit codes. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* it was asked properly and did not work */
    CLI_USAGE = 2,  /* the command line or the configuration is wrong */
};

/* argv[0] is the command's own name. Returns the exit code. */
#define COMMAND(name, fn, words, flags, help, details) int fn(int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND

/* Writes the text to standard output; CLI_OK, or CLI_FAILED after saying why it cannot. */
int cli_print(const struct buf *text);
/* One line to standard error: "berth: ...". */
void cli_error(const char *fmt, ...) PRINTF(1, 2);
/* Says that there is no such command, and which one was perhaps meant. Returns CLI_USAGE. */
int cli_no_command(str name);
