/* WWW-Authenticate (RFC 9110 11.6.1, RFC 6750 3; distribution "Token Authentication
 * Specification"), and the address clients are sent to. Must not block; any thread. */
#pragma once

#include "conf/conf.h"
#include "http/response.h"

struct v2_call;

/* Bearer, with the scope that would have allowed the call and, when a token was sent, what was
 * wrong with it; Basic for a management call. */
void challenge_add(struct response *res, const struct v2_call *call);

/* Basic, for the token endpoint and the management API. */
void challenge_add_basic(struct response *res);

/* "https://registry.example.com": the address under which this client reaches the server. It is
 * server.url; without it, Host when that is a loopback name or address, or one of server.hosts;
 * else the address the connection arrived at. Made of letters, digits and ".-_:/[]" only, so it may
 * stand in quotes. In the arena or the configuration. */
str server_url(const struct conf *conf, const struct request *req);
