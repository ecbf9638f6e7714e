/* Signing keys and compact JWS (RFC 7515) with ES256 (RFC 7518 3.4).
 *
 * ES256 is a property of the key, never chosen by a token: a header that says anything else is
 * refused, and keys that travel inside a token (jwk, x5c, jku) are not looked at. A key is
 * immutable; any thread may use it. */
#pragma once

#include "base/err.h"

enum {
    JWS_BYTES_MAX = 16 * 1024, /* longest token that is looked at */
    JWK_THUMBPRINT_LEN = 43,   /* base64url of SHA-256 */
    JWK_COORDINATE_LEN = 43,   /* base64url of 32 bytes */
};

struct jws_key;

NODISCARD enum err jws_key_generate(struct jws_key **ret);
/* From a private key in PEM. ERR_SYNTAX unless it is one on P-256. */
NODISCARD enum err jws_key_from_pem(str pem, struct jws_key **ret);
/* NULL-safe. */
void jws_key_free(struct jws_key *key);
/* The private key as PKCS #8 PEM, in the arena. */
NODISCARD enum err jws_key_to_pem(const struct jws_key *key, struct arena *a, str *ret);
/* RFC 7638 thumbprint, which is the key's id; lives as long as the key. */
str jws_key_id(const struct jws_key *key);
/* The public key as a JSON Web Key (RFC 7517), in the arena. */
str jws_key_jwk(const struct jws_key *key, struct arena *a);

/* header.payload.signature, in the arena. */
NODISCARD enum err jws_sign(const struct jws_key *key, str payload, struct arena *a, str *ret);

/* A token taken apart; nothing in it is proven. Slices are of the token or the arena. */
struct jws {
    str algorithm; /* what the header says; compared, never obeyed */
    str key_id;    /* p == NULL: none */
    str signed_text;
    str payload;   /* decoded */
    str signature; /* decoded */
};
/* ERR_SYNTAX or ERR_LIMIT. Headers with `crit` are refused: no extension is understood. */
NODISCARD enum err jws_parse(struct arena *a, str token, struct jws *ret);
/* True when the header says ES256 and this key made the signature. */
NODISCARD bool jws_verify(const struct jws *token, const struct jws_key *key);
