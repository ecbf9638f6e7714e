/* The certificate of tls.self_signed, in DATA/tls: cert.pem and key.pem. */
#pragma once

#include "conf/conf.h"

/* Makes certificate and key when there are none, when the certificate lacks a name it needs or is
 * about to expire. It needs localhost, the loopback addresses, those of `listen`, server.hosts, the
 * host of server.url and, without the last two, the host's name; one that is made names also the
 * host's full name and addresses. Blocks. */
NODISCARD enum err self_signed_ensure(const struct conf *conf, struct arena *a, struct error *why);
str self_signed_cert(const struct conf *conf, struct arena *a);
str self_signed_key(const struct conf *conf, struct arena *a);
