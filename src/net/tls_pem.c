#include "net/tls_private.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A bundle of all public roots has a quarter of a megabyte. */
enum { PEM_BYTES_MAX = 4 * 1024 * 1024 };

struct file {
    const char *option;
    str path;
    struct arena *a;
    struct error *why;
};

static void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

const char *tls_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "no reason given";
}

int64_t tls_seconds(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static enum err unreadable(const struct file *f, int errnum)
{
    if (errnum == EACCES)
        return error_set(f->a, f->why, ERR_CONFIG,
                         "%s: \"%.*s\" cannot be read by the server, which runs as user %u: %s",
                         f->option, STR_ARG(f->path), (unsigned)geteuid(), strerrordesc_np(errnum));
    return error_set(f->a, f->why, ERR_CONFIG, "%s: \"%.*s\" cannot be read: %s", f->option,
                     STR_ARG(f->path), strerrordesc_np(errnum));
}

static enum err open_pem(const struct file *f, BIO **ret)
{
    CLEANUP(fd) int fd = open(arena_cstr(f->a, f->path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    size_t n = 0;
    if (fd < 0 || fstat(fd, &st))
        return unreadable(f, errno);
    if (!S_ISREG(st.st_mode))
        return error_set(f->a, f->why, ERR_CONFIG, "%s: \"%.*s\" is not a file", f->option,
                         STR_ARG(f->path));
    if (st.st_size > PEM_BYTES_MAX)
        return error_set(f->a, f->why, ERR_CONFIG, "%s: \"%.*s\" is too large for a PEM file",
                         f->option, STR_ARG(f->path));
    char *bytes = arena_alloc(f->a, (size_t)st.st_size + 1);
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return unreadable(f, errno);
        if (got == 0)
            break;
        n += (size_t)got;
    }
    if (!(*ret = BIO_new_mem_buf(bytes, (int)n)))
        abort();
    return OK;
}

static enum err not_pem(const struct file *f, const char *what)
{
    return error_set(f->a, f->why, ERR_CONFIG,
                     "%s: \"%.*s\" holds no %s in PEM form (base64 between lines that start with "
                     "-----)",
                     f->option, STR_ARG(f->path), what);
}

/* The end of the text is reported as a missing BEGIN line. */
static bool at_end(void)
{
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

enum err pem_read_certificates(const char *option, str path, STACK_OF(X509) * *ret, struct arena *a,
                               struct error *why)
{
    const struct file f = {option, path, a, why};
    CLEANUP(bio) BIO *bio = NULL;
    CLEANUP(chain) STACK_OF(X509) *all = sk_X509_new_null();
    enum err e = open_pem(&f, &bio);
    if (e)
        return e;
    ERR_clear_error();
    for (X509 *c; (c = PEM_read_bio_X509(bio, NULL, NULL, NULL));)
        if (!sk_X509_push(all, c))
            abort();
    if (!at_end())
        return error_set(a, why, ERR_CONFIG, "%s: certificate %d in \"%.*s\" is damaged: %s",
                         option, sk_X509_num(all) + 1, STR_ARG(path), tls_reason());
    if (sk_X509_num(all) == 0)
        return not_pem(&f, "certificate");
    *ret = all;
    all = NULL;
    return OK;
}

static int refuse_password(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

enum err pem_read_key(const char *option, str path, EVP_PKEY **ret, struct arena *a,
                      struct error *why)
{
    const struct file f = {option, path, a, why};
    CLEANUP(bio) BIO *bio = NULL;
    bool asked = false;
    enum err e = open_pem(&f, &bio);
    if (e)
        return e;
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_password, &asked);
    if (asked) {
        EVP_PKEY_free(key);
        return error_set(a, why, ERR_CONFIG,
                         "%s: the key in \"%.*s\" is encrypted, and there is nobody to ask for its "
                         "password; decrypt it with: openssl pkey -in %.*s -out NEW",
                         option, STR_ARG(path), STR_ARG(path));
    }
    if (key) {
        *ret = key;
        return OK;
    }
    unsigned long code = ERR_peek_last_error();
    bool none = code == 0 || at_end() || ERR_GET_REASON(code) == ERR_R_UNSUPPORTED;
    return none ? not_pem(&f, "private key")
                : error_set(a, why, ERR_CONFIG, "%s: the key in \"%.*s\" is damaged: %s", option,
                            STR_ARG(path), tls_reason());
}
