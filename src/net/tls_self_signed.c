#include "net/tls_self_signed.h"

#include "net/address.h"
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <time.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600, COMMON_NAME_MAX = 64 };

static void number_cleanup(BIGNUM **p)
{
    BN_free(*p);
}

static bool is_address(str name)
{
    struct address address;
    return address_parse_ip(name, &address);
}

static bool add_extension(X509 *c, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, c, c, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = e && X509_add_ext(c, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

/* "DNS:a,IP:127.0.0.1" */
static str alternatives(const str *names, size_t n, struct arena *a)
{
    str all = {0};
    for (size_t i = 0; i < n; i++)
        all = arena_printf(a, "%.*s%s%s:%.*s", STR_ARG(all), all.n ? "," : "",
                           is_address(names[i]) ? "IP" : "DNS", STR_ARG(names[i]));
    return all;
}

static bool describe(X509 *c, const str *names, size_t n, unsigned days, struct arena *a)
{
    unsigned char serial[16];
    str common = str_first(names[0], COMMON_NAME_MAX);
    X509_NAME *name = X509_get_subject_name(c);
    CLEANUP(number) BIGNUM *number = NULL;
    if (RAND_bytes(serial, sizeof serial) != 1)
        return false;
    serial[0] &= 0x7f; /* positive */
    number = BN_bin2bn(serial, sizeof serial, NULL);
    return number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(c)) &&
           X509_set_version(c, X509_VERSION_3) &&
           /* A clock that is a little behind shall not refuse it. */
           X509_gmtime_adj(X509_getm_notBefore(c), -3600) &&
           X509_time_adj_ex(X509_getm_notAfter(c), (int)days, 0, NULL) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common.p,
                                      (int)common.n, -1, 0) &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                      (const unsigned char *)"Berth self-signed", -1, -1, 0) &&
           X509_set_issuer_name(c, name) &&
           add_extension(c, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(c, NID_key_usage, "critical,digitalSignature") &&
           add_extension(c, NID_ext_key_usage, "serverAuth") &&
           add_extension(c, NID_subject_key_identifier, "hash") &&
           add_extension(c, NID_subject_alt_name, alternatives(names, n, a).p);
}

static str text_of(BIO *bio, struct arena *a)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    return arena_str(a, str_make(p, (size_t)n));
}

enum err tls_self_signed_make(const str *names, size_t n, unsigned days, str *ret_cert,
                              str *ret_key, struct arena *a, struct error *why)
{
    ERR_clear_error();
    CLEANUP(key) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(certificate) X509 *c = X509_new();
    CLEANUP(bio) BIO *cert_out = BIO_new(BIO_s_mem());
    CLEANUP(bio) BIO *key_out = BIO_new(BIO_s_mem());
    if (!key || !c || !cert_out || !key_out || !X509_set_pubkey(c, key) ||
        !describe(c, names, n, days, a) || !X509_sign(c, key, EVP_sha256()) ||
        !PEM_write_bio_X509(cert_out, c) ||
        !PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL))
        return error_set(a, why, ERR_INTERNAL, "a self-signed certificate could not be made: %s",
                         tls_reason());
    *ret_cert = text_of(cert_out, a);
    *ret_key = text_of(key_out, a);
    return OK;
}

bool tls_self_signed_good(str cert_path, const str *names, size_t n, unsigned days, str *why_not,
                          struct arena *a)
{
    CLEANUP(chain) STACK_OF(X509) *all = NULL;
    struct error why = {0};
    *why_not = STR("");
    if (access(arena_cstr(a, cert_path), F_OK))
        return false;
    if (pem_read_certificates("tls.self_signed", cert_path, &all, a, &why)) {
        *why_not = why.message;
        return false;
    }
    X509 *c = sk_X509_value(all, 0);
    if (tls_seconds(X509_get0_notAfter(c)) < (int64_t)time(NULL) + (int64_t)days * DAY_S) {
        *why_not = STR("it expires soon");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int ok = is_address(names[i]) ? X509_check_ip_asc(c, arena_cstr(a, names[i]), 0)
                                      : X509_check_host(c, names[i].p, names[i].n, 0, NULL);
        if (ok == 1)
            continue;
        *why_not = arena_printf(a, "it does not name %.*s", STR_ARG(names[i]));
        return false;
    }
    return true;
}
