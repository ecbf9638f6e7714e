#include "base/err.h"

#include <errno.h>

static const struct {
    const char *name, *code, *text;
    int status;
} table[ERR_COUNT] = {
    [OK] = {"OK", "OK", "ok", 200},
#define X(name, status, code, text) [ERR_##name] = {#name, code, text, status},
#include "base/errors.def"
#undef X
};

const char *err_name(enum err e)
{
    return table[e].name;
}

int err_status(enum err e)
{
    return table[e].status;
}

const char *err_code(enum err e)
{
    return table[e].code;
}

const char *err_text(enum err e)
{
    return table[e].text;
}

enum err err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NO_SPACE;
    case EMFILE:
    case ENFILE:
        return ERR_NO_FILES;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}

enum err error_set(struct arena *a, struct error *e, enum err code, const char *fmt, ...)
{
    if (e->code)
        return code;
    va_list args;
    va_start(args, fmt);
    e->message = arena_vprintf(a, fmt, args);
    va_end(args);
    e->code = code;
    return code;
}
