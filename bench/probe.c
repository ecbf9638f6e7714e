/* Ceilings of this machine, measured in the same run as what is compared with them. */
#include "load.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROBE_BLOCK = 1 << 18 };

struct hashing {
    pthread_t thread;
    double seconds, bytes_per_second;
};

static void *hash_for(void *arg)
{
    struct hashing *h = arg;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char *block = calloc(1, PROBE_BLOCK);
    unsigned char hash[EVP_MAX_MD_SIZE];
    bool ok = md && block && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    uint64_t start = now_us(), end = start + (uint64_t)(h->seconds * 1e6), now = start, bytes = 0;
    for (; ok && now < end; now = now_us(), bytes += PROBE_BLOCK)
        ok = EVP_DigestUpdate(md, block, PROBE_BLOCK);
    if (ok && EVP_DigestFinal_ex(md, hash, NULL))
        h->bytes_per_second = (double)bytes * 1e6 / (double)(now - start);
    EVP_MD_CTX_free(md);
    free(block);
    return NULL;
}

bool probe_sha256(double seconds, unsigned threads)
{
    struct hashing *all = calloc(threads, sizeof *all);
    double sum = 0;
    unsigned n = 0;
    for (; all && n < threads; n++) {
        all[n].seconds = seconds;
        if (pthread_create(&all[n].thread, NULL, hash_for, &all[n]) != 0)
            break;
    }
    bool ok = n == threads;
    while (n-- > 0) {
        pthread_join(all[n].thread, NULL);
        sum += all[n].bytes_per_second;
        ok = ok && all[n].bytes_per_second > 0;
    }
    if (ok)
        printf("{\"bytes_per_second\": %.0f}\n", sum);
    free(all);
    return ok;
}

/* Sequential write of `bytes` random-looking bytes, then fsync; the file is removed. */
bool probe_disk(const char *path, uint64_t bytes)
{
    unsigned *block = malloc(PROBE_BLOCK);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = block && fd >= 0;
    for (unsigned i = 0, x = 1; ok && i < PROBE_BLOCK / sizeof *block; i++)
        block[i] = x = x * 1664525u + 1013904223u;
    uint64_t start = now_us(), written = 0;
    while (ok && written < bytes) {
        ssize_t n = write(fd, block, PROBE_BLOCK);
        ok = n > 0;
        written += ok ? (uint64_t)n : 0;
    }
    ok = ok && fsync(fd) == 0;
    uint64_t took = now_us() - start;
    if (ok)
        printf("{\"bytes_per_second\": %.0f}\n", (double)written * 1e6 / (double)(took ? took : 1));
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(block);
    return ok;
}
