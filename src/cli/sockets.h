/* The sockets that clients come in by: those of the option listen, or those the service manager
 * passed on. */
#pragma once

#include "conf/conf.h"
#include "conf/listen.h"
#include "net/listener.h"

struct sockets {
    struct listener *list; /* in the arena, with all its text */
    size_t n;
    bool taken; /* the descriptors are somebody else's now */
};

/* Opens them all, or none. Sockets that were passed on replace those of the option; an entry with
 * the same address tells what is spoken there, else the socket's name, when it is "http" or
 * "https". `tls`: there is a certificate. On failure `why` names the entry. Before other threads
 * exist. */
NODISCARD enum err sockets_open(struct sockets *ret, const struct conf *conf, bool tls,
                                struct arena *a, struct error *why);

/* Opens one entry's: its path, or else `address`. `tls`: there is a certificate. */
NODISCARD enum err sockets_open_entry(const struct listen_entry *entry,
                                      const struct address *address, bool tls, struct listener *ret,
                                      struct arena *a, struct error *why);

/* Those of both; who owns them does not change. */
struct sockets sockets_both(const struct sockets *a, const struct sockets *b, struct arena *arena);

/* Gives the unix sockets that were made here to a user. */
NODISCARD enum err sockets_give(const struct sockets *s, unsigned uid, unsigned gid,
                                struct arena *a, struct error *why);
/* The one to tell people of: the first with an address, else the first. */
const struct listener *sockets_first(const struct sockets *s);
/* Closes them, unless they were taken. */
void sockets_close(struct sockets *s);
