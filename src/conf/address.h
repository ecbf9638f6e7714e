/* Syntax of addresses in the configuration. Names are checked, never looked up. Pure; any thread.
 */
#pragma once

#include "base/str.h"

/* Numeric address and port: "127.0.0.1:5000", "[::]:5000". Port 0 lets the kernel choose. */
bool address_is_listen(str s);
/* Host name, IPv4 address or bracketed IPv6 address, with or without a port from 1 to 65535. */
bool address_is_host(str s);
/* "http://" or "https://" followed by what address_is_host takes, and nothing else. */
bool address_is_url(str s);
/* IPv4 or IPv6 address without brackets, with or without "/prefix". */
bool address_is_network(str s);
