/* Private to tls*.c. */
#pragma once

#include "net/tls.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

/* tls_context.c */

/* A session with what is loaded now. Any thread. */
SSL *tls_session(struct tls *t);
/* Of transports' BIOs. */
BIO_METHOD *tls_method(struct tls *t);
/* From now on tickets are made with a new key. */
void tls_rotate_tickets(struct tls *t);

/* tls.c: how OpenSSL uses a transport's socket; to be freed with BIO_meth_free. */
BIO_METHOD *tls_socket_method(void);

/* tls_ticket.c: the keys that tickets are sealed with. They live in memory only, so that nothing
 * recorded can be opened later. Of tickets that are good for SESSION_S, those sealed with the
 * present key or the two before it are opened; a key is replaced when it is KEY_S old. */

enum { TICKET_KEYS = 3, TICKET_KEY_S = 12 * 3600, TICKET_SESSION_S = 2 * TICKET_KEY_S };

struct ticket_key {
    unsigned char name[16], cipher[32], mac[32];
};

struct tickets {
    pthread_mutex_t lock;                /* guards all below */
    struct ticket_key keys[TICKET_KEYS]; /* newest first; unused ones open nothing */
    unsigned key_n;
    uint64_t made_us; /* monotonic: when keys[0] was */
};

void tickets_init(struct tickets *t);
void tickets_release(struct tickets *t);
/* Replaces the key. */
void tickets_rotate(struct tickets *t);
/* Sessions of the context use these keys, which outlive it. */
void tickets_use(struct tickets *t, SSL_CTX *context);

/* tls_pem.c: files of certificates and keys. `option` is named in `why`. */

NODISCARD enum err pem_read_certificates(const char *option, str path, STACK_OF(X509) * *ret,
                                         struct arena *a, struct error *why);
NODISCARD enum err pem_read_key(const char *option, str path, EVP_PKEY **ret, struct arena *a,
                                struct error *why);
/* OpenSSL's words for what went wrong last on this thread. */
const char *tls_reason(void);

/* Seconds since 1970; 0 when malformed. */
int64_t tls_seconds(const ASN1_TIME *t);

#define TLS_CLEANUP(type, name, free_fn)        \
    static inline void name##_cleanup(type **p) \
    {                                           \
        free_fn(*p);                            \
    }
TLS_CLEANUP(SSL_CTX, context, SSL_CTX_free)
TLS_CLEANUP(BIO, bio, BIO_free)
TLS_CLEANUP(EVP_PKEY, key, EVP_PKEY_free)
TLS_CLEANUP(X509, certificate, X509_free)
static inline void chain_cleanup(STACK_OF(X509) * *p)
{
    sk_X509_pop_free(*p, X509_free);
}
#define CLEANUP(name) __attribute__((cleanup(name##_cleanup)))
