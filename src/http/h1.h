/* HTTP/1.1 (RFC 9112) on a connection: the steps but for life and events, which are conn.c's.
 * Private to conn.c and h1*.c. */
#pragma once

#include "http/exchange.h"

/* h1.c: heads, handlers */

/* Answers someone who speaks cleartext where TLS is spoken; the transport is plain by now. */
bool h1_refuse_cleartext(struct conn *c);
/* Responds with an error. */
bool h1_refuse(struct conn *c, enum err e);
/* Sends x->res, after the rest of a small body, else with the end of the connection. */
bool h1_respond(struct conn *c);
/* Runs the handler, here or on a worker. */
bool h1_dispatch(struct conn *c);
/* The response is out. */
bool h1_finished(struct conn *c);

/* h1_body.c: bodies */

/* Gets what a routed request's handler needs of the body, then runs it. */
bool h1_body_begin(struct conn *c);
/* Reads and drops the rest of the body, then sends. */
bool h1_discard_begin(struct conn *c);
/* Streams the body into x->sink. */
bool h1_stream_begin(struct conn *c);
/* No more of the body goes into the sink. `e`: why, if it did not arrive whole. */
bool h1_stream_end(struct conn *c, enum err e);

/* h1_send.c */

bool h1_send_begin(struct conn *c);
