/* TLS of a running server: the options behind it, the files it watches, what is said about them.
 *
 * Used by the main thread only. */
#pragma once

#include "conf/conf.h"
#include "net/tls.h"

#include <sys/stat.h>

enum { SERVE_TLS_TICK_S = 2, SERVE_TLS_FILES = 3 };

/* What of a file changes when its content or its rights do; also when a link on the way leads
 * elsewhere. */
struct file_stamp {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec changed;
    int errnum; /* 0: there is one */
};

struct serve_tls {
    struct tls *tls; /* NULL: not spoken */
    struct arena arena;
    struct tls_config config; /* in the arena */
    const struct conf *conf;
    struct file_stamp loaded[SERVE_TLS_FILES], seen[SERVE_TLS_FILES];
    struct tls_info info;
    uint64_t told_us; /* monotonic: when the certificate's time was last looked at */
};

/* Whether the options ask for TLS. Pure. */
bool serve_tls_wanted(const struct conf *conf);
/* Loads what the options name; tls stays NULL when they name nothing. Makes the self-signed
 * certificate. */
NODISCARD enum err serve_tls_open(struct serve_tls *s, const struct conf *conf, struct arena *a,
                                  struct error *why);
void serve_tls_close(struct serve_tls *s);
/* Warns of a certificate that has expired, is not valid yet, or expires within two weeks. */
void serve_tls_warn(struct serve_tls *s);
/* Loads what the options name now. On failure that is logged, what was loaded stays, and the files
 * are watched on. `conf` stays with s. */
void serve_tls_reload(struct serve_tls *s, const struct conf *conf);
/* To be called every SERVE_TLS_TICK_S: reloads when a file has changed and come to rest, renews a
 * self-signed certificate, warns once a day. */
void serve_tls_tick(struct serve_tls *s);
