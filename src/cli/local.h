/* The program's own API without a server: one request is routed and handled in this process, asked
 * by the user who runs it. Blocks. */
#pragma once

#include "api/app.h"
#include "http/client.h"

/* The answer a server would give over its admin socket; for routes with small bodies. In the arena.
 * `app` has one reader. */
void local_exchange(struct app *app, const struct client_request *request, struct arena *a,
                    struct client_answer *ret);
