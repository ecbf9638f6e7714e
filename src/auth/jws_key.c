#include "auth/jws_key.h"

#include "base/buf.h"
#include "base/hex.h"
#include "json/write.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

enum { COORDINATE_BYTES = 32, POINT_BYTES = 1 + 2 * COORDINATE_BYTES };

static void text_of(struct arena *a, const void *bytes, size_t n, char *out)
{
    str text = base64url_encode(a, str_make(bytes, n));
    memcpy(out, text.p, text.n);
}

/* Fills x, y and the id from the public point; false when the key is not on P-256. */
static bool describe(struct jws_key *key)
{
    char group[32];
    uint8_t point[POINT_BYTES], hash[32];
    size_t n = 0;
    if (!EVP_PKEY_is_a(key->pkey, "EC") ||
        EVP_PKEY_get_utf8_string_param(key->pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                       NULL) != 1 ||
        !str_eq(str_from(group), STR("prime256v1")))
        return false;
    if (EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                        sizeof point, &n) != 1 ||
        n != POINT_BYTES || point[0] != POINT_CONVERSION_UNCOMPRESSED)
        return false;
    ARENA_CLEANUP struct arena a = {0};
    text_of(&a, point + 1, COORDINATE_BYTES, key->x);
    text_of(&a, point + 1 + COORDINATE_BYTES, COORDINATE_BYTES, key->y);
    /* RFC 7638 3: the required members, in this order, without white space. */
    str canon = arena_printf(&a, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%.*s\",\"y\":\"%.*s\"}",
                             JWK_COORDINATE_LEN, key->x, JWK_COORDINATE_LEN, key->y);
    if (EVP_Digest(canon.p, canon.n, hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    text_of(&a, hash, sizeof hash, key->id);
    return true;
}

/* Takes over pkey, NULL too. */
static enum err key_new(EVP_PKEY *pkey, enum err otherwise, struct jws_key **ret)
{
    struct jws_key *key = calloc(1, sizeof *key);
    if (!key)
        abort();
    key->pkey = pkey;
    if (!pkey || !describe(key)) {
        ERR_clear_error();
        jws_key_free(key);
        return otherwise;
    }
    *ret = key;
    return OK;
}

enum err jws_key_generate(struct jws_key **ret)
{
    return key_new(EVP_EC_gen("P-256"), ERR_INTERNAL, ret);
}

enum err jws_key_from_pem(str pem, struct jws_key **ret)
{
    BIO *in = pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    if (!in)
        return ERR_SYNTAX;
    /* An empty passphrase, or OpenSSL asks the terminal for one when the PEM is encrypted. */
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, (char[]){""});
    BIO_free(in);
    return key_new(pkey, ERR_SYNTAX, ret);
}

void jws_key_free(struct jws_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

enum err jws_key_to_pem(const struct jws_key *key, struct arena *a, str *ret)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p = NULL;
    long n = 0;
    if (out && PEM_write_bio_PrivateKey(out, key->pkey, NULL, NULL, 0, NULL, NULL) == 1)
        n = BIO_get_mem_data(out, &p);
    if (n > 0)
        *ret = arena_str(a, str_make(p, (size_t)n));
    BIO_free(out);
    return n > 0 ? OK : ERR_INTERNAL;
}

str jws_key_id(const struct jws_key *key)
{
    return str_make(key->id, sizeof key->id);
}

str jws_key_jwk(const struct jws_key *key, struct arena *a)
{
    BUF_CLEANUP struct buf out = BUF_INIT(512);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_field(&w, "kty", STR("EC"));
    jw_field(&w, "crv", STR("P-256"));
    jw_field(&w, "x", str_make(key->x, sizeof key->x));
    jw_field(&w, "y", str_make(key->y, sizeof key->y));
    jw_field(&w, "use", STR("sig"));
    jw_field(&w, "alg", STR("ES256"));
    jw_field(&w, "kid", jws_key_id(key));
    jw_end(&w);
    return arena_str(a, buf_str(&out));
}
