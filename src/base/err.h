/* Result codes: one table (errors.def) maps a code to its text, HTTP status and OCI code.
 *
 * A function returns `enum err` and sets its outputs on success only. It never logs what it
 * returns; the one who ends the error's journey (api/, cli/, background loops) logs it once. */
#pragma once

#include "base/arena.h"

enum err {
    OK = 0,
#define X(name, status, code, text) ERR_##name,
#include "base/errors.def"
#undef X
    ERR_COUNT
};

/* "BLOB_UNKNOWN": the name as in errors.def. */
const char *err_name(enum err e);
/* HTTP status. 200 for OK. */
int err_status(enum err e);
/* Code for the JSON error body (OCI distribution specification, "Error Codes"). */
const char *err_code(enum err e);
/* Default text for people; a request's error usually carries a more precise one. */
const char *err_text(enum err e);
/* The code that fits an errno value: ENOSPC and EDQUOT to ERR_NO_SPACE, and so on, else ERR_IO. */
enum err err_from_errno(int errnum);

/* What a person reads about a failure. Lives in an arena. */
struct error {
    enum err code;
    str message;              /* empty: err_text(code) */
    str detail;               /* JSON text for the `detail` member, empty: none */
    const struct error *next; /* further ones, for an answer that lists several */
};

/* Records code and formatted message in `e` and returns the code:
 * return error_set(arena, &e, ERR_NAME_INVALID, "repository name ..."). */
enum err error_set(struct arena *a, struct error *e, enum err code, const char *fmt, ...)
    PRINTF(4, 5);
