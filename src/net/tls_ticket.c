#include "net/tls_private.h"

#include "base/clock.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

static void make_key(struct tickets *t)
{
    OPENSSL_cleanse(&t->keys[TICKET_KEYS - 1], sizeof t->keys[0]);
    memmove(&t->keys[1], &t->keys[0], (TICKET_KEYS - 1) * sizeof t->keys[0]);
    if (RAND_bytes((unsigned char *)&t->keys[0], sizeof t->keys[0]) != 1)
        abort();
    t->key_n += t->key_n < TICKET_KEYS;
    t->made_us = clock_mono_us();
}

void tickets_init(struct tickets *t)
{
    pthread_mutex_init(&t->lock, NULL);
    make_key(t);
}

void tickets_release(struct tickets *t)
{
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    pthread_mutex_destroy(&t->lock);
}

void tickets_rotate(struct tickets *t)
{
    pthread_mutex_lock(&t->lock);
    make_key(t);
    pthread_mutex_unlock(&t->lock);
}

/* The key to seal with now. */
static struct ticket_key newest(struct tickets *t)
{
    pthread_mutex_lock(&t->lock);
    if (clock_mono_us() - t->made_us >= (uint64_t)TICKET_KEY_S * 1000000)
        make_key(t);
    struct ticket_key key = t->keys[0];
    pthread_mutex_unlock(&t->lock);
    return key;
}

/* The key of that name: its age in keys, or -1. */
static int find(struct tickets *t, const unsigned char *name, struct ticket_key *ret)
{
    int found = -1;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->key_n && found < 0; i++) {
        if (memcmp(t->keys[i].name, name, sizeof t->keys[i].name) == 0) {
            *ret = t->keys[i];
            found = (int)i;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

/* OpenSSL's contract: -1 failure, 0 unknown key, 1 good, 2 good and to be replaced. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    int age = 0;
    if (seal) {
        key = newest(t);
        memcpy(name, key.name, sizeof key.name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    } else if ((age = find(t, name, &key)) < 0) {
        return 0;
    }
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, seal) &&
              EVP_MAC_CTX_set_params(mac, params);
    OPENSSL_cleanse(&key, sizeof key);
    return !ok ? -1 : age > 0 ? 2 : 1;
}

void tickets_use(struct tickets *t, SSL_CTX *context)
{
    SSL_CTX_set_app_data(context, t);
    SSL_CTX_set_timeout(context, TICKET_SESSION_S);
    /* One is enough: each connection that resumes gets the next. */
    SSL_CTX_set_num_tickets(context, 1);
    /* Sessions live in tickets only, which cost the server nothing. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}
