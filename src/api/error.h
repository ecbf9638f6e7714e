/* The one body all errors have. */
#pragma once

#include "http/response.h"

/* Answers a failed request: status, Retry-After, JSON body (OCI distribution specification, "Error
 * Codes"); logs what went wrong inside. Unless NULL, `oauth` is an error code of RFC 6749 5.2,
 * which then stands beside `errors` with the message as its description: clients of either kind
 * find theirs. Must not block; any thread. */
void error_answer(struct request *req, struct response *res, enum err e, const char *oauth);
