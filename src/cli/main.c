#include "cli/cli.h"

static const struct command {
    str name;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, fn, words, flags, help, details) {STR_INIT(name), fn},
#include "cli/commands.def"
#undef COMMAND
};

int main(int argc, char **argv)
{
    str name = str_from(argc > 1 ? argv[1] : "help");
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
        name = STR("help");
    if (str_eq(name, STR("--version")))
        name = STR("version");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (str_eq(name, commands[i].name))
            return commands[i].run(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
    return cli_no_command(name);
}
