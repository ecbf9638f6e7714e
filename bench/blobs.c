/* Blobs to push: a mark that differs, then the same random megabyte again and again, so that a
 * gigabyte is sent without being stored. Digests are computed before the clock starts. */
#include "load.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

static void mark_blob(const struct load *l, struct blob *b, uint64_t n)
{
    memset(b->mark, '.', sizeof b->mark);
    int len = snprintf(b->mark, sizeof b->mark, "berth bench blob %016llx %016llx ",
                       (unsigned long long)l->seed, (unsigned long long)n);
    b->mark[len] = '.';
}

static bool digest_blob(const struct load *l, struct blob *b, EVP_MD_CTX *md)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    uint64_t left = l->blob_bytes;
    size_t n = left < BLOB_MARK ? left : BLOB_MARK;
    bool ok = EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, b->mark, n);
    for (left -= n; ok && left > 0; left -= n) {
        n = left < BLOB_BLOCK ? left : BLOB_BLOCK;
        ok = EVP_DigestUpdate(md, l->block, n);
    }
    if (!ok || !EVP_DigestFinal_ex(md, hash, NULL))
        return false;
    memcpy(b->digest, "sha256:", 7);
    for (int i = 0; i < 32; i++)
        snprintf(b->digest + 7 + 2 * i, 3, "%02x", hash[i]);
    return true;
}

/* A file, from which sendfile sends without copying. */
static bool make_block(struct load *l)
{
    l->block_fd = memfd_create("block", MFD_CLOEXEC);
    if (l->block_fd < 0 || ftruncate(l->block_fd, BLOB_BLOCK) != 0)
        return false;
    l->block = mmap(NULL, BLOB_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, l->block_fd, 0);
    return l->block != MAP_FAILED;
}

bool blobs_prepare(struct load *l)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool stall = l->mode == MODE_STALL;
    l->blobs = calloc(stall ? 1 : l->operations_max, sizeof *l->blobs);
    bool ok = md && l->blobs && make_block(l);
    for (size_t n = 0; ok && n < BLOB_BLOCK;) {
        ssize_t got = getrandom(l->block + n, BLOB_BLOCK - n, 0);
        ok = got > 0;
        n += ok ? (size_t)got : 0;
    }
    for (uint64_t n = 0; ok && !stall && n < l->operations_max; n++) {
        mark_blob(l, &l->blobs[n], n);
        ok = digest_blob(l, &l->blobs[n], md);
    }
    EVP_MD_CTX_free(md);
    return ok;
}

int body_next(const struct load *l, const struct exchange *x, size_t room,
              struct iovec iov[BODY_PARTS_MAX])
{
    int n = 0;
    for (uint64_t at = x->body_sent; at < x->body_n && room > 0 && n < BODY_PARTS_MAX; n++) {
        const char *p;
        uint64_t size = x->body_n - at;
        if (!x->blob) {
            p = x->text + at;
        } else if (at < BLOB_MARK) {
            p = x->blob->mark + at;
            size = size < BLOB_MARK - at ? size : BLOB_MARK - at;
        } else {
            uint64_t in_block = (at - BLOB_MARK) % BLOB_BLOCK;
            p = l->block + in_block;
            size = size < BLOB_BLOCK - in_block ? size : BLOB_BLOCK - in_block;
        }
        size = size < room ? size : room;
        iov[n] = (struct iovec){(char *)p, size};
        room -= size;
        at += size;
    }
    return n;
}

bool body_stalls(struct load *l, const struct exchange *x)
{
    if (l->mode != MODE_STALL || x->body_sent < STALL_BYTES)
        return false;
    if (++l->stalled == (uint64_t)l->connections * l->streams) {
        puts("ready");
        fflush(stdout);
    }
    return true;
}
