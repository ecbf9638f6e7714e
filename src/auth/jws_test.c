#include "auth/jws.h"
#include "base/hex.h"
#include "base/test.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

static struct arena arena;

/* The key, token and payload of RFC 7515, appendix A.3. */
static const char *const RFC_PEM =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
    "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
    "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
    "-----END PRIVATE KEY-----\n";
static const char *const RFC_TOKEN =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
static const char *const RFC_PAYLOAD =
    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

static struct jws_key *rfc_key(void)
{
    struct jws_key *key = NULL;
    CHECK_INT(jws_key_from_pem(str_from(RFC_PEM), &key), OK);
    return key;
}

static bool holds(str token, const struct jws_key *key)
{
    struct jws jws;
    return jws_parse(&arena, token, &jws) == OK && jws_verify(&jws, key);
}

static void verifies_rfc_7515_a3(void)
{
    struct jws_key *key = rfc_key();
    struct jws jws = {0};
    CHECK_INT(jws_parse(&arena, str_from(RFC_TOKEN), &jws), OK);
    CHECK_STR(jws.algorithm, "ES256");
    CHECK(!jws.key_id.p);
    CHECK_STR(jws.payload, RFC_PAYLOAD);
    CHECK(jws_verify(&jws, key));
    jws_key_free(key);
    arena_release(&arena);
}

