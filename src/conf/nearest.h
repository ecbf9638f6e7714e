/* The nearest of the names a person may have meant: "did you mean ...?". Pure; any thread.
 *
 *     struct nearest near = {.wanted = typed};
 *     for (...) nearest_offer(&near, name);
 *     if (near.best.n) ... */
#pragma once

#include "base/str.h"

struct nearest {
    str wanted;
    str best; /* empty: nothing is near */
    unsigned distance;
};

/* Remembers `name` when it is nearer than all before. The longer the word, the more slips. */
static inline void nearest_offer(struct nearest *near, str name)
{
    unsigned most = near->wanted.n <= 3 ? 1 : near->wanted.n <= 8 ? 2 : 3;
    unsigned distance = str_distance(near->wanted, name, most);
    if (distance <= most && (near->best.n == 0 || distance < near->distance)) {
        near->best = name;
        near->distance = distance;
    }
}
