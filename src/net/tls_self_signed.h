/* Self-signed certificates for servers that have none yet. Blocks on files and the key's making. */
#pragma once

#include "base/err.h"

/* Names are host names or IP addresses as text. The certificate vouches for these and nothing
 * else: with it nobody can sign another. PEM texts in the arena. */
NODISCARD enum err tls_self_signed_make(const str *names, size_t n, unsigned days, str *ret_cert,
                                        str *ret_key, struct arena *a, struct error *why);
/* Whether the file holds a certificate that is good for all these names and for that many days.
 * When not, *why_not says it; "" when there is no such file. */
bool tls_self_signed_good(str cert_path, const str *names, size_t n, unsigned days, str *why_not,
                          struct arena *a);