/* The thumbprint was computed independently from the members in RFC 7515, appendix A.3. */
static void describes_keys(void)
{
    struct jws_key *key = rfc_key();
    CHECK_STR(jws_key_id(key), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    CHECK_STR(jws_key_jwk(key, &arena), "{\"kty\":\"EC\",\"crv\":\"P-256\","
                                        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
                                        "\"use\":\"sig\",\"alg\":\"ES256\","
                                        "\"kid\":\"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U\"}");
    jws_key_free(key);
    arena_release(&arena);
}

static void signs_what_it_verifies(void)
{
    struct jws_key *key, *copy, *other;
    CHECK_INT(jws_key_generate(&key), OK);
    CHECK_INT(jws_key_generate(&other), OK);
    str pem;
    CHECK_INT(jws_key_to_pem(key, &arena, &pem), OK);
    CHECK_INT(jws_key_from_pem(pem, &copy), OK);
    CHECK(str_eq(jws_key_id(key), jws_key_id(copy)));
    CHECK(!str_eq(jws_key_id(key), jws_key_id(other)));
    /* r and s lose leading zeros in DER; 600 signatures have some with all but certainty. */
    for (int i = 0; i < 600; i++) {
        str token;
        CHECK_INT(jws_sign(key, arena_printf(&arena, "{\"n\":%d}", i), &arena, &token), OK);
        CHECK(holds(token, copy));
        if (i % 100 == 0)
            CHECK(!holds(token, other));
    }
    jws_key_free(key);
    jws_key_free(copy);
    jws_key_free(other);
    arena_release(&arena);
}

/* Every single changed character anywhere makes the token worthless. */
static void notices_tampering(void)
{
    struct jws_key *key = rfc_key();
    str token = str_from(RFC_TOKEN);
    char *text = arena_cstr(&arena, token);
    CHECK(holds(token, key));
    for (size_t i = 0; i < token.n; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        if (holds(str_make(text, token.n), key))
            test_fail(__FILE__, __LINE__, "character %zu may change", i);
        text[i] = was;
    }
    for (size_t n = 0; n < token.n; n++)
        CHECK(!holds(str_first(token, n), key));
    CHECK(!holds(arena_printf(&arena, "%s.", RFC_TOKEN), key));
    CHECK(!holds(arena_printf(&arena, "%s.AAAA", RFC_TOKEN), key));
    CHECK(!holds(arena_printf(&arena, "%s=", RFC_TOKEN), key));
    jws_key_free(key);
    arena_release(&arena);
}

static str with_header(const char *header, str rest)
{
    str header64 = base64url_encode(&arena, str_from(header));
    return arena_printf(&arena, "%.*s.%.*s", STR_ARG(header64), STR_ARG(rest));
}

static void obeys_no_header(void)
{
    struct jws_key *key = rfc_key();
    str good = str_from(RFC_TOKEN), header, rest, payload, signature;
    str_cut(good, '.', &header, &rest);
    str_cut(rest, '.', &payload, &signature);
    str unsigned_rest = arena_printf(&arena, "%.*s.", STR_ARG(payload));
    CHECK(!holds(with_header("{\"alg\":\"none\"}", unsigned_rest), key));
    CHECK(!holds(with_header("{\"alg\":\"none\"}", rest), key));
    CHECK(!holds(with_header("{\"alg\":\"ES256\"}", unsigned_rest), key));
    CHECK(!holds(with_header("{\"alg\":\"ES384\"}", rest), key));
    CHECK(!holds(with_header("{\"alg\":\"es256\"}", rest), key));
    CHECK(!holds(with_header("{}", rest), key));
    CHECK(!holds(with_header("[]", rest), key));
    CHECK(!holds(with_header("{\"alg\":\"ES256\",\"alg\":\"none\"}", rest), key));
    jws_key_free(key);
    arena_release(&arena);
}

/* A signature that holds, made with the right key by other means, below a header of our choice. */
static str signed_below(const char *header)
{
    BIO *in = BIO_new_mem_buf(RFC_PEM, -1);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    str text = with_header(header, STR("e30"));
    uint8_t der[80], raw[64];
    const uint8_t *p = der;
    size_t n = sizeof der;
    CHECK(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1);
    CHECK(EVP_DigestSign(ctx, der, &n, (const uint8_t *)text.p, text.n) == 1);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    CHECK(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32);
    CHECK(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    BIO_free(in);
    str raw64 = base64url_encode(&arena, str_make(raw, sizeof raw));
    return arena_printf(&arena, "%.*s.%.*s", STR_ARG(text), STR_ARG(raw64));
}

static void wants_the_algorithm_of_the_key(void)
{
    struct jws_key *key = rfc_key();
    CHECK(holds(signed_below("{\"alg\":\"ES256\"}"), key));
    CHECK(!holds(signed_below("{\"alg\":\"none\"}"), key));
    CHECK(!holds(signed_below("{\"alg\":\"HS256\"}"), key));
    CHECK(!holds(signed_below("{\"alg\":\"\"}"), key));
    CHECK(!holds(signed_below("{\"typ\":\"JWT\"}"), key));
    CHECK(!holds(signed_below("{\"alg\":[\"ES256\"]}"), key));
    jws_key_free(key);
    arena_release(&arena);
}

/* The public key, which anyone has, used as an HMAC secret. */
static void refuses_the_public_key_as_secret(void)
{
    struct jws_key *key = rfc_key();
    str jwk = jws_key_jwk(key, &arena);
    str text = with_header("{\"alg\":\"HS256\"}", base64url_encode(&arena, STR("{\"sub\":\"x\"}")));
    uint8_t mac[32];
    CHECK(HMAC(EVP_sha256(), jwk.p, (int)jwk.n, (const uint8_t *)text.p, text.n, mac, NULL));
    str mac64 = base64url_encode(&arena, str_make(mac, sizeof mac));
    CHECK(!holds(arena_printf(&arena, "%.*s.%.*s", STR_ARG(text), STR_ARG(mac64)), key));
    jws_key_free(key);
    arena_release(&arena);
}

/* A token signed by a stranger's key that travels in its header. */
static void ignores_embedded_keys(void)
{
    struct jws_key *ours = rfc_key(), *stranger;
    CHECK_INT(jws_key_generate(&stranger), OK);
    str token, header, rest;
    CHECK_INT(jws_sign(stranger, STR("{}"), &arena, &token), OK);
    CHECK(holds(token, stranger));
    str_cut(token, '.', &header, &rest);
    str jwk = jws_key_jwk(stranger, &arena), id = jws_key_id(ours);
    str forged = arena_printf(&arena, "{\"alg\":\"ES256\",\"kid\":\"%.*s\",\"jwk\":%.*s}",
                              STR_ARG(id), STR_ARG(jwk));
    CHECK(!holds(with_header(forged.p, rest), ours));
    jws_key_free(ours);
    jws_key_free(stranger);
    arena_release(&arena);
}

static void refuses_critical_headers_and_oversize(void)
{
    struct jws jws;
    CHECK_INT(jws_parse(&arena,
                        with_header("{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", STR("e30.AA")), &jws),
              ERR_SYNTAX);
    CHECK_INT(jws_parse(&arena, with_header("{\"alg\":\"ES256\"}", STR("e30.AA")), &jws), OK);
    char *big = arena_alloc(&arena, JWS_BYTES_MAX + 1);
    memset(big, 'A', JWS_BYTES_MAX + 1);
    CHECK_INT(jws_parse(&arena, str_make(big, JWS_BYTES_MAX + 1), &jws), ERR_LIMIT);
    CHECK_INT(jws_parse(&arena, STR(""), &jws), ERR_SYNTAX);
    CHECK_INT(jws_parse(&arena, STR(".."), &jws), ERR_SYNTAX);
    arena_release(&arena);
}

static void takes_only_p256_keys(void)
{
    struct jws_key *key;
    EVP_PKEY *p384 = EVP_EC_gen("P-384");
    char *p;
    BIO *out = BIO_new(BIO_s_mem());
    CHECK(PEM_write_bio_PrivateKey(out, p384, NULL, NULL, 0, NULL, NULL) == 1);
    long n = BIO_get_mem_data(out, &p);
    CHECK_INT(jws_key_from_pem(str_make(p, (size_t)n), &key), ERR_SYNTAX);
    BIO_free(out);
    EVP_PKEY_free(p384);
    CHECK_INT(jws_key_from_pem(STR("-----BEGIN PRIVATE KEY-----\n"), &key), ERR_SYNTAX);
    CHECK_INT(jws_key_from_pem(STR(""), &key), ERR_SYNTAX);
}

TESTS({"verifies_rfc_7515_a3", verifies_rfc_7515_a3}, {"describes_keys", describes_keys},
      {"signs_what_it_verifies", signs_what_it_verifies}, {"notices_tampering", notices_tampering},
      {"obeys_no_header", obeys_no_header},
      {"wants_the_algorithm_of_the_key", wants_the_algorithm_of_the_key},
      {"refuses_the_public_key_as_secret", refuses_the_public_key_as_secret},
      {"ignores_embedded_keys", ignores_embedded_keys},
      {"refuses_critical_headers_and_oversize", refuses_critical_headers_and_oversize},
      {"takes_only_p256_keys", takes_only_p256_keys});
