/* How commands administrate a registry: through the API below /api/berth/v1/, over the admin socket
 * of the server that has the data directory, or, while none has it, on the opened store itself. No
 * password: who may open the socket or the files may all. Blocks.
 *
 * Functions that return bool have said what is wrong when they return false; *exit_code is then the
 * command's exit code. */
#pragma once

#include "cli/app.h"
#include "json/read.h"

struct admin {
    const struct conf *conf;
    struct arena *arena;
    str socket;
    bool local; /* `app` is open */
    struct app app;
    int lock_fd;
};

/* Must be closed, also after false. */
NODISCARD bool admin_open(struct admin *admin, const struct conf *conf, struct arena *a,
                          int *exit_code);
void admin_close(struct admin *admin);
#define ADMIN_CLEANUP __attribute__((cleanup(admin_close)))

struct admin_answer {
    json_t *json; /* the caller's: json_decref */
    str next;     /* target of the next page; p == NULL: this is the last */
};

/* One request; `body` is JSON, p == NULL: none. An answer that is an error is printed. */
NODISCARD bool admin_call(struct admin *admin, enum method method, str target, str body,
                          struct admin_answer *ret, int *exit_code);
