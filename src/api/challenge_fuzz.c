#include "api/challenge.h"
#include "api/v2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The input is a Host, a query and a name, a line each. Whatever it is, the header has its quotes
 * where they belong: an even number, and no byte outside printable ASCII. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    static const str hosts[] = {STR_INIT("reg.example.com")};
    struct conf conf = {.server_hosts = {hosts, 1}};
    struct app app = {.conf = &conf};
    struct request req = {.arena = &a, .method = METHOD_POST, .local = STR("10.0.0.5:5000")};
    struct v2_call call = {.app = &app, .action = ACTION_PUSH};
    str rest = str_make(data, n), name;
    struct response res;
    str_cut(rest, '\n', &req.host, &rest);
    str_cut(rest, '\n', &req.query, &name);
    if (name_parse(&a, name, &call.name, &req.error))
        call.name = (struct name){0};
    response_init(&res, &req);
    challenge_add(&res, &call);
    str value = res.headers[0].value;
    size_t quotes = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < ' ' || value.p[i] > '~' || value.p[i] == '\\')
            __builtin_trap();
        quotes += value.p[i] == '"';
    }
    if (quotes != (call.name.asked.n ? 6 : 4))
        __builtin_trap();
    response_release(&res);
    return 0;
}
