#include "auth/jws_key.h"

#include "base/hex.h"
#include "json/read.h"

#include <openssl/ec.h>
#include <openssl/err.h>

/* ES256 signatures are r and s side by side (RFC 7518 3.4); OpenSSL speaks DER. */
enum { SCALAR_BYTES = 32, SIGNATURE_BYTES = 2 * SCALAR_BYTES, DER_BYTES_MAX = 80 };

static bool raw_from_der(const uint8_t *der, size_t n, uint8_t raw[SIGNATURE_BYTES])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, SCALAR_BYTES) == SCALAR_BYTES &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + SCALAR_BYTES, SCALAR_BYTES) == SCALAR_BYTES;
    ECDSA_SIG_free(sig);
    return ok;
}

/* Returns the length, 0 on failure. */
static size_t der_from_raw(const uint8_t raw[SIGNATURE_BYTES], uint8_t der[DER_BYTES_MAX])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, SCALAR_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(raw + SCALAR_BYTES, SCALAR_BYTES, NULL);
    int n = 0;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* the signature owns them now */
        if (i2d_ECDSA_SIG(sig, NULL) <= DER_BYTES_MAX)
            n = i2d_ECDSA_SIG(sig, &der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

enum err jws_sign(const struct jws_key *key, str payload, struct arena *a, str *ret)
{
    str header = arena_printf(a, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"%.*s\"}",
                              STR_ARG(jws_key_id(key)));
    str header64 = base64url_encode(a, header), payload64 = base64url_encode(a, payload);
    str text = arena_printf(a, "%.*s.%.*s", STR_ARG(header64), STR_ARG(payload64));
    uint8_t der[DER_BYTES_MAX], raw[SIGNATURE_BYTES];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
              EVP_DigestSign(ctx, der, &n, (const uint8_t *)text.p, text.n) == 1 &&
              raw_from_der(der, n, raw);
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
        return ERR_INTERNAL;
    }
    str signature64 = base64url_encode(a, str_make(raw, sizeof raw));
    *ret = arena_printf(a, "%.*s.%.*s", STR_ARG(text), STR_ARG(signature64));
    return OK;
}

/* Reads `alg` and `kid` out of the decoded header. */
static enum err header_read(struct arena *a, str text, struct jws *ret)
{
    JSON_CLEANUP json_t *header = NULL;
    str why, word;
    enum err e = json_read(a, text, &header, &why);
    if (e)
        return e;
    if (!json_is_object(header) || json_member(header, "crit") ||
        !json_member_str(header, "alg", &word))
        return ERR_SYNTAX;
    ret->algorithm = arena_str(a, word);
    if (json_member_str(header, "kid", &word))
        ret->key_id = arena_str(a, word);
    return OK;
}

enum err jws_parse(struct arena *a, str token, struct jws *ret)
{
    if (token.n > JWS_BYTES_MAX)
        return ERR_LIMIT;
    struct jws jws = {0};
    str header64, rest, payload64, signature64, header;
    if (!str_cut(token, '.', &header64, &rest) || !str_cut(rest, '.', &payload64, &signature64))
        return ERR_SYNTAX;
    jws.signed_text = str_first(token, header64.n + 1 + payload64.n);
    /* A fourth part makes the signature invalid base64url. */
    if (!base64url_decode(a, header64, &header) || !base64url_decode(a, payload64, &jws.payload) ||
        !base64url_decode(a, signature64, &jws.signature))
        return ERR_SYNTAX;
    enum err e = header_read(a, header, &jws);
    if (e)
        return e;
    *ret = jws;
    return OK;
}

bool jws_verify(const struct jws *token, const struct jws_key *key)
{
    if (!str_eq(token->algorithm, STR("ES256")) || token->signature.n != SIGNATURE_BYTES)
        return false;
    uint8_t der[DER_BYTES_MAX];
    size_t n = der_from_raw((const uint8_t *)token->signature.p, der);
    EVP_MD_CTX *ctx = n ? EVP_MD_CTX_new() : NULL;
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
              EVP_DigestVerify(ctx, der, n, (const uint8_t *)token->signed_text.p,
                               token->signed_text.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error(); /* a refused signature leaves entries in this thread's queue */
    return ok;
}
