/* The inside of a key; for jws.c and jws_key.c only. */
#pragma once

#include "auth/jws.h"

#include <openssl/evp.h>

struct jws_key {
    EVP_PKEY *pkey; /* on P-256 */
    char x[JWK_COORDINATE_LEN], y[JWK_COORDINATE_LEN];
    char id[JWK_THUMBPRINT_LEN];
};
