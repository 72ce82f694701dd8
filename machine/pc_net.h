/* -netdev, -nic and -object filter-dump turned into networks on the host. */
#ifndef MACHINE_PC_NET_H
#define MACHINE_PC_NET_H

#include "machine/host/net_host.h"
#include "ui/value.h"

/* Opens the network that kv describes ("type" is its kind); takes the settings it knows out of it.
 * `option` begins messages. */
/* What this kind of network can be told; NULL: there is none of that kind. */
const char *pc_net_settings(const char *type);
bool pc_net_open(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err);
/* "BACKEND,id=ID,..." of -netdev. */
bool pc_net_netdev(NetHost *host, const char *text, Err *err);
/* "filter-dump,id=ID,netdev=ID,file=FILE[,maxlen=N]" of -object. */
bool pc_net_object(NetHost *host, const char *text, Err *err);

#endif
