#include "cli/options.h"
#include "db/db.h"

#include <openssl/crypto.h>

int cmd_version(int argc, char **argv)
{
    ARENA_CLEANUP struct arena a = {0};
    BUF_CLEANUP struct buf out = BUF_INIT(256);
    struct flags flags;
    int code;
    if (!cli_parse("version", no_flags, argc, argv, &a, &flags, &code) ||
        !cli_words("version", &flags, 0, &code))
        return code;
    buf_printf(&out, "berth %s, schema %u, %s %s, openssl %s\n", BERTH_VERSION, db_schema(),
               db_engine(), db_engine_version(), OpenSSL_version(OPENSSL_VERSION_STRING));
    return cli_print(&out);
}
