/* TLS: the server's certificate and settings, and transports that speak it (OpenSSL).
 *
 * One `struct tls` serves all reactors. tls_load replaces what it holds at any time: connections
 * that are there go on with what they began with, later ones get the new. */
#pragma once

#include "base/err.h"
#include "net/transport.h"

struct tls;

enum { TLS_ERROR_BYTES_MAX = 256 };

enum tls_client_auth { TLS_CLIENT_AUTH_OFF, TLS_CLIENT_AUTH_OPTIONAL, TLS_CLIENT_AUTH_REQUIRED };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_config {
    str cert;      /* path: the server's certificate, then the chain up to the root, PEM */
    str key;       /* path: its private key, PEM, not encrypted */
    str client_ca; /* path: roots of client certificates; n == 0: none */
    enum tls_client_auth client_auth;
    enum tls_version version_min;
    bool http2; /* offer it */
};

/* What tls_load found out; times in seconds since 1970. */
struct tls_info {
    int64_t not_before_s, not_after_s;
};

/* Empty: no connection can be made before tls_load. */
struct tls *tls_new(void);
/* NULL-safe. No transport of it may be left. */
void tls_free(struct tls *t);
/* Any thread; blocks on files. On failure `why` names the option and the file, and what was loaded
 * before stays. */
NODISCARD enum err tls_load(struct tls *t, const struct tls_config *config, struct tls_info *ret,
                            struct arena *a, struct error *why);

/* Any thread. Takes over fd. What else stands in t is lost; it stays where it is. */
void transport_init_tls(struct transport *t, int fd, struct tls *tls);
/* When the handshake failed or was none: goes on as plain TCP. */
void transport_to_tcp(struct transport *t);
/* Why the handshake failed, in OpenSSL's words: right after it returned IO_FAILED. */
str tls_handshake_error(const struct transport *t, char out[TLS_ERROR_BYTES_MAX]);
